-- Licences by the end of the window: whose, for whom, as their latest events leave them, and how checks were answered.
SELECT license_id, max(creator_id) AS creator, max(template_id) AS template, max(if(grantee_id = '', user_id, grantee_id)) AS grantee,
    argMaxIf(expires_at, event_us, expires_at IS NOT NULL) AS ends_at, countIf(check_result = 'ALLOWED') AS allowed, countIf(check_result NOT IN ('', 'ALLOWED')) AS refused,
    minIf(event_us, kind = 'GRANTED') AS granted_us, maxIf(event_us, kind IN ('REVOKED', 'EXPIRED')) AS ended_us,
    argMaxIf(kind, event_us, kind IN ('GRANTED', 'REVOKED', 'EXPIRED')) AS state,
    argMaxIf(quota_remaining_micros, event_us, quota_remaining_micros IS NOT NULL) AS quota_micros, max(event_us) AS changed_us
FROM
(
    SELECT license_id, creator_id, template_id, user_id, grantee_id, kind, quota_remaining_micros, expires_at, check_result,
        {{event_us}} AS event_us
    FROM license_events_final
    WHERE event_us < {to_us:Int64} AND ({scope:String} = 'all' OR creator_id = {subject:String})
)
GROUP BY license_id
