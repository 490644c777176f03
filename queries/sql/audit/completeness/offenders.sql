-- Incomplete tasks, each with the first rule that it breaks, and stretches of ten minutes whose receipts and facts are not the same.
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
)
SELECT task_id AS id,
    CASE WHEN orphan_audit = 1 THEN 'orphan_audit' WHEN missing_tag = 1 THEN 'missing_tag' WHEN missing_audit = 1 THEN 'missing_audit'
        WHEN broken_chain = 1 THEN 'broken_chain' WHEN conflicting_tag = 1 THEN 'conflicting_tag' WHEN ended_twice = 1 THEN 'ended_twice'
        WHEN missing_fact = 1 THEN 'missing_fact' ELSE 'dead_lettered' END AS why,
    concat(CAST(events AS VARCHAR), ' events with state versions ', coalesce(CAST(first_version AS VARCHAR), '-'), ' to ',
        coalesce(CAST(last_version AS VARCHAR), '-'), ', ', CAST(receipts AS VARCHAR), ' receipts, ', CAST(letters AS VARCHAR), ' dead letters',
        CASE WHEN letters > 0 THEN concat(' (', reason, ')') ELSE '' END,
        CASE WHEN lost > 0 THEN concat(', ', CAST(lost AS VARCHAR), ' events have a receipt and no fact') ELSE '' END,
        CASE WHEN conflicting_tag = 1 THEN concat(', policy tags ', low_tag, ' and ', high_tag) ELSE '' END,
        CASE WHEN ends > 1 THEN concat(', ', CAST(ends AS VARCHAR), ' terminal states') ELSE '' END) AS detail
FROM subjects
WHERE missing_audit + missing_fact + missing_tag + conflicting_tag + broken_chain + ended_twice + dead_lettered + orphan_audit > 0
UNION ALL
SELECT to_char(to_timestamp_micros(bucket), '%Y-%m-%dT%H:%M:%SZ'), 'buckets_differing',
    concat('in the ten minutes from then on ', CAST(sum(receipts) AS VARCHAR), ' events have receipts and ', CAST(sum(facts) AS VARCHAR),
        ' have facts, and they are not the same')
FROM cells
WHERE receipts <> facts OR receipt_hash <> fact_hash
GROUP BY bucket
ORDER BY id
