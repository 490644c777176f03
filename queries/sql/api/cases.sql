-- Moderation cases, those due first before the others, after a cursor: by event time and, at one moment, by offset; tag, risk and due time
-- as first stated; all as in METRICS 7 and as the audit has it.
SELECT
    case_id,
    toString(argMax(kind, (event_us, offset))) AS state,
    min(event_us) AS opened_at,
    max(event_us) AS changed_at,
    toUnixTimestamp64Micro(argMinIf(sla_due_at, (event_us, offset), sla_due_at IS NOT NULL)) AS due_at,
    coalesce(due_at, 9223372036854775807) AS place_us,
    toString(argMin(e.risk_level, (event_us, offset))) AS risk_level,
    toString(argMin(e.policy_tag, (event_us, offset))) AS policy_tag,
    countIf(kind = 'DECIDED') AS decisions,
    if(decisions = 0, NULL, minIf(event_us, kind = 'DECIDED')) AS decided_at,
    toString(argMaxIf(e.decision, (event_us, offset), e.decision != '')) AS decision,
    argMaxIf(actor_id, (event_us, offset), kind = 'REVIEW_STARTED') AS reviewer_id,
    max(e.task_id) AS task_id,
    max(e.template_id) AS template_id,
    max(e.license_id) AS license_id,
    max(e.user_id) AS user_id,
    max(e.creator_id) AS creator_id
FROM
(
    SELECT case_id, kind, sla_due_at, risk_level, policy_tag, decision, actor_id, task_id, template_id, license_id, user_id, creator_id, offset,
        {{event_us}} AS event_us
    FROM moderation_events_final
    WHERE ({case_id:String} = '' OR case_id = {case_id:String})
        AND ({scope:String} = 'all'
            OR ({scope:String} = 'own' AND user_id = {subject:String})
            OR ({scope:String} = 'templates' AND creator_id = {subject:String}))
) AS e
GROUP BY case_id
HAVING (place_us, case_id) > ({after_us:Int64}, {after_id:String})
    AND opened_at >= {from_us:Int64} AND opened_at < {to_us:Int64}
    AND ({open:Bool} = false OR state NOT IN ('DECIDED', 'CLOSED'))
    AND ({decided:Bool} = false OR decisions > 0)
    AND ({risk_level:String} = '' OR risk_level = {risk_level:String})
    AND ({policy_tag:String} = '' OR policy_tag = {policy_tag:String})
ORDER BY place_us, case_id
LIMIT {limit:UInt32}
