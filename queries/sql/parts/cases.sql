-- Cases opened in the window, with what was first stated of them, and their decision by its end: METRICS 7.
SELECT case_id, min(event_us) AS opened_us, argMin(risk_level, event_us) AS risk, argMin(policy_tag, event_us) AS tag, argMinIf(sla_due_at, event_us, sla_due_at IS NOT NULL) AS due_at,
    countIf(kind = 'DECIDED') AS decisions, minIf(event_us, kind = 'DECIDED') AS decided_us,
    ifNull(toUnixTimestamp64Micro(due_at), 9223372036854775807) AS due_us
FROM
(
    SELECT case_id, kind, risk_level, policy_tag, sla_due_at,
        if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) AS event_us
    FROM moderation_events_final
    WHERE event_us < {to_us:Int64}
)
GROUP BY case_id
HAVING opened_us >= {from_us:Int64}
