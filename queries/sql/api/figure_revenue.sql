-- Purchases and refunds of orders by currency, and credits charged net of refunds; customers only.
SELECT
    toString(currency) AS name,
    map(
        'orders', toString(countIf(kind = 'PURCHASED')),
        'purchased_minor', toString(sumIf(minor, kind = 'PURCHASED')),
        'refunded_minor', toString(sumIf(minor, kind = 'REFUNDED')),
        'net_minor', toString(sumIf(minor, kind = 'PURCHASED') - sumIf(minor, kind = 'REFUNDED'))
    ) AS figures
FROM {{money}}
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
FROM {{money}}
ORDER BY name
