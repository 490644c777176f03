-- How receipts and gaps tile each partition, by topic and number.
SELECT *
FROM {{tiling}}
ORDER BY topic, topic_id, partition
LIMIT {limit:UInt32}
