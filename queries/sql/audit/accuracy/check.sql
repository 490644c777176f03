-- The same from single events: each charge, supplement and refund on its own, joined to its task and to the one estimate that
-- no later estimate under the same id replaces.
-- Absent amounts are made 0 before they are cast: ClickHouse would cast what lies under them.
WITH ends AS (
    SELECT task_id, max(event_us) AS ended_us, max(kind) AS ended FROM task_events
    WHERE kind IN ('SUCCEEDED', 'FAILED', 'CANCELLED', 'ROLLED_BACK') AND audience = 'CUSTOMER'
    GROUP BY task_id
), starts AS (
    SELECT task_id, min(event_us) AS started_us FROM task_events WHERE kind = 'STARTED' AND audience = 'CUSTOMER' GROUP BY task_id
), firsts AS (
    SELECT task_id, min(event_us) AS first_us, count(DISTINCT queue) AS queues, max(queue) AS queue FROM task_events WHERE audience = 'CUSTOMER' GROUP BY task_id
), holds AS (
    SELECT task_id, min(event_us) AS held_us FROM credit_events WHERE kind = 'HELD' AND audience = 'CUSTOMER' AND task_id <> '' GROUP BY task_id
), flows AS (
    SELECT task_id, amount_micros AS flow, CASE WHEN kind = 'CHARGED' THEN 1 ELSE 0 END AS charge, 1 AS paid, 0 AS goodwill, event_us FROM credit_events
    WHERE kind IN ('CHARGED', 'SUPPLEMENT_CHARGED') AND audience = 'CUSTOMER' AND task_id <> ''
    UNION ALL
    SELECT task_id, CASE WHEN refund_reason = 'OVERCHARGE' THEN -amount_micros ELSE 0 END AS flow, 0 AS charge, 0 AS paid,
        CASE WHEN refund_reason = 'GOODWILL' THEN 1 ELSE 0 END AS goodwill, event_us FROM credit_events
    WHERE kind = 'REFUNDED' AND audience = 'CUSTOMER' AND task_id <> ''
), sums AS (
    SELECT task_id, CAST(sum(CAST(coalesce(flow, 0) AS DECIMAL(38, 0))) AS BIGINT) AS settled_micros, sum(charge) AS charges, sum(paid) AS paid, sum(goodwill) AS goodwill, max(event_us) AS moved_us FROM flows GROUP BY task_id
), charged AS (
    SELECT task_id, estimate_id, row_number() OVER (PARTITION BY task_id ORDER BY event_us DESC, "offset" DESC) AS place
    FROM credit_events WHERE kind = 'CHARGED' AND audience = 'CUSTOMER' AND task_id <> ''
), quoted AS (
    SELECT charged.task_id AS task_id, quotes.amount_micros AS estimate_micros,
        row_number() OVER (PARTITION BY charged.task_id ORDER BY quotes.event_us DESC, quotes."offset" DESC) AS place
    FROM charged
        JOIN credit_events AS quotes ON quotes.estimate_id = charged.estimate_id
        LEFT JOIN starts ON starts.task_id = charged.task_id
        LEFT JOIN ends ON ends.task_id = charged.task_id
    WHERE charged.place = 1 AND charged.estimate_id <> '' AND quotes.kind = 'ESTIMATED' AND quotes.event_us < coalesce(starts.started_us, ends.ended_us)
), estimates AS (
    SELECT task_id, estimate_micros FROM quoted WHERE place = 1
), judged AS (
    SELECT CASE WHEN firsts.queues > 1 THEN 'MOVED' ELSE firsts.queue END AS class, coalesce(sums.charges, 0) AS charges,
        coalesce(sums.goodwill, 0) AS goodwill, coalesce(sums.settled_micros, 0) AS settled_micros, estimates.estimate_micros AS estimate_micros,
        ends.ended AS ended, CASE WHEN coalesce(sums.moved_us, ends.ended_us) > ends.ended_us THEN sums.moved_us ELSE ends.ended_us END AS rest_us
    FROM firsts
        LEFT JOIN ends ON ends.task_id = firsts.task_id
        LEFT JOIN sums ON sums.task_id = firsts.task_id
        LEFT JOIN holds ON holds.task_id = firsts.task_id
        LEFT JOIN estimates ON estimates.task_id = firsts.task_id
    WHERE coalesce(holds.held_us, firsts.first_us) >= $from_us AND coalesce(holds.held_us, firsts.first_us) < $to_us
        AND (coalesce(sums.paid, 0) > 0 OR ends.ended = 'SUCCEEDED')
), rated AS (
    SELECT class, charges, ended, rest_us, goodwill, settled_micros, estimate_micros,
        CASE WHEN ended = 'SUCCEEDED' AND goodwill = 0 AND rest_us <= $settled_before_us AND charges > 0 THEN 1 ELSE 0 END AS settled,
        CASE WHEN settled_micros >= estimate_micros THEN settled_micros - estimate_micros ELSE estimate_micros - settled_micros END AS deviation
    FROM judged
)
SELECT class AS grp, sum(settled) AS tasks,
    sum(CASE WHEN settled = 1 AND deviation <= estimate_micros AND deviation * 100 <= estimate_micros * CASE WHEN class = 'NORMAL' THEN 10 ELSE 5 END THEN 1 ELSE 0 END) AS hits,
    CAST(sum(CAST(coalesce(CASE WHEN settled = 1 THEN estimate_micros ELSE 0 END, 0) AS DECIMAL(38, 0))) AS BIGINT) AS estimated_micros,
    CAST(sum(CAST(coalesce(CASE WHEN settled = 1 THEN deviation ELSE 0 END, 0) AS DECIMAL(38, 0))) AS BIGINT) AS deviation_micros,
    sum(CASE WHEN ended = 'SUCCEEDED' AND goodwill > 0 THEN 1 ELSE 0 END) AS goodwill,
    sum(CASE WHEN ended = 'SUCCEEDED' AND goodwill = 0 AND rest_us <= $settled_before_us AND charges = 0 THEN 1 ELSE 0 END) AS unsettled,
    sum(CASE WHEN ended = 'SUCCEEDED' AND goodwill = 0 AND rest_us > $settled_before_us THEN 1 ELSE 0 END) AS settling,
    sum(CASE WHEN ended <> 'SUCCEEDED' THEN 1 ELSE 0 END) AS unsuccessful,
    sum(CASE WHEN ended IS NULL THEN 1 ELSE 0 END) AS still_open
FROM rated
GROUP BY class
