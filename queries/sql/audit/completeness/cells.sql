-- Stretches of ten minutes of event time, apart for each bucket of tasks, so that passes add up: how many contents have receipts and how
-- many facts there are, and the sums of their 64-bit hashes, which wrap. A loss and a duplicate cancel in the number, not in the sum.
WITH sides AS (
    SELECT event_us, task_bucket, 1 AS receipts, id_hash AS receipt_hash, 0 AS facts, 0 AS fact_hash FROM audit_log
    WHERE topic = $task_topic AND disposition = 'ACCEPTED' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
        AND NOT EXISTS (SELECT 1 FROM unlike WHERE unlike.task_hash = audit_log.task_hash)
    UNION ALL
    SELECT at, task_bucket, 1, id_hash, 0, 0 FROM contents WHERE receipts > 0
    UNION ALL
    SELECT event_us, task_bucket, 0, 0, 1, id_hash FROM task_events
    WHERE topic = $task_topic AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
)
SELECT event_us - event_us % 600000000 AS bucket, task_bucket, sum(receipts) AS receipts, sum(receipt_hash) AS receipt_hash,
    sum(facts) AS facts, sum(fact_hash) AS fact_hash
FROM sides WHERE event_us >= $from_us AND event_us < $to_us
GROUP BY event_us - event_us % 600000000, task_bucket
