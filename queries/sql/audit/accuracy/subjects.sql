-- One row a customer's task that was paid for or succeeded: its estimate E, its settlement S, its class, and how far it has
-- come. E is the last estimate under the charge's estimate_id before the task started; S = charges + supplements -
-- overcharges. A supplement alone settles nothing. Amounts are added up in 38 digits; a sum beyond 64 bits is an error and no figure.
WITH money AS (
    SELECT task_id,
        sum(CASE WHEN kind = 'CHARGED' THEN 1 ELSE 0 END) AS charges,
        sum(CASE WHEN kind = 'SUPPLEMENT_CHARGED' THEN 1 ELSE 0 END) AS supplements,
        CAST(sum(CAST(CASE WHEN kind IN ('CHARGED', 'SUPPLEMENT_CHARGED') THEN amount_micros WHEN kind = 'REFUNDED' AND refund_reason = 'OVERCHARGE' THEN -amount_micros ELSE 0 END AS DECIMAL(38, 0))) AS BIGINT) AS settled_micros,
        sum(CASE WHEN kind = 'REFUNDED' AND refund_reason = 'GOODWILL' THEN 1 ELSE 0 END) AS goodwill,
        max(CASE WHEN kind IN ('CHARGED', 'SUPPLEMENT_CHARGED', 'REFUNDED') THEN event_us END) AS moved_us,
        min(CASE WHEN kind = 'HELD' THEN event_us END) AS held_us,
        last_value(estimate_id ORDER BY event_us, "offset") FILTER (WHERE kind = 'CHARGED') AS estimate_id
    FROM credit_events
    WHERE task_id <> '' AND audience = 'CUSTOMER'
    GROUP BY task_id
), lives AS (
    SELECT task_id, min(queue) AS low_queue, max(queue) AS high_queue, min(event_us) AS first_us,
        min(CASE WHEN kind = 'STARTED' THEN event_us END) AS started_us,
        max(CASE WHEN kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK') THEN kind END) AS ended,
        max(CASE WHEN kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK') THEN event_us END) AS ended_us
    FROM task_events
    WHERE audience = 'CUSTOMER'
    GROUP BY task_id
), tasks AS (
    SELECT lives.task_id AS task_id, coalesce(charges, 0) AS charges, coalesce(settled_micros, 0) AS settled_micros,
        coalesce(goodwill, 0) AS goodwill, moved_us, coalesce(held_us, first_us) AS accepted_us, coalesce(estimate_id, '') AS estimate_id,
        CASE WHEN low_queue <> high_queue THEN 'MOVED' ELSE low_queue END AS class, coalesce(started_us, ended_us) AS started_us, ended, ended_us
    FROM lives LEFT JOIN money ON money.task_id = lives.task_id
    WHERE coalesce(charges + supplements, 0) > 0 OR ended = 'SUCCEEDED'
), estimates AS (
    SELECT tasks.task_id AS task_id, last_value(quoted.amount_micros ORDER BY quoted.event_us, quoted."offset") AS estimate_micros
    FROM tasks JOIN credit_events AS quoted ON quoted.estimate_id = tasks.estimate_id
    WHERE quoted.kind = 'ESTIMATED' AND tasks.estimate_id <> '' AND quoted.event_us < tasks.started_us
    GROUP BY tasks.task_id
), stages AS (
    SELECT tasks.task_id AS task_id, class, settled_micros, estimate_micros,
        CASE WHEN ended IS NULL THEN 'open'
            WHEN ended <> 'SUCCEEDED' THEN 'unsuccessful'
            WHEN goodwill > 0 THEN 'goodwill'
            WHEN greatest(ended_us, coalesce(moved_us, ended_us)) > $settled_before_us THEN 'settling'
            WHEN charges = 0 THEN 'unsettled'
            ELSE 'settled' END AS stage,
        CASE WHEN class = 'NORMAL' THEN 10 ELSE 5 END AS tolerance, CAST(abs(CAST(settled_micros AS DECIMAL(38, 0)) - CAST(estimate_micros AS DECIMAL(38, 0))) AS BIGINT) AS deviation_micros
    FROM tasks LEFT JOIN estimates ON estimates.task_id = tasks.task_id
    WHERE accepted_us >= $from_us AND accepted_us < $to_us
)
SELECT task_id, class, stage, settled_micros, estimate_micros, deviation_micros, tolerance,
    CASE WHEN estimate_micros IS NULL THEN 0 WHEN 100 * CAST(deviation_micros AS DECIMAL(38, 0)) <= tolerance * CAST(estimate_micros AS DECIMAL(38, 0)) THEN 1 ELSE 0 END AS hit
FROM stages
