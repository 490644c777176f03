-- How far the store has come in each partition: every event below is in it.
SELECT topic_id, partition, max(at) AS next
FROM
(
    SELECT topic_id, partition, taken AS at FROM partition_heads_final WHERE has({topic_ids:Array(UUID)}, topic_id)
    UNION ALL
    SELECT topic_id, partition, max(offset) + 1 AS at FROM audit_log WHERE has({topic_ids:Array(UUID)}, topic_id) GROUP BY topic_id, partition
)
GROUP BY topic_id, partition
