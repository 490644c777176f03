-- The latest dead letters, without their bytes: for the live page.
SELECT topic, partition, offset, reason, path, sentence, toUnixTimestamp64Milli(appended_at) AS appended_ms
FROM dead_letters FINAL
ORDER BY appended_at DESC, topic, partition, offset
LIMIT 12
