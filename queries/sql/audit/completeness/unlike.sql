-- Tasks, by the hash of their id, whose receipts and facts differ in number or in the sum of their 64-bit hashes, which wraps: something
-- of them is repeated, lost, or without receipt. Of all others each fact has its receipt, and the ledger need not be asked for them again.
WITH sides AS (
    SELECT task_hash, 1 AS more, id_hash AS hash FROM audit_log
    WHERE topic = $task_topic AND disposition = 'ACCEPTED' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    UNION ALL
    SELECT task_hash, -1, 0 - id_hash FROM task_events WHERE task_bucket >= $bucket_first AND task_bucket < $bucket_next
)
SELECT task_hash FROM sides GROUP BY task_hash HAVING sum(more) <> 0 OR sum(hash) <> 0
