-- By creator: licences granted and not ended by the end of the window, and what their quotas hold, micros of a credit.
SELECT
    creator AS name,
    map(
        'licences', toString(count()),
        'active', toString(countIf(state = 'GRANTED')),
        'exhausted', toString(countIf(state = 'GRANTED' AND quota_micros <= 0)),
        'changed', toString(countIf(changed_us >= {from_us:Int64})),
        'quota_remaining_micros', toString(sumIf(ifNull(quota_micros, 0), state = 'GRANTED'))
    ) AS figures
FROM {{licences}}
GROUP BY creator
ORDER BY name
