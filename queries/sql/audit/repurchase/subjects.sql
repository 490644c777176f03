-- One row a purchase: a customer's order, its parts together, of which credits and price are left after the refunds of its first
-- seven days (a refund gives back credits, money, or both), and that is neither a gift nor the same order again within ten minutes.
-- Amounts are added up in 38 digits; a sum beyond 64 bits is an error and no figure.
WITH parts AS (
    SELECT wallet_id, CASE WHEN order_id = '' THEN event_id ELSE order_id END AS order_id, event_us, amount_micros,
        coalesce(price_minor, 0) AS price_minor, currency
    FROM credit_events
    WHERE kind = 'PURCHASED' AND audience = 'CUSTOMER' AND coalesce(gift, false) = false
), orders AS (
    SELECT wallet_id, order_id, min(event_us) AS at, CAST(sum(CAST(amount_micros AS DECIMAL(38, 0))) AS BIGINT) AS amount_micros, CAST(sum(CAST(price_minor AS DECIMAL(38, 0))) AS BIGINT) AS price_minor, min(currency) AS currency
    FROM parts
    GROUP BY wallet_id, order_id
), refunds AS (
    SELECT orders.wallet_id AS wallet_id, orders.order_id AS order_id, CAST(sum(CAST(refunded.amount_micros AS DECIMAL(38, 0))) AS BIGINT) AS refunded_micros, CAST(sum(CAST(coalesce(refunded.price_minor, 0) AS DECIMAL(38, 0))) AS BIGINT) AS refunded_minor
    FROM orders JOIN credit_events AS refunded ON refunded.order_id = orders.order_id AND refunded.wallet_id = orders.wallet_id
    WHERE refunded.kind = 'REFUNDED' AND refunded.event_us < orders.at + 604800000000
    GROUP BY orders.wallet_id, orders.order_id
), spaced AS (
    SELECT orders.wallet_id AS wallet_id, orders.order_id AS order_id, at, amount_micros - coalesce(refunded_micros, 0) AS net_micros,
        price_minor - coalesce(refunded_minor, 0) AS net_minor,
        at - lag(at) OVER (PARTITION BY orders.wallet_id, amount_micros, price_minor, currency ORDER BY at, orders.order_id) AS since_same_us
    FROM orders LEFT JOIN refunds ON refunds.wallet_id = orders.wallet_id AND refunds.order_id = orders.order_id
)
SELECT wallet_id, order_id, at, net_micros FROM spaced WHERE net_micros > 0 AND net_minor > 0 AND (since_same_us IS NULL OR since_same_us > 600000000)
