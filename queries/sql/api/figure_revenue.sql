-- Purchases and refunds of orders by currency, and credits charged net of refunds; customers only.
WITH events AS (
    SELECT kind, currency, price_minor IS NOT NULL AS priced, ifNull(price_minor, 0) AS minor, amount_micros,
        if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) AS event_us
    FROM credit_events_final
    WHERE audience = 'CUSTOMER' AND kind IN ('PURCHASED', 'REFUNDED', 'CHARGED', 'SUPPLEMENT_CHARGED') AND event_us >= {from_us:Int64} AND event_us < {to_us:Int64}
)
SELECT
    toString(currency) AS name,
    map(
        'orders', toString(countIf(kind = 'PURCHASED')),
        'purchased_minor', toString(sumIf(minor, kind = 'PURCHASED')),
        'refunded_minor', toString(sumIf(minor, kind = 'REFUNDED')),
        'net_minor', toString(sumIf(minor, kind = 'PURCHASED') - sumIf(minor, kind = 'REFUNDED'))
    ) AS figures
FROM events
WHERE priced
GROUP BY currency
UNION ALL
SELECT
    'credits' AS name,
    map(
        'charged_micros', toString(sumIf(amount_micros, kind = 'CHARGED')),
        'supplements_micros', toString(sumIf(amount_micros, kind = 'SUPPLEMENT_CHARGED')),
        'refunded_micros', toString(sumIf(amount_micros, kind = 'REFUNDED')),
        'net_micros', toString(sumIf(amount_micros, kind != 'PURCHASED') - 2 * sumIf(amount_micros, kind = 'REFUNDED'))
    ) AS figures
FROM events
ORDER BY name
