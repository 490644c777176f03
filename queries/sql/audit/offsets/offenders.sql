-- What is missing, too much, or twice, with its coordinates.
WITH pieces AS (
    SELECT topic_id, partition, "offset" AS first, "offset" + 1 AS next FROM audit_log
    UNION ALL
    SELECT topic_id, partition, first, next FROM gaps
    UNION ALL
    SELECT topic_id, partition, low AS first, low AS next FROM heads
    UNION ALL
    SELECT topic_id, partition, high AS first, high AS next FROM heads WHERE ended = 1
    UNION ALL
    SELECT DISTINCT a.topic_id, a.partition, 0 AS first, 0 AS next
    FROM audit_log AS a LEFT JOIN heads ON heads.topic_id = a.topic_id AND heads.partition = a.partition
    WHERE heads.topic_id IS NULL
), ordered AS (
    SELECT topic_id, partition, first, next, max(next) OVER (
        PARTITION BY topic_id, partition ORDER BY first, next ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS reach
    FROM pieces
), accepted AS (
    SELECT topic, source, event_id, digest, 1 AS receipts, 0 AS facts, topic_id, partition, "offset" FROM audit_log WHERE disposition = 'ACCEPTED'
    UNION ALL
    SELECT topic, source, event_id, digest, 0, 1, topic_id, partition, "offset" FROM credit_events
    UNION ALL
    SELECT topic, source, event_id, digest, 0, 1, topic_id, partition, "offset" FROM license_events
    UNION ALL
    SELECT topic, source, event_id, digest, 0, 1, topic_id, partition, "offset" FROM task_events
    UNION ALL
    SELECT topic, source, event_id, digest, 0, 1, topic_id, partition, "offset" FROM moderation_events
), contents AS (
    SELECT topic, source, event_id, digest, sum(receipts) AS receipts, sum(facts) AS facts,
        min(concat(topic_id, '/', CAST(partition AS VARCHAR), '/', CAST("offset" AS VARCHAR))) AS place
    FROM accepted
    GROUP BY topic, source, event_id, digest
), events AS (
    SELECT topic, source, event_id, count(*) AS contents, min(place) AS place FROM contents WHERE receipts > 0 GROUP BY topic, source, event_id
), refused AS (
    SELECT topic_id, partition, "offset", 1 AS dead, 0 AS letters, 0 AS accepted FROM audit_log WHERE disposition = 'DEAD'
    UNION ALL
    SELECT topic_id, partition, "offset", 0, 1, 0 FROM dead_letters
    UNION ALL
    SELECT a.topic_id, a.partition, a."offset", 0, 0, 1
    FROM dead_letters AS d JOIN audit_log AS a ON a.topic_id = d.topic_id AND a.partition = d.partition AND a."offset" = d."offset"
    WHERE a.disposition = 'ACCEPTED'
), letters AS (
    SELECT topic_id, partition, "offset", sum(dead) AS dead, sum(letters) AS letters, sum(accepted) AS accepted
    FROM refused
    GROUP BY topic_id, partition, "offset"
), found AS (
    SELECT concat(topic_id, '/', CAST(partition AS VARCHAR), '/', CAST(reach AS VARCHAR), '-', CAST(first AS VARCHAR)) AS id, 'holes' AS why,
        concat(CAST(first - reach AS VARCHAR), ' offsets have neither a receipt nor a recorded gap') AS detail
    FROM ordered WHERE first > reach
    UNION ALL
    SELECT concat(topic_id, '/', CAST(partition AS VARCHAR), '/', CAST(first AS VARCHAR), '-', CAST(next AS VARCHAR)), 'overlaps',
        'taken although an earlier gap says that nothing is there, or recorded as a gap twice'
    FROM ordered WHERE first < reach AND next > first
    UNION ALL
    SELECT concat(topic_id, '/', CAST(partition AS VARCHAR), '/', CAST(first AS VARCHAR), '-', CAST(next AS VARCHAR)), 'expired',
        'retention deleted these records before they were read: they are lost'
    FROM gaps WHERE kind = 'EXPIRED'
    UNION ALL
    SELECT place, CASE WHEN facts = 0 THEN 'accepted_without_fact' WHEN receipts = 0 THEN 'fact_without_receipt' ELSE 'fact_twice' END,
        concat('event ', event_id, ' of ', source, ': ', CAST(receipts AS VARCHAR), ' receipts, ', CAST(facts AS VARCHAR), ' facts')
    FROM contents WHERE facts = 0 OR receipts = 0 OR facts > 1
    UNION ALL
    SELECT place, 'conflicts', concat('event ', event_id, ' of ', source, ' has ', CAST(contents AS VARCHAR), ' contents') FROM events WHERE contents > 1
    UNION ALL
    SELECT concat(topic_id, '/', CAST(partition AS VARCHAR), '/', CAST("offset" AS VARCHAR)),
        CASE WHEN accepted > 0 THEN 'both_ways' WHEN letters = 0 THEN 'dead_without_letter' ELSE 'letter_without_receipt' END,
        CASE WHEN accepted > 0 THEN 'accepted, and a dead letter too' WHEN letters = 0 THEN 'its receipt says dead, its letter is gone'
            ELSE 'a dead letter without a receipt' END
    FROM letters WHERE accepted > 0 OR letters = 0 OR dead = 0
    UNION ALL
    SELECT concat(topic_id, '/', CAST(partition AS VARCHAR), '/', CAST("offset" AS VARCHAR)), 'beyond_taken',
        concat('a row of ', stored_in, ' beyond the last receipt, though every offset up to it was taken: its receipt is gone')
    FROM beyond
)
SELECT id, why, detail FROM found ORDER BY id, why
