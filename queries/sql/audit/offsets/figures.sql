-- By topic identity: do receipts and gaps tile [first retained, high watermark) of every partition, and does every receipt
-- have its row and every row its receipt? Facts and receipts are brought together by UNION ALL and GROUP BY, not by a join.
WITH pieces AS (
    SELECT topic_id, partition, "offset" AS first, "offset" + 1 AS next FROM audit_log
    UNION ALL
    SELECT topic_id, partition, first, next FROM gaps
), ordered AS (
    SELECT topic_id, partition, first, next, max(next) OVER (
        PARTITION BY topic_id, partition ORDER BY first, next ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS reach
    FROM pieces
), seams AS (
    SELECT topic_id, partition, min(first) AS low, max(next) AS high,
        sum(CASE WHEN first > reach THEN first - reach ELSE 0 END) AS holes,
        sum(CASE WHEN first < reach THEN least(reach, next) - first ELSE 0 END) AS overlaps
    FROM ordered
    GROUP BY topic_id, partition
), ends AS (
    SELECT topic_id, partition, low AS taken_low, high AS taken_high, holes, overlaps, NULL AS head_low, NULL AS head_high, 0 AS ended FROM seams
    UNION ALL
    SELECT topic_id, partition, NULL, NULL, 0, 0, low, high, ended FROM heads
), partitions AS (
    SELECT topic_id, partition, sum(holes) AS holes, sum(overlaps) AS overlaps, max(ended) AS ended,
        min(taken_low) AS taken_low, max(taken_high) AS taken_high, min(head_low) AS head_low, max(head_high) AS head_high
    FROM ends
    GROUP BY topic_id, partition
), tiles AS (
    SELECT topic_id, count(*) AS partitions,
        sum(CASE WHEN head_high IS NULL THEN 1 ELSE 0 END) AS without_head,
        sum(holes + CASE WHEN taken_low > coalesce(head_low, 0) THEN taken_low - coalesce(head_low, 0) ELSE 0 END) AS holes,
        sum(overlaps) AS overlaps,
        sum(CASE WHEN ended = 0 AND head_high > coalesce(taken_high, head_low) THEN head_high - coalesce(taken_high, head_low) ELSE 0 END) AS untaken,
        sum(CASE WHEN ended = 1 AND head_high > coalesce(taken_high, head_low) THEN head_high - coalesce(taken_high, head_low) ELSE 0 END) AS never_taken
    FROM partitions
    GROUP BY topic_id
), receipts AS (
    SELECT topic_id, count(*) AS receipts,
        sum(CASE WHEN disposition = 'ACCEPTED' THEN 1 ELSE 0 END) AS accepted,
        sum(CASE WHEN disposition = 'DEAD' THEN 1 ELSE 0 END) AS dead,
        sum(CASE WHEN skewed THEN 1 ELSE 0 END) AS skewed
    FROM audit_log
    GROUP BY topic_id
), absent AS (
    SELECT topic_id, sum(next - first) AS absent, sum(CASE WHEN kind = 'EXPIRED' THEN next - first ELSE 0 END) AS expired
    FROM gaps
    GROUP BY topic_id
), sides AS (
    SELECT topic, source, event_id, digest, topic_id AS receipt_of, NULL AS fact_of, 1 AS receipts, 0 AS facts FROM audit_log WHERE disposition = 'ACCEPTED'
    UNION ALL
    SELECT topic, source, event_id, digest, NULL, topic_id, 0, 1 FROM credit_events
    UNION ALL
    SELECT topic, source, event_id, digest, NULL, topic_id, 0, 1 FROM license_events
    UNION ALL
    SELECT topic, source, event_id, digest, NULL, topic_id, 0, 1 FROM task_events
    UNION ALL
    SELECT topic, source, event_id, digest, NULL, topic_id, 0, 1 FROM moderation_events
), contents AS (
    SELECT topic, source, event_id, digest, coalesce(min(receipt_of), min(fact_of)) AS topic_id, sum(receipts) AS receipts, sum(facts) AS facts
    FROM sides
    GROUP BY topic, source, event_id, digest
), matched AS (
    SELECT topic_id,
        sum(CASE WHEN facts = 0 THEN receipts ELSE 0 END) AS accepted_without_fact,
        sum(CASE WHEN receipts = 0 THEN facts ELSE 0 END) AS fact_without_receipt,
        sum(CASE WHEN facts > 1 THEN facts - 1 ELSE 0 END) AS fact_twice,
        sum(CASE WHEN receipts > 1 THEN receipts - 1 ELSE 0 END) AS duplicates
    FROM contents
    GROUP BY topic_id
), versions AS (
    SELECT topic, source, event_id, min(topic_id) AS topic_id, count(*) AS contents FROM contents WHERE receipts > 0 GROUP BY topic, source, event_id
), conflicting AS (
    SELECT topic_id, sum(contents - 1) AS conflicts FROM versions WHERE contents > 1 GROUP BY topic_id
), refused AS (
    SELECT topic_id, partition, "offset", 1 AS receipts, 0 AS letters FROM audit_log WHERE disposition = 'DEAD'
    UNION ALL
    SELECT topic_id, partition, "offset", 0, 1 FROM dead_letters
), letters AS (
    SELECT topic_id, partition, "offset", sum(receipts) AS receipts, sum(letters) AS letters FROM refused GROUP BY topic_id, partition, "offset"
), buried AS (
    SELECT topic_id,
        sum(CASE WHEN letters = 0 THEN 1 ELSE 0 END) AS dead_without_letter,
        sum(CASE WHEN receipts = 0 THEN 1 ELSE 0 END) AS letter_without_dead
    FROM letters
    GROUP BY topic_id
), twofold AS (
    SELECT d.topic_id AS topic_id, count(*) AS both_ways
    FROM dead_letters AS d JOIN audit_log AS a ON a.topic_id = d.topic_id AND a.partition = d.partition AND a."offset" = d."offset"
    WHERE a.disposition = 'ACCEPTED'
    GROUP BY d.topic_id
)
SELECT tiles.topic_id AS grp, partitions, without_head, coalesce(receipts.receipts, 0) AS receipts, coalesce(accepted, 0) AS accepted,
    coalesce(dead, 0) AS dead, coalesce(skewed, 0) AS skewed, coalesce(absent.absent, 0) AS absent, coalesce(absent.expired, 0) AS expired,
    holes, overlaps, holes - overlaps AS uncovered, untaken, never_taken, coalesce(accepted_without_fact, 0) AS accepted_without_fact,
    coalesce(fact_without_receipt, 0) AS fact_without_receipt, coalesce(fact_twice, 0) AS fact_twice,
    coalesce(dead_without_letter, 0) AS dead_without_letter,
    coalesce(letter_without_dead, 0) - coalesce(both_ways, 0) AS letter_without_receipt, coalesce(both_ways, 0) AS both_ways,
    coalesce(duplicates, 0) AS duplicates, coalesce(conflicts, 0) AS conflicts
FROM tiles
    LEFT JOIN receipts ON receipts.topic_id = tiles.topic_id
    LEFT JOIN absent ON absent.topic_id = tiles.topic_id
    LEFT JOIN matched ON matched.topic_id = tiles.topic_id
    LEFT JOIN conflicting ON conflicting.topic_id = tiles.topic_id
    LEFT JOIN buried ON buried.topic_id = tiles.topic_id
    LEFT JOIN twofold ON twofold.topic_id = tiles.topic_id
