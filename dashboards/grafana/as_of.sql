-- How far data has come, microseconds since 1970 UTC: what the service binds as `as_of_us`, in one question. A partition that was taken
-- to its end is as far as the moment it was looked at, any other as far as its newest record; topics that have ended hold nothing up.
SELECT multiIf(countIf(holds) > 0, minIf(reached_us, holds), countIf(is_head) = 0, toInt64(-9223372036854775808), max(last_event_us))
FROM
(
    SELECT
        is_head,
        if(is_head, ended = 0, topic_id NOT IN (SELECT topic_id FROM partition_heads_final WHERE ended)) AS holds,
        if(is_head AND taken >= high, greatest(seen_us, newest_us), newest_us) AS reached_us,
        last_event_us
    FROM
    (
        SELECT topic_id, partition, 1 AS is_head, taken, high, ended, toUnixTimestamp64Milli(seen_at) * 1000 AS seen_us FROM partition_heads_final
    ) AS heads
    FULL OUTER JOIN
    (
        SELECT topic_id, partition, max(at_us) AS newest_us, max(event_us) AS last_event_us
        FROM
        (
            SELECT topic_id, partition, toUnixTimestamp64Milli(appended_at) * 1000 AS at_us, toUnixTimestamp64Micro(occurred_at) AS occurred_us,
                if(disposition = 'ACCEPTED', if(abs(occurred_us - at_us) <= 300000000, occurred_us, at_us), -9223372036854775808) AS event_us
            FROM audit_log
            UNION ALL
            SELECT topic_id, partition, toInt64(0) AS at_us, toInt64(0) AS occurred_us, toInt64(-9223372036854775808) AS event_us FROM gaps
        )
        GROUP BY topic_id, partition
    ) AS receipts
    USING (topic_id, partition)
)
