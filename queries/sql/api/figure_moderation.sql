-- Cases opened in the window by risk, and their SLA at its end, as METRICS 7 says.
WITH cases AS (
    SELECT case_id, min(event_us) AS opened_us, argMin(risk_level, event_us) AS risk, argMinIf(sla_due_at, event_us, sla_due_at IS NOT NULL) AS due_at,
        countIf(kind = 'DECIDED') AS decisions, minIf(event_us, kind = 'DECIDED') AS decided_us,
        ifNull(toUnixTimestamp64Micro(due_at), 9223372036854775807) AS due_us
    FROM
    (
        SELECT case_id, kind, risk_level, sla_due_at,
            if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) AS event_us
        FROM moderation_events_final
        WHERE event_us < {to_us:Int64}
    )
    GROUP BY case_id
    HAVING opened_us >= {from_us:Int64}
)
SELECT
    toString(risk) AS name,
    map(
        'cases', toString(count()),
        'open', toString(countIf(decisions = 0)),
        'in_time', toString(countIf(decisions > 0 AND decided_us < due_us)),
        'late', toString(countIf(decisions > 0 AND decided_us >= due_us)),
        'overdue', toString(countIf(decisions = 0 AND due_us <= least({to_us:Int64}, {as_of_us:Int64})))
    ) AS figures
FROM cases
GROUP BY risk
ORDER BY name
