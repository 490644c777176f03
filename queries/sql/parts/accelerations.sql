-- Customers' tasks submitted in the window, and how often acceleration was offered and taken.
SELECT task_id, minIf(event_us, kind = 'SUBMITTED') AS opened_us, countIf(kind = 'SUBMITTED') AS submitted,
    countIf(kind = 'ACCELERATION_OFFERED') AS offers, countIf(kind = 'ACCELERATED' OR queue = 'ACCELERATED') AS accelerations
FROM
(
    SELECT task_id, kind, queue,
        {{event_us}} AS event_us
    FROM task_events FINAL
    PREWHERE audience = 'CUSTOMER' AND (kind IN ('SUBMITTED', 'ACCELERATION_OFFERED', 'ACCELERATED') OR queue = 'ACCELERATED')
)
GROUP BY task_id
HAVING submitted > 0 AND opened_us >= {from_us:Int64} AND opened_us < {to_us:Int64}
