-- The same by existence: a wallet counts for a week where some purchase lies before it and some lies in it.
WITH parts AS (
    SELECT wallet_id, CASE WHEN order_id = '' THEN event_id ELSE order_id END AS name, min(event_us) AS at, CAST(sum(CAST(coalesce(amount_micros, 0) AS DECIMAL(38, 0))) AS BIGINT) AS paid,
        CAST(sum(CAST(coalesce(price_minor, 0) AS DECIMAL(38, 0))) AS BIGINT) AS price, min(currency) AS currency
    FROM credit_events
    WHERE kind = 'PURCHASED' AND audience = 'CUSTOMER' AND (gift IS NULL OR gift = false)
    GROUP BY wallet_id, CASE WHEN order_id = '' THEN event_id ELSE order_id END
), given_back AS (
    SELECT parts.wallet_id AS wallet_id, parts.name AS name, CAST(sum(CAST(coalesce(r.amount_micros, 0) AS DECIMAL(38, 0))) AS BIGINT) AS back, CAST(sum(CAST(coalesce(r.price_minor, 0) AS DECIMAL(38, 0))) AS BIGINT) AS money_back
    FROM parts JOIN credit_events AS r ON r.wallet_id = parts.wallet_id AND r.order_id = parts.name
    WHERE r.kind = 'REFUNDED' AND r.event_us - parts.at < 604800000000
    GROUP BY parts.wallet_id, parts.name
), again AS (
    SELECT later.wallet_id AS wallet_id, later.name AS name, count(*) AS same
    FROM parts AS later JOIN parts AS earlier ON earlier.wallet_id = later.wallet_id AND earlier.paid = later.paid
        AND earlier.price = later.price AND earlier.currency = later.currency
    WHERE earlier.name <> later.name AND later.at - earlier.at <= 600000000 AND (earlier.at < later.at OR (earlier.at = later.at AND earlier.name < later.name))
    GROUP BY later.wallet_id, later.name
), purchases AS (
    SELECT parts.wallet_id AS wallet_id, parts.at AS at
    FROM parts
        LEFT JOIN given_back ON given_back.wallet_id = parts.wallet_id AND given_back.name = parts.name
        LEFT JOIN again ON again.wallet_id = parts.wallet_id AND again.name = parts.name
    WHERE parts.paid > coalesce(given_back.back, 0) AND parts.price > coalesce(given_back.money_back, 0) AND again.same IS NULL
), weeks AS (
    SELECT 0 AS week UNION ALL SELECT 1 AS week UNION ALL SELECT 2 AS week UNION ALL SELECT 3 AS week UNION ALL SELECT 4 AS week
), aged AS (
    SELECT purchases.wallet_id AS wallet_id, weeks.week AS week, purchases.at - ($launch_us - weeks.week * 604800000000) AS age
    FROM purchases CROSS JOIN weeks
), bases AS (
    SELECT DISTINCT wallet_id, week FROM aged WHERE age < 0 AND age >= -2419200000000
), buyers AS (
    SELECT DISTINCT wallet_id, week FROM aged WHERE age >= 0 AND age < 604800000000
)
SELECT count(CASE WHEN bases.week = 0 THEN 1 END) AS launch_base, count(CASE WHEN bases.week > 0 THEN 1 END) AS baseline_base,
    count(CASE WHEN bases.week = 0 AND buyers.week IS NOT NULL THEN 1 END) AS launch_repurchased,
    count(CASE WHEN bases.week > 0 AND buyers.week IS NOT NULL THEN 1 END) AS baseline_repurchased
FROM bases LEFT JOIN buyers ON buyers.wallet_id = bases.wallet_id AND buyers.week = bases.week
