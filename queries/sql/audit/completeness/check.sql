-- The same by joins and by distinct versions: a chain is whole where a task has as many events as versions, and as many as the highest
-- of them says. A task without a fact of its own has receipts here only where a fact is lost, and no chain then. Each is read once: what
-- ClickHouse finds under a name it looks at anew wherever the name stands.
WITH placed AS (
    SELECT task_id, state_version, count(*) AS events, min(event_us) AS at, min(policy_tag) AS low_tag, max(policy_tag) AS high_tag,
        max(CASE WHEN state_version < 1 OR (state_version = 1 AND kind <> 'SUBMITTED') THEN 1 ELSE 0 END) AS misplaced,
        sum(CASE WHEN kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK') THEN 1 ELSE 0 END) AS ends
    FROM task_events WHERE task_bucket >= $bucket_first AND task_bucket < $bucket_next
    GROUP BY task_id, state_version
), own AS (
    SELECT task_id, min(at) AS own_at,
        CASE WHEN sum(events) <> count(*) OR max(state_version) <> count(*) OR max(misplaced) = 1 THEN 1 ELSE 0 END AS broken_chain,
        CASE WHEN min(low_tag) <> max(high_tag) THEN 1 ELSE 0 END AS conflicting_tag,
        CASE WHEN sum(ends) > 1 THEN 1 ELSE 0 END AS ended_twice
    FROM placed
    GROUP BY task_id
), own_events AS (
    SELECT DISTINCT task_id, event_id, digest FROM task_events WHERE task_bucket >= $bucket_first AND task_bucket < $bucket_next
), receipted AS (
    SELECT task_id, event_id, digest, max(task_bucket) AS task_bucket, max(id_hash) AS id_hash, count(*) AS receipts, min(event_us) AS event_us
    FROM audit_log WHERE topic = $task_topic AND disposition = 'ACCEPTED' AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    GROUP BY task_id, event_id, digest
), receipts AS (
    SELECT receipted.task_id AS task_id, sum(receipted.receipts) AS receipts, count(*) AS contents,
        min(CASE WHEN own_events.task_id IS NULL THEN receipted.event_us END) AS lost_at
    FROM receipted LEFT JOIN own_events
        ON own_events.task_id = receipted.task_id AND own_events.event_id = receipted.event_id AND own_events.digest = receipted.digest
    GROUP BY receipted.task_id
), attested AS (
    SELECT event_us - event_us % 600000000 AS bucket, task_bucket, count(*) AS events, sum(id_hash) AS hashes FROM receipted
    WHERE event_us >= $from_us AND event_us < $to_us GROUP BY event_us - event_us % 600000000, task_bucket
), stored AS (
    SELECT event_us - event_us % 600000000 AS bucket, task_bucket, count(*) AS events, sum(id_hash) AS hashes FROM task_events
    WHERE topic = $task_topic AND event_us >= $from_us AND event_us < $to_us AND task_bucket >= $bucket_first AND task_bucket < $bucket_next
    GROUP BY event_us - event_us % 600000000, task_bucket
), compared AS (
    SELECT count(*) AS buckets,
        sum(CASE WHEN attested.events = stored.events AND attested.hashes = stored.hashes THEN 0 ELSE 1 END) AS buckets_differing
    FROM attested FULL JOIN stored ON attested.bucket = stored.bucket AND attested.task_bucket = stored.task_bucket
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
), taken AS (
    SELECT coalesce(own.task_id, receipts.task_id) AS task_id,
        CASE WHEN receipts.lost_at < own.own_at OR own.own_at IS NULL THEN receipts.lost_at ELSE own.own_at END AS own_at,
        coalesce(receipts.receipts, 0) AS receipts, coalesce(receipts.contents, 0) AS contents,
        CASE WHEN receipts.lost_at IS NULL THEN 0 ELSE 1 END AS missing_fact, coalesce(own.broken_chain, 1) AS broken_chain,
        coalesce(own.conflicting_tag, 0) AS conflicting_tag, coalesce(own.ended_twice, 0) AS ended_twice
    FROM own FULL JOIN receipts ON receipts.task_id = own.task_id
), referred AS (
    SELECT coalesce(taken.task_id, other.task_id) AS task_id, taken.own_at AS own_at, other.other_at AS other_at,
        taken.receipts AS receipts, taken.contents AS contents, taken.missing_fact AS missing_fact, taken.broken_chain AS broken_chain,
        taken.conflicting_tag AS conflicting_tag, taken.ended_twice AS ended_twice
    FROM taken FULL JOIN other ON other.task_id = taken.task_id
), joined AS (
    SELECT referred.own_at AS own_at, referred.other_at AS other_at, letters.dead_at AS dead_at,
        coalesce(referred.receipts, 0) AS receipts, coalesce(referred.contents, 0) AS contents,
        coalesce(referred.missing_fact, 0) AS missing_fact, coalesce(referred.broken_chain, 0) AS broken_chain,
        coalesce(referred.conflicting_tag, 0) AS conflicting_tag, coalesce(referred.ended_twice, 0) AS ended_twice,
        coalesce(letters.untagged, 0) AS missing_tag, CASE WHEN letters.dead_at IS NULL THEN 0 ELSE 1 END AS dead_lettered
    FROM referred FULL JOIN letters ON letters.task_id = referred.task_id
), judged AS (
    SELECT broken_chain, conflicting_tag, ended_twice, missing_tag, missing_fact, dead_lettered,
        CASE WHEN own_at IS NULL AND other_at IS NOT NULL THEN 1 ELSE 0 END AS orphan_audit,
        CASE WHEN receipts = 0 AND (own_at IS NOT NULL OR other_at IS NULL) THEN 1 ELSE 0 END AS missing_audit,
        CASE WHEN own_at IS NOT NULL THEN receipts - contents ELSE 0 END AS duplicate_audit
    FROM joined
    WHERE coalesce(own_at, other_at, dead_at) >= $from_us AND coalesce(own_at, other_at, dead_at) < $to_us
), counted AS (
    SELECT count(*) AS population, sum(missing_audit) AS missing_audit, sum(missing_fact) AS missing_fact, sum(missing_tag) AS missing_tag,
        sum(conflicting_tag) AS conflicting_tag, sum(broken_chain) AS broken_chain, sum(ended_twice) AS ended_twice,
        sum(dead_lettered) AS dead_lettered, sum(orphan_audit) AS orphan_audit, sum(duplicate_audit) AS duplicate_audit,
        sum(CASE WHEN broken_chain = 0 AND conflicting_tag = 0 AND ended_twice = 0 AND missing_tag = 0 AND missing_fact = 0 AND dead_lettered = 0
            AND orphan_audit = 0 AND missing_audit = 0 THEN 1 ELSE 0 END) AS complete
    FROM judged
)
SELECT population, missing_audit, missing_fact, missing_tag, conflicting_tag, broken_chain, ended_twice, dead_lettered, orphan_audit,
    duplicate_audit, complete, buckets, buckets_differing
FROM counted CROSS JOIN compared
