-- Append time of the first receipt of a stretch of one partition.
SELECT minOrNull(toUnixTimestamp64Milli(appended_at)) * 1000
FROM audit_log
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {next:Int64}
