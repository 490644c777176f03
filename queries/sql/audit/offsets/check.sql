-- The same by another way, every counter of it: boundaries of receipts and gaps are swept, and where the depth is 0 nothing lies, where
-- it is above 1 more than one; ends by arithmetic; rows whose counterpart a join does not find.
WITH pieces AS (
    SELECT topic_id, partition, "offset" AS first, "offset" + 1 AS next FROM audit_log
    UNION ALL
    SELECT topic_id, partition, first, next FROM gaps
), extents AS (
    SELECT topic_id, partition, min(first) AS low, max(next) AS high, sum(next - first) AS covered FROM pieces GROUP BY topic_id, partition
), edges AS (
    SELECT topic_id, partition, first AS place, 1 AS step FROM pieces
    UNION ALL
    SELECT topic_id, partition, next AS place, -1 AS step FROM pieces
), turns AS (
    SELECT topic_id, partition, place, sum(step) AS step FROM edges GROUP BY topic_id, partition, place HAVING sum(step) <> 0
), swept AS (
    SELECT topic_id, partition, place,
        sum(step) OVER (PARTITION BY topic_id, partition ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS depth,
        max(place) OVER (PARTITION BY topic_id, partition ORDER BY place ROWS BETWEEN 1 FOLLOWING AND 1 FOLLOWING) AS to_place
    FROM turns
), sweeps AS (
    SELECT topic_id, partition, sum(CASE WHEN depth = 0 THEN to_place - place ELSE 0 END) AS holes,
        sum(CASE WHEN depth > 1 THEN (depth - 1) * (to_place - place) ELSE 0 END) AS overlaps
    FROM swept
    WHERE to_place IS NOT NULL AND to_place > place
    GROUP BY topic_id, partition
), known AS (
    SELECT topic_id, partition FROM extents UNION ALL SELECT topic_id, partition FROM heads
), partitions AS (
    SELECT DISTINCT topic_id, partition FROM known
), bounded AS (
    SELECT partitions.topic_id AS topic_id, extents.low AS taken_low, extents.high AS taken_high, coalesce(extents.covered, 0) AS covered,
        coalesce(sweeps.holes, 0) AS holes, coalesce(sweeps.overlaps, 0) AS overlaps,
        heads.low AS head_low, heads.high AS head_high, coalesce(heads.ended, 0) AS ended, coalesce(extents.high, heads.low) AS reached
    FROM partitions
        LEFT JOIN extents ON extents.topic_id = partitions.topic_id AND extents.partition = partitions.partition
        LEFT JOIN sweeps ON sweeps.topic_id = partitions.topic_id AND sweeps.partition = partitions.partition
        LEFT JOIN heads ON heads.topic_id = partitions.topic_id AND heads.partition = partitions.partition
), tiles AS (
    SELECT topic_id, count(*) AS partitions,
        sum(coalesce(taken_high, 0) - coalesce(CASE WHEN taken_low < coalesce(head_low, 0) THEN taken_low ELSE CASE WHEN taken_low IS NULL THEN 0 ELSE coalesce(head_low, 0) END END, 0) - covered) AS uncovered,
        sum(holes + CASE WHEN taken_low IS NULL OR taken_low <= coalesce(head_low, 0) THEN 0 ELSE taken_low - coalesce(head_low, 0) END) AS holes,
        sum(overlaps) AS overlaps, sum(covered) AS covered,
        sum(CASE WHEN head_high IS NULL THEN 1 ELSE 0 END) AS without_head,
        sum((1 - ended) * CASE WHEN head_high > reached THEN head_high - reached ELSE 0 END) AS untaken,
        sum(ended * CASE WHEN head_high > reached THEN head_high - reached ELSE 0 END) AS never_taken
    FROM bounded
    GROUP BY topic_id
), lost AS (
    SELECT topic_id, sum(next) - sum(first) AS expired FROM gaps WHERE kind = 'EXPIRED' GROUP BY topic_id
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
), copies AS (
    SELECT topic, source, event_id, digest, min(topic_id) AS topic_id, count(*) AS facts FROM facts
    GROUP BY topic, source, event_id, digest HAVING count(*) > 1
), copied AS (
    SELECT coalesce(accepted.topic_id, copies.topic_id) AS topic_id, sum(copies.facts - 1) AS fact_twice
    FROM copies LEFT JOIN accepted
        ON copies.topic = accepted.topic AND copies.source = accepted.source AND copies.event_id = accepted.event_id AND copies.digest = accepted.digest
    GROUP BY coalesce(accepted.topic_id, copies.topic_id)
), repeated AS (
    SELECT topic_id, sum(receipts - 1) AS duplicates FROM accepted WHERE receipts > 1 GROUP BY topic_id
), distinct_ids AS (
    SELECT topic, source, event_id, min(topic_id) AS topic_id, count(DISTINCT digest) AS contents FROM accepted GROUP BY topic, source, event_id
), conflicting AS (
    SELECT topic_id, sum(contents - 1) AS conflicts FROM distinct_ids GROUP BY topic_id
), receipts AS (
    SELECT topic_id, count(*) AS receipts, count(CASE WHEN disposition = 'DEAD' THEN 1 END) AS dead, count(CASE WHEN skewed THEN 1 END) AS skewed
    FROM audit_log GROUP BY topic_id
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
    tiles.holes AS holes, tiles.overlaps AS overlaps, tiles.untaken AS untaken, tiles.never_taken AS never_taken,
    coalesce(receipts.receipts, 0) AS receipts, coalesce(receipts.dead, 0) AS dead,
    coalesce(receipts.receipts, 0) - coalesce(receipts.dead, 0) AS accepted, coalesce(receipts.skewed, 0) AS skewed,
    tiles.covered - coalesce(receipts.receipts, 0) AS absent, coalesce(lost.expired, 0) AS expired, coalesce(copied.fact_twice, 0) AS fact_twice,
    coalesce(unmatched.accepted_without_fact, 0) AS accepted_without_fact, coalesce(unasked.fact_without_receipt, 0) AS fact_without_receipt,
    coalesce(unburied.dead_without_letter, 0) AS dead_without_letter, coalesce(unreceipted.letter_without_receipt, 0) AS letter_without_receipt,
    coalesce(unburied.both_ways, 0) AS both_ways, coalesce(repeated.duplicates, 0) AS duplicates, coalesce(conflicting.conflicts, 0) AS conflicts
FROM tiles
    LEFT JOIN receipts ON receipts.topic_id = tiles.topic_id
    LEFT JOIN lost ON lost.topic_id = tiles.topic_id
    LEFT JOIN copied ON copied.topic_id = tiles.topic_id
    LEFT JOIN unmatched ON unmatched.topic_id = tiles.topic_id
    LEFT JOIN unasked ON unasked.topic_id = tiles.topic_id
    LEFT JOIN repeated ON repeated.topic_id = tiles.topic_id
    LEFT JOIN conflicting ON conflicting.topic_id = tiles.topic_id
    LEFT JOIN unburied ON unburied.topic_id = tiles.topic_id
    LEFT JOIN unreceipted ON unreceipted.topic_id = tiles.topic_id
