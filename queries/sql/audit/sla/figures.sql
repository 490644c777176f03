-- By policy tag and risk level: cases decided before they were due, after, not at all although due, and still open.
SELECT concat(policy_tag, ' ', risk_level) AS grp, count(*) AS cases, sum(CASE WHEN stage = 'in_time' THEN 1 ELSE 0 END) AS in_time,
    sum(CASE WHEN stage = 'late' THEN 1 ELSE 0 END) AS late, sum(CASE WHEN stage = 'overdue' THEN 1 ELSE 0 END) AS overdue,
    sum(CASE WHEN stage = 'still_open' THEN 1 ELSE 0 END) AS still_open, sum(CASE WHEN stage = 'without_due' THEN 1 ELSE 0 END) AS without_due,
    sum(CASE WHEN reported = 0 THEN 1 ELSE 0 END) AS without_report
FROM subjects
GROUP BY policy_tag, risk_level
