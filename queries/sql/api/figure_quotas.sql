-- By creator: licences granted and not ended by the end of the window, and what their quotas hold, micros of a credit.
WITH licences AS (
    SELECT license_id, max(creator_id) AS creator, argMaxIf(kind, event_us, kind IN ('GRANTED', 'REVOKED', 'EXPIRED')) AS state,
        argMaxIf(quota_remaining_micros, event_us, quota_remaining_micros IS NOT NULL) AS quota_micros, max(event_us) AS changed_us
    FROM
    (
        SELECT license_id, creator_id, kind, quota_remaining_micros,
            if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) AS event_us
        FROM license_events_final
        WHERE event_us < {to_us:Int64} AND ({scope:String} = 'all' OR creator_id = {subject:String})
    )
    GROUP BY license_id
)
SELECT
    creator AS name,
    map(
        'licences', toString(count()),
        'active', toString(countIf(state = 'GRANTED')),
        'exhausted', toString(countIf(state = 'GRANTED' AND quota_micros <= 0)),
        'changed', toString(countIf(changed_us >= {from_us:Int64})),
        'quota_remaining_micros', toString(sumIf(ifNull(quota_micros, 0), state = 'GRANTED'))
    ) AS figures
FROM licences
GROUP BY creator
ORDER BY name
