-- Customers' tasks up to the end of the window: the state and queue they were last in, when they were queued and started.
SELECT task_id, argMax(kind, state_version) AS state, argMax(queue, state_version) AS last_queue,
    countIf(kind = 'QUEUED') AS queued, countIf(kind = 'STARTED') AS started,
    minIf(event_us, kind = 'QUEUED') AS queued_us, minIf(event_us, kind = 'STARTED') AS started_us,
    queued > 0 AND started > 0 AND started_us >= {from_us:Int64} AS waited, started_us - queued_us AS wait_us,
    started = 0 AND state IN ('SUBMITTED', 'QUEUED', 'ACCELERATION_OFFERED', 'ACCELERATED') AS is_waiting,
    min(event_us) AS opened_us, multiIf(started > 0, started_us, is_waiting, 9223372036854775807, max(event_us)) AS left_us
FROM
(
    SELECT task_id, kind, queue, state_version,
        {{event_us}} AS event_us
    FROM task_events_final
    WHERE audience = 'CUSTOMER' AND event_us < {to_us:Int64}
)
GROUP BY task_id
