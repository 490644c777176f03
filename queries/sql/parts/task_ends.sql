-- Customers' tasks that ended in the window, with the state and the queue they ended in. A task counts once, by its first end: of two at one
-- moment the one with the lower version. `place` says so in one number, which the store compares three times as fast as a pair.
SELECT task_id, argMin(kind, place) AS state, argMin(queue, place) AS ended_in, min(event_us) AS ended_us
FROM
(
    SELECT task_id, kind, queue,
        {{event_us}} AS event_us, bitShiftLeft(toInt128(event_us), 64) + state_version AS place
    FROM task_events FINAL
    PREWHERE audience = 'CUSTOMER' AND kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK')
)
GROUP BY task_id
HAVING ended_us >= {from_us:Int64} AND ended_us < {to_us:Int64}
