-- Receipts of a stretch of one partition.
SELECT count()
FROM audit_log FINAL
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {next:Int64}
