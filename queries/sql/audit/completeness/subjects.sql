-- One row a task: everything that was said of it, and which rule it breaks. Population: tasks whose first own event lies in
-- the window, tasks known only from other topics (orphans), and tasks of which only a dead letter is left. An accepted receipt
-- whose fact is gone says that there was an event, whatever the chain of what is left looks like.
WITH versions AS (
    SELECT task_id, state_version, count(*) AS events, min(event_us) AS at,
        max(CASE WHEN kind = 'SUBMITTED' THEN 1 ELSE 0 END) AS submitted, min(policy_tag) AS low_tag, max(policy_tag) AS high_tag,
        sum(CASE WHEN kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK') THEN 1 ELSE 0 END) AS ends
    FROM task_events
    GROUP BY task_id, state_version
), sides AS (
    SELECT task_id, id_hash, 1 AS receipts, 0 AS facts, event_us FROM audit_log WHERE topic = $task_topic AND disposition = 'ACCEPTED'
    UNION ALL
    SELECT task_id, id_hash, 0, 1, NULL FROM task_events
), contents AS (
    SELECT task_id, sum(receipts) AS receipts, sum(facts) AS facts, min(event_us) AS at FROM sides GROUP BY task_id, id_hash
), letters AS (
    SELECT d.key AS task_id, d.appended_us AS at, d.reason AS reason, CASE WHEN d.reason IN ('policy_tag_missing', 'policy_tag_unknown') THEN 1 ELSE 0 END AS untagged
    FROM dead_letters AS d
    WHERE d.topic = $task_topic AND d.key <> '' AND d.reason <> 'wrong_topic' AND NOT EXISTS (
        SELECT 1 FROM audit_log AS a WHERE a.topic = d.topic AND a.raw_sha256 = d.raw_sha256 AND a.disposition = 'ACCEPTED'
    )
), said AS (
    SELECT task_id, at AS own_at, NULL AS other_at, NULL AS dead_at, events, 1 AS versions, state_version,
        CASE WHEN state_version = 1 THEN submitted ELSE 0 END AS submitted, low_tag, high_tag, ends, 0 AS receipts, 0 AS repeated, 0 AS lost,
        0 AS untagged, NULL AS reason
    FROM versions
    UNION ALL
    SELECT task_id, CASE WHEN facts = 0 THEN at END, NULL, NULL, 0, 0, NULL, 0, NULL, NULL, 0, receipts, receipts - 1,
        CASE WHEN facts = 0 THEN 1 ELSE 0 END, 0, NULL
    FROM contents WHERE receipts > 0
    UNION ALL
    SELECT task_id, NULL, event_us, NULL, 0, 0, NULL, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL FROM credit_events WHERE task_id <> ''
    UNION ALL
    SELECT task_id, NULL, event_us, NULL, 0, 0, NULL, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL FROM license_events WHERE task_id <> ''
    UNION ALL
    SELECT task_id, NULL, event_us, NULL, 0, 0, NULL, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL FROM moderation_events WHERE task_id <> ''
    UNION ALL
    SELECT task_id, NULL, NULL, at, 0, 0, NULL, 0, NULL, NULL, 0, 0, 0, 0, untagged, reason FROM letters
), tasks AS (
    SELECT task_id, min(own_at) AS own_at, min(other_at) AS other_at, min(dead_at) AS dead_at, count(dead_at) AS letters,
        sum(events) AS events, sum(versions) AS versions, min(state_version) AS first_version, max(state_version) AS last_version,
        sum(submitted) AS submitted, min(low_tag) AS low_tag, max(high_tag) AS high_tag, sum(ends) AS ends, sum(receipts) AS receipts,
        sum(repeated) AS repeated, sum(lost) AS lost, sum(untagged) AS untagged, min(reason) AS reason
    FROM said
    GROUP BY task_id
)
SELECT task_id, events, receipts, lost, letters, reason, first_version, last_version, versions, ends, low_tag, high_tag,
    CASE WHEN receipts = 0 AND (own_at IS NOT NULL OR other_at IS NULL) THEN 1 ELSE 0 END AS missing_audit,
    CASE WHEN lost > 0 THEN 1 ELSE 0 END AS missing_fact,
    CASE WHEN untagged > 0 OR low_tag = '' THEN 1 ELSE 0 END AS missing_tag,
    CASE WHEN low_tag <> high_tag THEN 1 ELSE 0 END AS conflicting_tag,
    CASE WHEN own_at IS NOT NULL AND (first_version <> 1 OR submitted = 0 OR versions <> last_version OR events <> versions) THEN 1 ELSE 0 END AS broken_chain,
    CASE WHEN ends > 1 THEN 1 ELSE 0 END AS ended_twice,
    CASE WHEN letters > 0 THEN 1 ELSE 0 END AS dead_lettered,
    CASE WHEN own_at IS NULL AND other_at IS NOT NULL THEN 1 ELSE 0 END AS orphan_audit,
    CASE WHEN own_at IS NOT NULL THEN repeated ELSE 0 END AS duplicate_audit
FROM tasks
WHERE coalesce(own_at, other_at, dead_at) >= $from_us AND coalesce(own_at, other_at, dead_at) < $to_us
