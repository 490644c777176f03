-- Dead letters that bear a task's id as their key: what is known of an event that could not be read. The earliest first. One is settled
-- by the rule of the audit, see audit/completeness/open_letters.sql: its bytes were accepted, or they are of another topic.
WITH letters AS (
    SELECT * FROM dead_letters_final
    WHERE key = {task_id:String} AND endsWith(toString(topic), 'task-events')
    ORDER BY appended_at, topic_id, partition, offset
    LIMIT {limit:UInt32}
)
SELECT toString(l.topic) AS topic, toString(l.topic_id) AS topic_id, partition, offset, toUnixTimestamp64Milli(l.appended_at) * 1000 AS appended_at,
    toString(l.reason) AS reason, path, sentence, length(ifNull(value, '')) AS bytes, lower(hex(l.raw_sha256)) AS sha256,
    CAST(l.reason = 'wrong_topic' OR (toString(l.topic), l.raw_sha256) IN (
        SELECT toString(topic), raw_sha256 FROM audit_log_final
        WHERE disposition = 'ACCEPTED' AND raw_sha256 IN (SELECT raw_sha256 FROM letters)
    ) AS Bool) AS is_settled
FROM letters AS l
ORDER BY l.appended_at, l.topic_id, partition, offset
