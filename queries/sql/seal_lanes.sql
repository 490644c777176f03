-- Partitions of which there are rows, by the topic's identity.
SELECT argMin(topic, first) AS topic, toString(topic_id) AS topic_id, partition
FROM (
    SELECT CAST(topic AS String) AS topic, topic_id, partition, min(offset) AS first
    FROM audit_log GROUP BY topic, topic_id, partition
    UNION ALL
    SELECT CAST(topic AS String) AS topic, topic_id, partition, min(first) AS first
    FROM gaps GROUP BY topic, topic_id, partition
    UNION ALL
    SELECT CAST(topic AS String) AS topic, topic_id, partition, min(offset) AS first
    FROM dead_letters GROUP BY topic, topic_id, partition
)
GROUP BY topic_id, partition
ORDER BY topic, topic_id, partition
