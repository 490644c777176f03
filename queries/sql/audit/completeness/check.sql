-- The same by joins and by position: a chain is whole where every event of a task stands at the place its state_version says.
WITH placed AS (
    SELECT task_id, state_version, kind, policy_tag, event_us, row_number() OVER (PARTITION BY task_id ORDER BY state_version) AS place
    FROM task_events WHERE task_bucket >= $bucket_first AND task_bucket < $bucket_next
), own AS (
    SELECT task_id, min(event_us) AS own_at, count(*) AS events,
        max(CASE WHEN state_version <> place OR (state_version = 1 AND kind <> 'SUBMITTED') THEN 1 ELSE 0 END) AS broken_chain,
        CASE WHEN count(DISTINCT policy_tag) > 1 THEN 1 ELSE 0 END AS conflicting_tag,
        CASE WHEN sum(CASE WHEN kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK') THEN 1 ELSE 0 END) > 1 THEN 1 ELSE 0 END AS ended_twice
    FROM placed
    GROUP BY task_id
), receipts AS (
    SELECT task_id, count(*) AS receipts FROM audit_log
    WHERE topic = $task_topic AND disposition = 'ACCEPTED' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    GROUP BY task_id
), elsewhere AS (
    SELECT task_id, event_us FROM credit_events
    WHERE task_id <> '' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    UNION ALL
    SELECT task_id, event_us FROM license_events
    WHERE task_id <> '' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    UNION ALL
    SELECT task_id, event_us FROM moderation_events
    WHERE task_id <> '' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
), other AS (
    SELECT task_id, min(event_us) AS other_at FROM elsewhere GROUP BY task_id
), letters AS (
    SELECT task_id, dead_at, untagged FROM letters_again WHERE task_bucket >= $bucket_first AND task_bucket < $bucket_next
), names AS (
    SELECT task_id FROM own UNION ALL SELECT task_id FROM other UNION ALL SELECT task_id FROM letters
), tasks AS (
    SELECT DISTINCT task_id FROM names
), joined AS (
    SELECT tasks.task_id AS task_id, own.own_at AS own_at, other.other_at AS other_at, letters.dead_at AS dead_at,
        coalesce(own.events, 0) AS events, coalesce(receipts.receipts, 0) AS receipts, coalesce(own.broken_chain, 0) AS broken_chain,
        coalesce(own.conflicting_tag, 0) AS conflicting_tag, coalesce(own.ended_twice, 0) AS ended_twice, coalesce(letters.untagged, 0) AS missing_tag,
        CASE WHEN letters.dead_at IS NULL THEN 0 ELSE 1 END AS dead_lettered
    FROM tasks
        LEFT JOIN own ON own.task_id = tasks.task_id
        LEFT JOIN other ON other.task_id = tasks.task_id
        LEFT JOIN letters ON letters.task_id = tasks.task_id
        LEFT JOIN receipts ON receipts.task_id = tasks.task_id
), judged AS (
    SELECT broken_chain, conflicting_tag, ended_twice, missing_tag, dead_lettered,
        CASE WHEN own_at IS NULL AND other_at IS NOT NULL THEN 1 ELSE 0 END AS orphan_audit,
        CASE WHEN receipts = 0 AND (own_at IS NOT NULL OR other_at IS NULL) THEN 1 ELSE 0 END AS missing_audit,
        CASE WHEN own_at IS NOT NULL AND receipts > events THEN receipts - events ELSE 0 END AS duplicate_audit
    FROM joined
    WHERE coalesce(own_at, other_at, dead_at) >= $from_us AND coalesce(own_at, other_at, dead_at) < $to_us
)
SELECT count(*) AS population, sum(missing_audit) AS missing_audit, sum(missing_tag) AS missing_tag, sum(conflicting_tag) AS conflicting_tag,
    sum(broken_chain) AS broken_chain, sum(ended_twice) AS ended_twice, sum(dead_lettered) AS dead_lettered, sum(orphan_audit) AS orphan_audit,
    sum(duplicate_audit) AS duplicate_audit,
    sum(CASE WHEN broken_chain = 0 AND conflicting_tag = 0 AND ended_twice = 0 AND missing_tag = 0 AND dead_lettered = 0
        AND orphan_audit = 0 AND missing_audit = 0 THEN 1 ELSE 0 END) AS complete
FROM judged
