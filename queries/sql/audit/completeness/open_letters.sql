-- Dead letters of task events whose bytes were not accepted later.
SELECT d.key AS task_id, d.task_bucket AS task_bucket, d.appended_us AS at, d.reason AS reason,
    CASE WHEN d.reason IN ('policy_tag_missing', 'policy_tag_unknown') THEN 1 ELSE 0 END AS untagged
FROM dead_letters AS d
WHERE d.topic = $task_topic AND d.key <> '' AND d.reason <> 'wrong_topic' AND NOT EXISTS (
    SELECT 1 FROM audit_log AS a WHERE a.topic = d.topic AND a.raw_sha256 = d.raw_sha256 AND a.disposition = 'ACCEPTED'
)
