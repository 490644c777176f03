-- What these tasks' receipts and facts speak of, each content once, however often it was published: how many of both, and when.
WITH sides AS (
    SELECT task_id, task_bucket, task_hash, id_hash, 1 AS receipts, 0 AS facts, event_us FROM audit_log
    WHERE topic = $task_topic AND disposition = 'ACCEPTED' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    UNION ALL
    SELECT task_id, task_bucket, task_hash, id_hash, 0, 1, NULL FROM task_events WHERE task_bucket >= $bucket_first AND task_bucket < $bucket_next
)
SELECT task_id, task_bucket, id_hash, sum(receipts) AS receipts, sum(facts) AS facts, min(event_us) AS at FROM sides
WHERE task_hash IN (SELECT task_hash FROM unlike)
GROUP BY task_id, task_bucket, id_hash
