-- Receipts of the events that name a task, the earliest first, and how many facts there are of each content.
WITH receipts AS (
    SELECT topic, topic_id, partition, offset, appended_at, kind, event_id, source, digest, raw_sha256, policy_tag
    FROM audit_log_final
    WHERE task_id = {task_id:String} AND disposition = 'ACCEPTED'
    ORDER BY appended_at, topic_id, partition, offset
    LIMIT {limit:UInt32}
), facts AS (
    SELECT event_id, source, digest, count() AS facts
    FROM
    (
        SELECT event_id, source, digest FROM credit_events_final WHERE task_id = {task_id:String}
        UNION ALL
        SELECT event_id, source, digest FROM license_events_final WHERE task_id = {task_id:String}
        UNION ALL
        SELECT event_id, source, digest FROM task_events_final WHERE task_id = {task_id:String}
        UNION ALL
        SELECT event_id, source, digest FROM moderation_events_final WHERE task_id = {task_id:String}
    )
    GROUP BY event_id, source, digest
)
SELECT
    toString(topic) AS topic, toString(topic_id) AS topic_id, partition, offset, toUnixTimestamp64Milli(r.appended_at) * 1000 AS appended_at,
    toString(kind) AS kind, toString(r.event_id) AS event_id, lower(hex(r.digest)) AS digest, lower(hex(raw_sha256)) AS raw_sha256,
    toString(r.policy_tag) AS policy_tag, toUInt64(facts.facts) AS facts
FROM receipts AS r
LEFT JOIN facts ON facts.event_id = r.event_id AND facts.source = toString(r.source) AND facts.digest = r.digest
ORDER BY appended_at, topic_id, partition, offset
