-- Customers' tasks that ended in the window, with the state and the queue they ended in. A task counts once, by its first end.
SELECT task_id, argMin(kind, (event_us, state_version)) AS state, argMin(queue, (event_us, state_version)) AS ended_in, min(event_us) AS ended_us
FROM
(
    SELECT task_id, kind, queue, state_version,
        {{event_us}} AS event_us
    FROM task_events_final
    WHERE audience = 'CUSTOMER' AND kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK')
)
GROUP BY task_id
HAVING ended_us >= {from_us:Int64} AND ended_us < {to_us:Int64}
