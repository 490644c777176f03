-- Licences by id after a cursor: who may, how much is left, and how checks of it were answered.
WITH picked AS (
    SELECT DISTINCT license_id
    FROM license_events
    PREWHERE license_id > {after_id:String}
        AND ({license_id:String} = '' OR license_id = {license_id:String})
        AND ({scope:String} = 'all'
            OR ({scope:String} = 'own' AND if(grantee_id = '', user_id, grantee_id) = {subject:String})
            OR ({scope:String} = 'templates' AND creator_id = {subject:String})
            OR ({scope:String} = 'work' AND has({work:Array(String)}, license_id)))
    ORDER BY license_id
    LIMIT {limit:UInt32}
)
SELECT
    e.license_id AS license_id,
    toString(argMaxIf(e.kind, e.occurred_at, e.kind IN ('GRANTED', 'REVOKED', 'EXPIRED'))) AS state,
    max(e.template_id) AS template_id,
    max(e.creator_id) AS creator_id,
    max(if(e.grantee_id = '', e.user_id, e.grantee_id)) AS grantee_id,
    if(countIf(e.kind = 'GRANTED') = 0, NULL, toUnixTimestamp64Micro(minIf(e.occurred_at, e.kind = 'GRANTED'))) AS granted_at,
    toUnixTimestamp64Micro(max(e.occurred_at)) AS changed_at,
    toUnixTimestamp64Micro(argMaxIf(e.expires_at, e.occurred_at, e.expires_at IS NOT NULL)) AS expires_at,
    toString(argMaxIf(e.quota_remaining_micros, e.occurred_at, e.quota_remaining_micros IS NOT NULL)) AS quota_remaining_micros,
    countIf(e.check_result = 'ALLOWED') AS checks_allowed,
    countIf(e.check_result NOT IN ('', 'ALLOWED')) AS checks_refused
FROM license_events AS e FINAL
PREWHERE e.license_id GLOBAL IN (SELECT license_id FROM picked)
    AND ({scope:String} IN ('all', 'work')
        OR ({scope:String} = 'own' AND if(e.grantee_id = '', e.user_id, e.grantee_id) = {subject:String})
        OR ({scope:String} = 'templates' AND e.creator_id = {subject:String}))
GROUP BY e.license_id
ORDER BY license_id
