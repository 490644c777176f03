-- How far each partition had come when it was last looked at.
SELECT topic_id, partition, high, taken, toUnixTimestamp64Milli(seen_at) AS seen_at_ms, ended
FROM partition_heads FINAL
