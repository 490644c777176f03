-- One row a case whose first event lies in the window (its report, unless that was lost): when it was due, when it was first decided. Tag, risk and due time as first stated; a case
-- that states no due time yet is open.
WITH cases AS (
    SELECT case_id, min(event_us) AS first_us,
        max(CASE WHEN kind = 'REPORTED' THEN 1 ELSE 0 END) AS reported, min(CASE WHEN kind = 'DECIDED' THEN event_us END) AS decided_us,
        first_value(policy_tag ORDER BY event_us, "offset") AS policy_tag, first_value(risk_level ORDER BY event_us, "offset") AS risk_level,
        first_value(sla_due_us ORDER BY event_us, "offset") FILTER (WHERE sla_due_us IS NOT NULL) AS due_us
    FROM moderation_events
    WHERE case_id <> ''
    GROUP BY case_id
)
SELECT case_id, reported, decided_us, policy_tag, risk_level, due_us,
    CASE WHEN due_us IS NULL AND decided_us IS NULL THEN 'still_open' WHEN due_us IS NULL THEN 'without_due' WHEN decided_us < due_us THEN 'in_time' WHEN decided_us IS NOT NULL THEN 'late'
        WHEN due_us <= $as_of_us THEN 'overdue' ELSE 'still_open' END AS stage
FROM cases
WHERE first_us >= $from_us AND first_us < $to_us
