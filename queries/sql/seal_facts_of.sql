-- Facts of the accepted receipts of a stretch of one partition, found by the primary key of the facts.
WHERE (toDate(f.occurred_at), f.source, f.event_id, f.digest) IN (
    SELECT toDate(occurred_at), source, event_id, digest FROM audit_log FINAL
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {next:Int64}
    AND disposition = 'ACCEPTED')
