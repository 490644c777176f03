-- The offset of the last row before the first one of a partition that was appended at or after a time. That row is verified
-- with what follows, so a row that was deleted or dated back at the edge is not passed over.
WITH (
    SELECT minOrNull(offset) FROM audit_log
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset < {next:Int64}
    AND toUnixTimestamp64Milli(appended_at) >= {since:Int64}
) AS first
SELECT maxOrNull(offset) FROM audit_log
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset < ifNull(first, {next:Int64})
