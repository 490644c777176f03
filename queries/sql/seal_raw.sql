-- What receipts and dead letters of a stretch of one partition say of the bytes of their records.
SELECT offset, false AS letter, disposition = 'DEAD' AS dead, raw_sha256, event_id
FROM audit_log FINAL
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {next:Int64}
UNION ALL
SELECT offset, true AS letter, true AS dead, raw_sha256, toUUID('00000000-0000-0000-0000-000000000000') AS event_id
FROM dead_letters FINAL
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {next:Int64}
