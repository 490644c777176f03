-- Moderation cases, those due first before the others, after a cursor. Tag, risk and due time as first stated, as in METRICS 7.
SELECT
    e.case_id AS case_id,
    toString(argMax(e.kind, (e.occurred_at, e.kind))) AS state,
    toUnixTimestamp64Micro(min(e.occurred_at)) AS opened_at,
    toUnixTimestamp64Micro(max(e.occurred_at)) AS changed_at,
    toUnixTimestamp64Micro(argMinIf(e.sla_due_at, e.occurred_at, e.sla_due_at IS NOT NULL)) AS due_at,
    coalesce(due_at, 9223372036854775807) AS place_us,
    toString(argMin(e.risk_level, e.occurred_at)) AS risk_level,
    toString(argMin(e.policy_tag, e.occurred_at)) AS policy_tag,
    countIf(e.kind = 'DECIDED') AS decisions,
    if(decisions = 0, NULL, toUnixTimestamp64Micro(minIf(e.occurred_at, e.kind = 'DECIDED'))) AS decided_at,
    toString(argMaxIf(e.decision, e.occurred_at, e.decision != '')) AS decision,
    argMaxIf(e.actor_id, e.occurred_at, e.kind = 'REVIEW_STARTED') AS reviewer_id,
    max(e.task_id) AS task_id,
    max(e.template_id) AS template_id,
    max(e.license_id) AS license_id,
    max(e.user_id) AS user_id,
    max(e.creator_id) AS creator_id
FROM moderation_events_final AS e
WHERE ({case_id:String} = '' OR e.case_id = {case_id:String})
    AND ({scope:String} = 'all'
        OR ({scope:String} = 'own' AND e.user_id = {subject:String})
        OR ({scope:String} = 'templates' AND e.creator_id = {subject:String}))
GROUP BY e.case_id
HAVING (place_us, case_id) > ({after_us:Int64}, {after_id:String})
    AND opened_at >= {from_us:Int64} AND opened_at < {to_us:Int64}
    AND ({open:Bool} = false OR state NOT IN ('DECIDED', 'CLOSED'))
    AND ({decided:Bool} = false OR decisions > 0)
    AND ({risk_level:String} = '' OR risk_level = {risk_level:String})
    AND ({policy_tag:String} = '' OR policy_tag = {policy_tag:String})
ORDER BY place_us, case_id
LIMIT {limit:UInt32}
