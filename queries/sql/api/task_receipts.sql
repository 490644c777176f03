-- Facts that name a task and have no receipt that does; then receipts of the events that name it, the earliest first, with the number
-- of facts of each content.
WITH facts AS (
    SELECT event_id, source, digest, count() AS facts, any((topic, topic_id, partition, offset, appended_at, kind, policy_tag)) AS fact
    FROM
    (
        SELECT event_id, toString(source) AS source, digest, toString(topic) AS topic, topic_id, partition, offset, appended_at, toString(kind) AS kind,
            toString(policy_tag) AS policy_tag
        FROM credit_events_final WHERE task_id = {task_id:String}
        UNION ALL
        SELECT event_id, toString(source), digest, toString(topic), topic_id, partition, offset, appended_at, toString(kind), toString(policy_tag)
        FROM license_events_final WHERE task_id = {task_id:String}
        UNION ALL
        SELECT event_id, toString(source), digest, toString(topic), topic_id, partition, offset, appended_at, toString(kind), toString(policy_tag)
        FROM task_events_final WHERE task_id = {task_id:String}
        UNION ALL
        SELECT event_id, toString(source), digest, toString(topic), topic_id, partition, offset, appended_at, toString(kind), toString(policy_tag)
        FROM moderation_events_final WHERE task_id = {task_id:String}
    )
    GROUP BY event_id, source, digest
), receipts AS (
    SELECT toString(topic) AS topic, topic_id, partition, offset, appended_at, toString(kind) AS kind, event_id, toString(source) AS source, digest,
        lower(hex(raw_sha256)) AS raw_sha256, toString(policy_tag) AS policy_tag
    FROM audit_log_final
    WHERE task_id = {task_id:String} AND disposition = 'ACCEPTED'
), records AS (
    SELECT true AS is_receipt, topic, topic_id, partition, offset, appended_at, kind, event_id, r.digest AS digest, raw_sha256, policy_tag, facts.facts AS facts
    FROM (SELECT * FROM receipts ORDER BY appended_at, topic_id, partition, offset LIMIT {limit:UInt32}) AS r
    LEFT JOIN facts ON facts.event_id = r.event_id AND facts.source = r.source AND facts.digest = r.digest
    UNION ALL
    SELECT false, fact.1, fact.2, fact.3, fact.4, fact.5, fact.6, event_id, digest, '', fact.7, facts
    FROM facts
    WHERE (event_id, source, digest) NOT IN (SELECT event_id, source, digest FROM receipts)
    LIMIT {limit:UInt32}
)
SELECT
    is_receipt, topic, toString(records.topic_id) AS topic_id, partition, offset, toUnixTimestamp64Milli(records.appended_at) * 1000 AS appended_at,
    kind, toString(records.event_id) AS event_id, lower(hex(records.digest)) AS digest, raw_sha256, policy_tag, toUInt64(records.facts) AS facts
FROM records
ORDER BY is_receipt, records.appended_at, records.topic_id, partition, offset
