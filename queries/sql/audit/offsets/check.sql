-- The same by another way, every counter of it: boundaries of receipts and gaps are swept, and where the depth is 0 nothing lies, where
-- it is above 1 more than one; ends by arithmetic; rows whose counterpart a join does not find. The two steps stand to the right of the
-- pieces: that side is the one which ClickHouse keeps in memory.
WITH pieces AS (
    SELECT topic_id, partition, "offset" AS first, "offset" + 1 AS next FROM audit_log
    UNION ALL
    SELECT topic_id, partition, first, next FROM gaps
), extents AS (
    SELECT topic_id, partition, min(first) AS low, max(next) AS high, sum(next - first) AS covered FROM pieces GROUP BY topic_id, partition
), edges AS (
    SELECT topic_id, partition, CASE WHEN step = 1 THEN first ELSE next END AS place, step
    FROM pieces CROSS JOIN (SELECT 1 AS step UNION ALL SELECT -1 AS step) AS both_ends
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
), seen AS (
    SELECT coalesce(extents.topic_id, heads.topic_id) AS topic_id, coalesce(extents.partition, heads.partition) AS partition,
        extents.low AS taken_low, extents.high AS taken_high, coalesce(extents.covered, 0) AS covered,
        heads.low AS head_low, heads.high AS head_high, coalesce(heads.ended, 0) AS ended, coalesce(extents.high, heads.low) AS reached
    FROM extents FULL JOIN heads ON heads.topic_id = extents.topic_id AND heads.partition = extents.partition
), bounded AS (
    SELECT seen.topic_id AS topic_id, taken_low, taken_high, covered, head_low, head_high, ended, reached,
        coalesce(sweeps.holes, 0) AS holes, coalesce(sweeps.overlaps, 0) AS overlaps
    FROM seen LEFT JOIN sweeps ON sweeps.topic_id = seen.topic_id AND sweeps.partition = seen.partition
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
), stored AS (
    SELECT topic, source, event_id, digest, min(topic_id) AS topic_id, count(*) AS facts FROM facts GROUP BY topic, source, event_id, digest
), paired AS (
    SELECT coalesce(accepted.topic_id, stored.topic_id) AS topic_id, coalesce(accepted.receipts, 0) AS receipts, coalesce(stored.facts, 0) AS facts
    FROM accepted FULL JOIN stored
        ON stored.topic = accepted.topic AND stored.source = accepted.source AND stored.event_id = accepted.event_id AND stored.digest = accepted.digest
), matched AS (
    SELECT topic_id, sum(CASE WHEN facts = 0 THEN receipts ELSE 0 END) AS accepted_without_fact,
        sum(CASE WHEN receipts = 0 THEN facts ELSE 0 END) AS fact_without_receipt,
        sum(CASE WHEN facts > 1 THEN facts - 1 ELSE 0 END) AS fact_twice, sum(CASE WHEN receipts > 1 THEN receipts - 1 ELSE 0 END) AS duplicates
    FROM paired
    GROUP BY topic_id
), distinct_ids AS (
    SELECT topic, source, event_id, min(topic_id) AS topic_id, count(DISTINCT digest) AS contents FROM accepted GROUP BY topic, source, event_id
), conflicting AS (
    SELECT topic_id, sum(contents - 1) AS conflicts FROM distinct_ids GROUP BY topic_id
), receipts AS (
    SELECT topic_id, count(*) AS receipts, count(CASE WHEN disposition = 'DEAD' THEN 1 END) AS dead, count(CASE WHEN skewed THEN 1 END) AS skewed
    FROM audit_log GROUP BY topic_id
), unburied AS (
    SELECT a.topic_id AS topic_id, sum(CASE WHEN a.disposition = 'DEAD' AND d.topic_id IS NULL THEN 1 ELSE 0 END) AS dead_without_letter,
        sum(CASE WHEN a.disposition = 'ACCEPTED' AND d.topic_id IS NOT NULL THEN 1 ELSE 0 END) AS both_ways,
        sum(CASE WHEN d.topic_id IS NOT NULL THEN 1 ELSE 0 END) AS letters
    FROM audit_log AS a LEFT JOIN dead_letters AS d ON d.topic_id = a.topic_id AND d.partition = a.partition AND d."offset" = a."offset"
    GROUP BY a.topic_id
), lettered AS (
    SELECT topic_id, count(*) AS letters FROM dead_letters GROUP BY topic_id
)
SELECT tiles.topic_id AS grp, tiles.partitions AS partitions, tiles.without_head AS without_head, tiles.uncovered AS uncovered,
    tiles.holes AS holes, tiles.overlaps AS overlaps, tiles.untaken AS untaken, tiles.never_taken AS never_taken,
    coalesce(receipts.receipts, 0) AS receipts, coalesce(receipts.dead, 0) AS dead,
    coalesce(receipts.receipts, 0) - coalesce(receipts.dead, 0) AS accepted, coalesce(receipts.skewed, 0) AS skewed,
    tiles.covered - coalesce(receipts.receipts, 0) AS absent, coalesce(lost.expired, 0) AS expired, coalesce(matched.fact_twice, 0) AS fact_twice,
    coalesce(matched.accepted_without_fact, 0) AS accepted_without_fact, coalesce(matched.fact_without_receipt, 0) AS fact_without_receipt,
    coalesce(unburied.dead_without_letter, 0) AS dead_without_letter,
    coalesce(lettered.letters, 0) - coalesce(unburied.letters, 0) AS letter_without_receipt,
    coalesce(unburied.both_ways, 0) AS both_ways, coalesce(matched.duplicates, 0) AS duplicates, coalesce(conflicting.conflicts, 0) AS conflicts
FROM tiles
    LEFT JOIN receipts ON receipts.topic_id = tiles.topic_id
    LEFT JOIN lost ON lost.topic_id = tiles.topic_id
    LEFT JOIN matched ON matched.topic_id = tiles.topic_id
    LEFT JOIN conflicting ON conflicting.topic_id = tiles.topic_id
    LEFT JOIN unburied ON unburied.topic_id = tiles.topic_id
    LEFT JOIN lettered ON lettered.topic_id = tiles.topic_id
