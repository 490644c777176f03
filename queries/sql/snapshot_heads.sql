-- The latest look at each partition.
SELECT topic, toString(topic_id) AS id, partition, low, high, taken, toUnixTimestamp64Milli(seen_at) * 1000 AS seen_us, ended
FROM partition_heads_final
