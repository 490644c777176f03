-- The same by arithmetic and joins: what lies between the ends of each partition less what is accounted for, and rows whose
-- counterpart a join does not find.
WITH pieces AS (
    SELECT topic_id, partition, "offset" AS first, "offset" + 1 AS next FROM audit_log
    UNION ALL
    SELECT topic_id, partition, first, next FROM gaps
), extents AS (
    SELECT topic_id, partition, min(first) AS low, max(next) AS high, sum(next - first) AS covered FROM pieces GROUP BY topic_id, partition
), known AS (
    SELECT topic_id, partition FROM extents UNION ALL SELECT topic_id, partition FROM heads
), partitions AS (
    SELECT DISTINCT topic_id, partition FROM known
), bounded AS (
    SELECT partitions.topic_id AS topic_id, extents.low AS taken_low, extents.high AS taken_high, coalesce(extents.covered, 0) AS covered,
        heads.low AS head_low, heads.high AS head_high
    FROM partitions
        LEFT JOIN extents ON extents.topic_id = partitions.topic_id AND extents.partition = partitions.partition
        LEFT JOIN heads ON heads.topic_id = partitions.topic_id AND heads.partition = partitions.partition
), tiles AS (
    SELECT topic_id, count(*) AS partitions,
        sum(coalesce(taken_high, 0) - coalesce(CASE WHEN taken_low < coalesce(head_low, 0) THEN taken_low ELSE CASE WHEN taken_low IS NULL THEN 0 ELSE coalesce(head_low, 0) END END, 0) - covered) AS uncovered,
        sum(CASE WHEN head_high IS NULL THEN 1 ELSE 0 END) AS without_head
    FROM bounded
    GROUP BY topic_id
), facts AS (
    SELECT topic, source, event_id, digest, topic_id FROM credit_events
    UNION ALL
    SELECT topic, source, event_id, digest, topic_id FROM license_events
    UNION ALL
    SELECT topic, source, event_id, digest, topic_id FROM task_events
    UNION ALL
    SELECT topic, source, event_id, digest, topic_id FROM moderation_events
), accepted AS (
    SELECT topic, source, event_id, digest, min(topic_id) AS topic_id, count(*) AS receipts FROM audit_log WHERE disposition = 'ACCEPTED'
    GROUP BY topic, source, event_id, digest
), unmatched AS (
    SELECT accepted.topic_id AS topic_id, sum(accepted.receipts) AS accepted_without_fact
    FROM accepted LEFT JOIN facts
        ON facts.topic = accepted.topic AND facts.source = accepted.source AND facts.event_id = accepted.event_id AND facts.digest = accepted.digest
    WHERE facts.topic IS NULL
    GROUP BY accepted.topic_id
), unasked AS (
    SELECT facts.topic_id AS topic_id, count(*) AS fact_without_receipt
    FROM facts LEFT JOIN accepted
        ON facts.topic = accepted.topic AND facts.source = accepted.source AND facts.event_id = accepted.event_id AND facts.digest = accepted.digest
    WHERE accepted.topic IS NULL
    GROUP BY facts.topic_id
), repeated AS (
    SELECT topic_id, sum(receipts - 1) AS duplicates FROM accepted WHERE receipts > 1 GROUP BY topic_id
), distinct_ids AS (
    SELECT topic, source, event_id, min(topic_id) AS topic_id, count(DISTINCT digest) AS contents FROM accepted GROUP BY topic, source, event_id
), conflicting AS (
    SELECT topic_id, sum(contents - 1) AS conflicts FROM distinct_ids GROUP BY topic_id
), receipts AS (
    SELECT topic_id, count(*) AS receipts, sum(CASE WHEN disposition = 'DEAD' THEN 1 ELSE 0 END) AS dead FROM audit_log GROUP BY topic_id
), unburied AS (
    SELECT a.topic_id AS topic_id, sum(CASE WHEN a.disposition = 'DEAD' AND d.topic_id IS NULL THEN 1 ELSE 0 END) AS dead_without_letter,
        sum(CASE WHEN a.disposition = 'ACCEPTED' AND d.topic_id IS NOT NULL THEN 1 ELSE 0 END) AS both_ways
    FROM audit_log AS a LEFT JOIN dead_letters AS d ON d.topic_id = a.topic_id AND d.partition = a.partition AND d."offset" = a."offset"
    GROUP BY a.topic_id
), unreceipted AS (
    SELECT d.topic_id AS topic_id, count(*) AS letter_without_receipt
    FROM dead_letters AS d LEFT JOIN audit_log AS a ON d.topic_id = a.topic_id AND d.partition = a.partition AND d."offset" = a."offset"
    WHERE a.topic_id IS NULL
    GROUP BY d.topic_id
)
SELECT tiles.topic_id AS grp, tiles.partitions AS partitions, tiles.without_head AS without_head, tiles.uncovered AS uncovered,
    coalesce(receipts.receipts, 0) AS receipts, coalesce(receipts.dead, 0) AS dead,
    coalesce(unmatched.accepted_without_fact, 0) AS accepted_without_fact, coalesce(unasked.fact_without_receipt, 0) AS fact_without_receipt,
    coalesce(unburied.dead_without_letter, 0) AS dead_without_letter, coalesce(unreceipted.letter_without_receipt, 0) AS letter_without_receipt,
    coalesce(unburied.both_ways, 0) AS both_ways, coalesce(repeated.duplicates, 0) AS duplicates, coalesce(conflicting.conflicts, 0) AS conflicts
FROM tiles
    LEFT JOIN receipts ON receipts.topic_id = tiles.topic_id
    LEFT JOIN unmatched ON unmatched.topic_id = tiles.topic_id
    LEFT JOIN unasked ON unasked.topic_id = tiles.topic_id
    LEFT JOIN repeated ON repeated.topic_id = tiles.topic_id
    LEFT JOIN conflicting ON conflicting.topic_id = tiles.topic_id
    LEFT JOIN unburied ON unburied.topic_id = tiles.topic_id
    LEFT JOIN unreceipted ON unreceipted.topic_id = tiles.topic_id
