-- The same by tasks: what was accepted of the bytes that died, and dead letters that find nothing there.
WITH replayed AS (
    SELECT DISTINCT topic, raw_sha256 FROM audit_log
    WHERE disposition = 'ACCEPTED' AND raw_sha256 IN (SELECT raw_sha256 FROM dead_letters)
)
SELECT dead_letters.key AS task_id, dead_letters.task_bucket AS task_bucket, min(dead_letters.appended_us) AS dead_at,
    max(CASE WHEN dead_letters.reason IN ('policy_tag_missing', 'policy_tag_unknown') THEN 1 ELSE 0 END) AS untagged
FROM dead_letters LEFT JOIN replayed ON replayed.topic = dead_letters.topic AND replayed.raw_sha256 = dead_letters.raw_sha256
WHERE dead_letters.topic = $task_topic AND dead_letters.key <> '' AND dead_letters.reason <> 'wrong_topic' AND replayed.topic IS NULL
GROUP BY dead_letters.key, dead_letters.task_bucket
