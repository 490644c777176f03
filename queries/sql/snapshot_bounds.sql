-- Per partition the offset after the last that has a disposition, and the append time of its newest record.
SELECT topic, toString(topic_id) AS id, partition, max(after) AS next, max(at) AS newest_us
FROM
(
    SELECT topic, topic_id, partition, offset + 1 AS after, toUnixTimestamp64Milli(appended_at) * 1000 AS at FROM audit_log
    UNION ALL
    SELECT topic, topic_id, partition, next AS after, toInt64(0) AS at FROM gaps
)
GROUP BY topic, topic_id, partition
ORDER BY topic, topic_id, partition
