-- By queue: tasks that were waiting at the end of the window, and how long those waited that started in it; customers only.
-- Percentiles by nearest rank, microseconds.
WITH events AS (
    SELECT task_id, kind, queue, state_version,
        if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) AS event_us
    FROM task_events_final
    WHERE audience = 'CUSTOMER' AND event_us < {to_us:Int64}
), tasks AS (
    SELECT task_id, argMax(kind, state_version) AS state, argMax(queue, state_version) AS last_queue,
        countIf(kind = 'QUEUED') AS queued, countIf(kind = 'STARTED') AS started,
        minIf(event_us, kind = 'QUEUED') AS queued_us, minIf(event_us, kind = 'STARTED') AS started_us,
        queued > 0 AND started > 0 AND started_us >= {from_us:Int64} AS waited, started_us - queued_us AS wait_us
    FROM events
    GROUP BY task_id
)
SELECT
    toString(last_queue) AS name,
    map(
        'depth', toString(countIf(state IN ('SUBMITTED', 'QUEUED', 'ACCELERATION_OFFERED', 'ACCELERATED') AND started = 0)),
        'started', toString(countIf(waited)),
        'wait_p50_us', toString(if(countIf(waited) = 0, 0, arraySort(groupArrayIf(wait_us, waited))[intDiv(50 * countIf(waited) + 99, 100)])),
        'wait_p95_us', toString(if(countIf(waited) = 0, 0, arraySort(groupArrayIf(wait_us, waited))[intDiv(95 * countIf(waited) + 99, 100)])),
        'wait_max_us', toString(maxIf(wait_us, waited))
    ) AS figures
FROM tasks
GROUP BY last_queue
ORDER BY name
