-- What lies beyond the sealed part of one partition: rows, the oldest of them, and where receipts and gaps begin.
SELECT count() AS rows,
    minOrNullIf(first, what = 'record') AS first_record,
    minOrNullIf(first, what = 'gap') AS first_gap,
    minOrNullIf(appended_at_ms, what != 'gap') AS oldest_ms
FROM (
    SELECT 'record' AS what, offset AS first, toUnixTimestamp64Milli(appended_at) AS appended_at_ms FROM audit_log
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {next:Int64}
    UNION ALL
    SELECT 'letter', offset, toUnixTimestamp64Milli(appended_at) FROM dead_letters
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {next:Int64}
    UNION ALL
    SELECT 'gap', first, toInt64(0) FROM gaps
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND first >= {next:Int64}
)
