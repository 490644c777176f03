-- How many leaves the rows of one partition before an offset would make.
SELECT sum(rows) FROM (
    SELECT count() AS rows FROM audit_log FINAL
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset < {next:Int64}
    UNION ALL
    SELECT count() FROM dead_letters FINAL
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset < {next:Int64}
    UNION ALL
    SELECT count() FROM gaps FINAL
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND first < {next:Int64}
)
