-- Dead letters that bear a task's id as their key: what is known of an event that could not be read. The earliest first.
SELECT toString(l.topic) AS topic, toString(l.topic_id) AS topic_id, partition, offset, toUnixTimestamp64Milli(l.appended_at) * 1000 AS appended_at,
    toString(l.reason) AS reason, path, sentence, toString(l.schema) AS schema, length(ifNull(value, '')) AS bytes,
    lower(hex(raw_sha256)) AS sha256, replay_attempt
FROM dead_letters_final AS l
WHERE l.key = {task_id:String} AND endsWith(toString(l.topic), 'task-events')
ORDER BY l.appended_at, l.topic_id, partition, offset
LIMIT {limit:UInt32}
