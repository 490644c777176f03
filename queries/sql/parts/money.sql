-- Customers' purchases, charges and refunds in the window: prices of orders in minor units of their currency, credits in micros.
SELECT kind, currency, price_minor IS NOT NULL AS priced, ifNull(price_minor, 0) AS minor, amount_micros,
    {{event_us}} AS event_us
FROM credit_events_final
WHERE audience = 'CUSTOMER' AND kind IN ('PURCHASED', 'REFUNDED', 'CHARGED', 'SUPPLEMENT_CHARGED') AND event_us >= {from_us:Int64} AND event_us < {to_us:Int64}
