-- Event time of the first and of the last accepted event.
SELECT
    if(count() = 0, 9223372036854775807, min(event_us)) AS first_event_us,
    if(count() = 0, -9223372036854775808, max(event_us)) AS last_event_us
FROM
(
    SELECT
        toUnixTimestamp64Micro(occurred_at) AS occurred_us,
        toUnixTimestamp64Milli(appended_at) * 1000 AS appended_us,
        if(abs(occurred_us - appended_us) <= 300000000, occurred_us, appended_us) AS event_us
    FROM audit_log
    WHERE disposition = 'ACCEPTED'
)
