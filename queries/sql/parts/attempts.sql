-- Requests to the platform's interfaces in the window, as METRICS 3 counts them, so those of its four: one row an attempt. An error is a 5xx, an error or a
-- timeout; one turned away with 429 is neither.
SELECT name, event_us, latency_ms, outcome = 'TIMEOUT' AS is_timeout, status = 429 AS is_limited,
    status != 429 AND (outcome IN ('ERROR', 'TIMEOUT') OR status >= 500) AS is_error
FROM
(
    SELECT toString(endpoint) AS name, toString(outcome) AS outcome, ifNull(http_status, 0) AS status, latency_ms,
        {{event_us}} AS event_us
    FROM credit_events_final
    WHERE endpoint IN ('CREDITS_ESTIMATE', 'CREDITS_CHARGE', 'CREDITS_REFUND', 'LICENSES_CHECK') AND audience = 'CUSTOMER' AND event_us >= {from_us:Int64} AND event_us < {to_us:Int64}
    UNION ALL
    SELECT toString(endpoint) AS name, toString(outcome) AS outcome, ifNull(http_status, 0) AS status, latency_ms,
        {{event_us}} AS event_us
    FROM license_events_final
    WHERE endpoint IN ('CREDITS_ESTIMATE', 'CREDITS_CHARGE', 'CREDITS_REFUND', 'LICENSES_CHECK') AND event_us >= {from_us:Int64} AND event_us < {to_us:Int64}
)
