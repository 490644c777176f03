-- Cases decided too late or not at all.
SELECT case_id AS id, stage AS why,
    concat(policy_tag, ' ', risk_level, CASE WHEN stage = 'late' THEN concat(': decided ', CAST((decided_us - due_us) / 1000000 AS VARCHAR), ' s after it was due')
        WHEN stage = 'overdue' THEN ': due, and not decided' ELSE ': states no due time' END) AS detail
FROM subjects WHERE stage IN ('late', 'overdue', 'without_due') ORDER BY id
