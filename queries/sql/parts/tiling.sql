-- How receipts and gaps tile each partition, [first retained, high watermark): one row a partition. The verdict is the job's
-- (`tally audit offsets`, METRICS 0); this says where. Receipts have distinct offsets, and `spread` says what of the gaps lies over another
-- gap, so inclusion and exclusion count holes exactly: a loss and a double cannot cancel each other.
WITH receipts AS (
    SELECT topic_id, partition, any(topic) AS topic, min(offset) AS taken_low, max(offset) + 1 AS taken_high, count() AS receipts,
        countIf(disposition = 'ACCEPTED') AS accepted
    FROM audit_log_final
    GROUP BY topic_id, partition
), spread AS (
    SELECT topic_id, partition, topic, first, next, kind,
        max(next) OVER (PARTITION BY topic_id, partition ORDER BY first, next ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS reach,
        max(next) OVER (PARTITION BY topic_id, partition ORDER BY first, next ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM gaps_final
), absent AS (
    SELECT topic_id, partition, any(topic) AS topic, min(first) AS taken_low, max(next) AS taken_high, sum(next - first) AS recorded,
        sumIf(next - first, kind = 'EXPIRED') AS expired, sum(greatest(next - greatest(first, before), 0)) AS absent
    FROM spread
    GROUP BY topic_id, partition
), twice AS (
    SELECT r.topic_id AS topic_id, r.partition AS partition, countIf(r.offset < g.reach) AS twice
    FROM (
        SELECT topic_id, partition, offset FROM audit_log_final
        WHERE (topic_id, partition) IN (SELECT topic_id, partition FROM gaps_final)
    ) AS r
    ASOF INNER JOIN spread AS g ON r.topic_id = g.topic_id AND r.partition = g.partition AND r.offset >= g.first
    GROUP BY topic_id, partition
), pieces AS (
    SELECT topic_id, partition, topic, toNullable(taken_low) AS taken_low, toNullable(taken_high) AS taken_high, receipts, accepted, 0 AS absent, 0 AS recorded, 0 AS expired,
        0 AS twice, NULL AS low, NULL AS high, NULL AS ended, NULL AS seen_us
    FROM receipts
    UNION ALL
    SELECT topic_id, partition, topic, taken_low, taken_high, 0, 0, absent, recorded, expired, 0, NULL, NULL, NULL, NULL FROM absent
    UNION ALL
    SELECT topic_id, partition, '', NULL, NULL, 0, 0, 0, 0, 0, twice, NULL, NULL, NULL, NULL FROM twice
    UNION ALL
    SELECT topic_id, partition, topic, NULL, NULL, 0, 0, 0, 0, 0, 0, low, high, ended, toUnixTimestamp64Milli(seen_at) * 1000 FROM partition_heads_final
), partitions AS (
    SELECT topic_id, partition, max(topic) AS topic, min(taken_low) AS taken_low, max(taken_high) AS taken_high, sum(receipts) AS receipts,
        sum(accepted) AS accepted, sum(absent) AS absent, sum(recorded) AS recorded, sum(expired) AS expired, sum(twice) AS twice,
        max(low) AS low, max(high) AS high, max(ended) AS ended, max(seen_us) AS seen_us
    FROM pieces
    GROUP BY topic_id, partition
)
SELECT
    topic, toString(p.topic_id) AS topic_id, partition,
    toInt64(least(coalesce(taken_low, low, 0), coalesce(low, 0))) AS first,
    toInt64(coalesce(taken_high, low, 0)) AS next,
    toInt64OrNull(toString(high)) AS high_watermark,
    toUInt64(receipts) AS receipts, toUInt64(accepted) AS accepted, toUInt64(receipts - accepted) AS dead,
    toInt64(absent) AS absent, toInt64(expired) AS expired,
    toInt64(if(isNull(taken_high), 0, next - first - toInt64(receipts) - absent + toInt64(twice))) AS holes,
    toInt64(twice + recorded - absent) AS overlaps,
    toInt64(coalesce(greatest(high - next, 0), 0)) AS untaken,
    coalesce(ended, false) AS ended,
    seen_us AS seen_at
FROM partitions AS p
