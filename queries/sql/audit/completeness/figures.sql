-- How many tasks there are, and how many break which rule. Beside it the check by stretches of ten minutes of event time, apart for
-- each bucket of tasks, so that passes add up: do
-- receipts (each content once, however often it was published) and facts agree in number and in the sum of their 64-bit hashes,
-- which wraps? A loss and a duplicate cancel in the number, not in the sum.
WITH receipts AS (
    SELECT id_hash, task_bucket, min(event_us) AS event_us FROM audit_log
    WHERE topic = $task_topic AND disposition = 'ACCEPTED' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    GROUP BY id_hash, task_bucket
), sides AS (
    SELECT event_us - event_us % 600000000 AS bucket, task_bucket, 1 AS receipts, id_hash AS receipt_hash, 0 AS facts, 0 AS fact_hash FROM receipts
    WHERE event_us >= $from_us AND event_us < $to_us
    UNION ALL
    SELECT event_us - event_us % 600000000, task_bucket, 0, 0, 1, id_hash FROM task_events
    WHERE topic = $task_topic AND event_us >= $from_us AND event_us < $to_us AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
), cells AS (
    SELECT bucket, task_bucket, sum(receipts) AS receipts, sum(receipt_hash) AS receipt_hash, sum(facts) AS facts, sum(fact_hash) AS fact_hash
    FROM sides GROUP BY bucket, task_bucket
), compared AS (
    SELECT count(*) AS buckets, sum(CASE WHEN receipts <> facts OR receipt_hash <> fact_hash THEN 1 ELSE 0 END) AS buckets_differing FROM cells
), tasks AS (
    SELECT count(*) AS population,
        sum(CASE WHEN missing_audit + missing_fact + missing_tag + conflicting_tag + broken_chain + ended_twice + dead_lettered + orphan_audit = 0 THEN 1 ELSE 0 END) AS complete,
        sum(CASE WHEN missing_audit + missing_fact + missing_tag + conflicting_tag + broken_chain + ended_twice + dead_lettered + orphan_audit > 0 THEN 1 ELSE 0 END) AS incomplete,
        sum(missing_audit) AS missing_audit, sum(missing_fact) AS missing_fact, sum(missing_tag) AS missing_tag,
        sum(conflicting_tag) AS conflicting_tag, sum(broken_chain) AS broken_chain, sum(ended_twice) AS ended_twice,
        sum(dead_lettered) AS dead_lettered, sum(orphan_audit) AS orphan_audit, sum(duplicate_audit) AS duplicate_audit
    FROM subjects
)
SELECT population, complete, incomplete, missing_audit, missing_fact, missing_tag, conflicting_tag, broken_chain, ended_twice,
    dead_lettered, orphan_audit, duplicate_audit, buckets, buckets_differing
FROM tasks CROSS JOIN compared
