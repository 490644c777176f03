-- What these subjects were sent since a moment and have not acknowledged.
SELECT subject, session, event_id, type, topic, topic_id, partition, offset, toUnixTimestamp64Milli(appended_at) AS appended_ms, toUnixTimestamp64Milli(sent_at) AS sent_ms
FROM feed_deliveries_final
WHERE has({subjects:Array(String)}, subject) AND acked_at IS NULL AND appended_at >= fromUnixTimestamp64Milli({since_ms:Int64}) AND toDate(appended_at) >= toDate(fromUnixTimestamp64Milli({since_ms:Int64}))
LIMIT 10000
