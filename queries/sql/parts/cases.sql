-- Cases opened in the window, with what was first stated of them, and their decision by its end: METRICS 7. No due time is none, so such a
-- case is neither in time nor late.
SELECT case_id, min(event_us) AS opened_us, argMin(risk_level, (event_us, offset)) AS risk, argMin(policy_tag, (event_us, offset)) AS tag, argMinIf(sla_due_at, (event_us, offset), sla_due_at IS NOT NULL) AS due_at,
    countIf(kind = 'DECIDED') AS decisions, minIf(event_us, kind = 'DECIDED') AS decided_us,
    toUnixTimestamp64Micro(due_at) AS due_us
FROM
(
    SELECT case_id, kind, risk_level, policy_tag, sla_due_at, offset,
        {{event_us}} AS event_us
    FROM moderation_events_final
    WHERE case_id != '' AND event_us < {to_us:Int64}
)
GROUP BY case_id
HAVING opened_us >= {from_us:Int64}
