-- Receipts of some events of a task, the earliest of each first, at most so many of each.
SELECT
    toString(r.topic) AS topic, toString(r.topic_id) AS topic_id, partition, offset, toUnixTimestamp64Milli(r.appended_at) * 1000 AS appended_at,
    toString(r.event_id) AS event_id, lower(hex(r.digest)) AS digest
FROM audit_log_final AS r
WHERE task_id = {task_id:String} AND disposition = 'ACCEPTED' AND has({event_ids:Array(String)}, toString(r.event_id))
ORDER BY r.appended_at, r.topic_id, partition, offset
LIMIT {each:UInt32} BY r.event_id
