-- Customers' tasks up to the end of the window: the queue they were last in and whether they wait there, when they were queued and started.
-- `standing` says queue and waiting in one number, so that the latest is looked for once; a queue that is none of the two shows as its number.
SELECT task_id, argMax(standing, state_version) AS latest, transform(intDiv(latest, 2), [1, 2], ['NORMAL', 'ACCELERATED'], toString(intDiv(latest, 2))) AS last_queue,
    minIf(event_us, kind = 'QUEUED') AS queued_us, minIf(event_us, kind = 'STARTED') AS started_us, queued_us > 0 AS queued, started_us > 0 AS started,
    queued AND started AND started_us >= {from_us:Int64} AS waited, started_us - queued_us AS wait_us,
    NOT started AND latest % 2 = 1 AS is_waiting,
    min(event_us) AS opened_us, multiIf(started, started_us, is_waiting, 9223372036854775807, max(event_us)) AS left_us
FROM
(
    SELECT task_id, kind, state_version, toUInt8(queue) * 2 + (kind IN ('SUBMITTED', 'QUEUED', 'ACCELERATION_OFFERED', 'ACCELERATED')) AS standing,
        {{event_us}} AS event_us
    FROM task_events FINAL
    PREWHERE audience = 'CUSTOMER'
    WHERE event_us < {to_us:Int64}
)
GROUP BY task_id
