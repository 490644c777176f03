-- The first sealed offset of one partition that was appended at or after a time.
SELECT minOrNull(offset) FROM audit_log
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset < {next:Int64}
AND toUnixTimestamp64Milli(appended_at) >= {since:Int64}
