-- The same by a join: the last statement of each wallet, and the sum of every movement that is not later.
WITH stated AS (
    SELECT wallet_id, appended_us, "offset", balance_after_micros, row_number() OVER (PARTITION BY wallet_id ORDER BY appended_us DESC, "offset" DESC) AS place,
        max(event_us) OVER (PARTITION BY wallet_id) AS latest_us
    FROM credit_events
    WHERE wallet_id <> '' AND balance_after_micros IS NOT NULL AND event_us < $to_us
), last_stated AS (
    SELECT wallet_id, appended_us, "offset", balance_after_micros FROM stated WHERE place = 1 AND latest_us >= $from_us
), summed AS (
    SELECT last_stated.wallet_id AS wallet_id, last_stated.balance_after_micros AS stated_micros,
        CAST(sum(CAST(coalesce(CASE WHEN c.kind = 'PURCHASED' OR c.kind = 'REFUNDED' THEN c.amount_micros ELSE 0 END, 0) AS DECIMAL(38, 0)))
            - sum(CAST(coalesce(CASE WHEN c.kind = 'CHARGED' OR c.kind = 'SUPPLEMENT_CHARGED' THEN c.amount_micros ELSE 0 END, 0) AS DECIMAL(38, 0))) AS BIGINT) AS moved_micros
    FROM last_stated JOIN credit_events AS c ON c.wallet_id = last_stated.wallet_id
    WHERE c.appended_us < last_stated.appended_us OR (c.appended_us = last_stated.appended_us AND c."offset" <= last_stated."offset")
    GROUP BY last_stated.wallet_id, last_stated.balance_after_micros
)
SELECT count(*) AS wallets, count(CASE WHEN stated_micros = moved_micros THEN 1 END) AS balanced,
    CAST(sum(CAST(coalesce(CASE WHEN stated_micros > moved_micros THEN stated_micros - moved_micros ELSE moved_micros - stated_micros END, 0) AS DECIMAL(38, 0))) AS BIGINT) AS difference_micros
FROM summed
