-- Per partition the offset after the last that has a disposition, and the append time of its newest record. Of an identity that rows give
-- several names, which only an altered table does, the name of the highest offset.
SELECT argMax(name, after) AS topic, toString(topic_id) AS id, partition, max(after) AS next, max(at) AS newest_us
FROM
(
    SELECT topic AS name, topic_id, partition, max(offset) + 1 AS after, max(toUnixTimestamp64Milli(appended_at)) * 1000 AS at
    FROM audit_log
    GROUP BY topic, topic_id, partition
    UNION ALL
    SELECT topic AS name, topic_id, partition, max(next) AS after, toInt64(0) AS at
    FROM gaps
    GROUP BY topic, topic_id, partition
)
GROUP BY topic_id, partition
ORDER BY topic, topic_id, partition
