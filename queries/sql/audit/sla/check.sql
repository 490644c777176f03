-- The same from single events, each case's first report, first decision and first statement found by their place.
WITH placed AS (
    SELECT case_id, kind, event_us, policy_tag, risk_level, sla_due_us,
        row_number() OVER (PARTITION BY case_id ORDER BY event_us, "offset") AS place,
        row_number() OVER (PARTITION BY case_id, kind ORDER BY event_us, "offset") AS place_of_kind,
        row_number() OVER (PARTITION BY case_id, CASE WHEN sla_due_us IS NULL THEN 0 ELSE 1 END ORDER BY event_us, "offset") AS place_of_due
    FROM moderation_events WHERE case_id <> ''
), named AS (
    SELECT case_id, policy_tag, risk_level FROM placed WHERE place = 1
), begun AS (
    SELECT case_id FROM placed WHERE place = 1 AND event_us >= $from_us AND event_us < $to_us
), decided AS (
    SELECT case_id, event_us AS decided_us FROM placed WHERE kind = 'DECIDED' AND place_of_kind = 1
), due AS (
    SELECT case_id, sla_due_us AS due_us FROM placed WHERE sla_due_us IS NOT NULL AND place_of_due = 1
)
SELECT concat(named.policy_tag, ' ', named.risk_level) AS grp, count(*) AS cases,
    count(CASE WHEN decided.decided_us < due.due_us THEN 1 END) AS in_time, count(CASE WHEN decided.decided_us >= due.due_us THEN 1 END) AS late,
    count(CASE WHEN decided.decided_us IS NULL AND due.due_us <= $as_of_us THEN 1 END) AS overdue,
    count(CASE WHEN decided.decided_us IS NULL AND (due.due_us IS NULL OR due.due_us > $as_of_us) THEN 1 END) AS still_open,
    count(CASE WHEN decided.decided_us IS NOT NULL AND due.due_us IS NULL THEN 1 END) AS without_due
FROM begun
    JOIN named ON named.case_id = begun.case_id
    LEFT JOIN decided ON decided.case_id = begun.case_id
    LEFT JOIN due ON due.case_id = begun.case_id
GROUP BY named.policy_tag, named.risk_level
