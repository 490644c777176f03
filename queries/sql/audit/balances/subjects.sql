-- One row a wallet whose last statement of a balance before the window's end lies in the window: what it states, and what its
-- movements up to that record add up to, whatever their event time. A wallet's records lie in one partition, so append time and offset say their order.
-- Amounts are added up in 38 digits; a sum beyond 64 bits is an error and no figure.
WITH moved AS (
    SELECT wallet_id, appended_us, "offset", balance_after_micros, event_us,
        CAST(sum(CAST(CASE WHEN kind IN ('PURCHASED', 'REFUNDED') THEN amount_micros WHEN kind IN ('CHARGED', 'SUPPLEMENT_CHARGED') THEN -amount_micros ELSE 0 END AS DECIMAL(38, 0)))
            OVER (PARTITION BY wallet_id ORDER BY appended_us, "offset" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS BIGINT) AS sum_micros
    FROM credit_events
    WHERE wallet_id <> ''
)
SELECT wallet_id, last_value(balance_after_micros ORDER BY appended_us, "offset") AS stated_micros,
    last_value(sum_micros ORDER BY appended_us, "offset") AS sum_micros, count(*) AS statements
FROM moved
WHERE balance_after_micros IS NOT NULL AND event_us < $to_us
GROUP BY wallet_id
HAVING max(event_us) >= $from_us
