-- Cases opened in the window by risk, and their SLA at its end, as METRICS 7 says.
SELECT
    toString(risk) AS name,
    map(
        'cases', toString(count()),
        'open', toString(countIf(decisions = 0)),
        'in_time', toString(countIf(decisions > 0 AND decided_us < due_us)),
        'late', toString(countIf(decisions > 0 AND decided_us >= due_us)),
        'overdue', toString(countIf(decisions = 0 AND due_us <= least({to_us:Int64}, {as_of_us:Int64}))),
        'without_due', toString(countIf(decisions > 0 AND due_us IS NULL))
    ) AS figures
FROM {{cases}}
GROUP BY risk
ORDER BY name
