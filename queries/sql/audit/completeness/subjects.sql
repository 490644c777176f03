-- One row a task: everything that was said of it, and which rule it breaks. Population: tasks whose first own event lies in
-- the window, tasks known only from other topics (orphans), and tasks of which only a dead letter is left.
--
-- A chain is whole if there are as many events as its last state_version says and each version is among them. Versions 1 to 62 are
-- bits of one number, so a task is grouped once; higher ones, where there are any at all, are counted apart. Each fact counts for its
-- receipt, and `contents` puts right what of that is not so. An accepted receipt whose fact is gone says that there was an event,
-- whatever the chain of what is left looks like.
WITH higher AS (
    SELECT task_id, state_version FROM task_events
    WHERE $version_max > 62 AND state_version > 62 AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    GROUP BY task_id, state_version
), said AS (
    SELECT task_id, event_us AS own_at, NULL AS other_at, NULL AS dead_at, 1 AS events, state_version,
        CASE WHEN state_version >= 1 AND state_version <= 62 THEN CAST(1 AS BIGINT) << (state_version - 1) ELSE 0 END AS seen, 0 AS higher,
        CASE WHEN state_version = 1 AND kind = 'SUBMITTED' THEN 1 ELSE 0 END AS submitted, policy_code, policy_tag,
        CASE WHEN kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK') THEN 1 ELSE 0 END AS ends, 1 AS receipts, 0 AS repeated, 0 AS lost, 0 AS untagged, NULL AS reason
    FROM task_events WHERE task_bucket >= $bucket_first AND task_bucket < $bucket_next
    UNION ALL
    SELECT task_id, NULL, NULL, NULL, 0, NULL, 0, 1, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL FROM higher
    UNION ALL
    SELECT task_id, CASE WHEN facts = 0 THEN at END, NULL, NULL, 0, NULL, 0, 0, 0, NULL, NULL, 0, receipts - facts, CASE WHEN receipts > 0 THEN receipts - 1 ELSE 0 END,
        CASE WHEN facts = 0 THEN 1 ELSE 0 END, 0, NULL
    FROM contents
    UNION ALL
    SELECT task_id, NULL, event_us, NULL, 0, NULL, 0, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL FROM credit_events
    WHERE task_id <> '' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    UNION ALL
    SELECT task_id, NULL, event_us, NULL, 0, NULL, 0, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL FROM license_events
    WHERE task_id <> '' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    UNION ALL
    SELECT task_id, NULL, event_us, NULL, 0, NULL, 0, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, NULL FROM moderation_events
    WHERE task_id <> '' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    UNION ALL
    SELECT task_id, NULL, NULL, at, 0, NULL, 0, 0, 0, NULL, NULL, 0, 0, 0, 0, untagged, reason FROM open_letters
    WHERE task_bucket >= $bucket_first AND task_bucket < $bucket_next
), tasks AS (
    SELECT task_id, min(own_at) AS own_at, min(other_at) AS other_at, min(dead_at) AS dead_at, count(dead_at) AS letters,
        sum(events) AS events, min(state_version) AS first_version, max(state_version) AS last_version, bit_or(seen) AS seen,
        sum(higher) AS higher, max(submitted) AS submitted, min(policy_code) AS low_code, max(policy_code) AS high_code,
        min(policy_tag) AS low_tag, max(policy_tag) AS high_tag, sum(ends) AS ends, sum(receipts) AS receipts,
        sum(repeated) AS repeated, sum(lost) AS lost, sum(untagged) AS untagged, min(reason) AS reason
    FROM said
    GROUP BY task_id
)
SELECT task_id, events, receipts, lost, letters, reason, first_version, last_version, ends, low_tag, high_tag,
    CASE WHEN receipts = 0 AND (own_at IS NOT NULL OR other_at IS NULL) THEN 1 ELSE 0 END AS missing_audit,
    CASE WHEN lost > 0 THEN 1 ELSE 0 END AS missing_fact,
    CASE WHEN untagged > 0 OR low_code = 0 THEN 1 ELSE 0 END AS missing_tag,
    CASE WHEN low_code <> high_code THEN 1 ELSE 0 END AS conflicting_tag,
    CASE WHEN own_at IS NOT NULL AND (submitted = 0 OR events <> last_version OR higher <> greatest(last_version - 62, 0)
        OR seen <> (CAST(1 AS BIGINT) << greatest(least(last_version, 62), 0)) - 1) THEN 1 ELSE 0 END AS broken_chain,
    CASE WHEN ends > 1 THEN 1 ELSE 0 END AS ended_twice,
    CASE WHEN letters > 0 THEN 1 ELSE 0 END AS dead_lettered,
    CASE WHEN own_at IS NULL AND other_at IS NOT NULL THEN 1 ELSE 0 END AS orphan_audit,
    CASE WHEN own_at IS NOT NULL THEN repeated ELSE 0 END AS duplicate_audit
FROM tasks
WHERE coalesce(own_at, other_at, dead_at) >= $from_us AND coalesce(own_at, other_at, dead_at) < $to_us
