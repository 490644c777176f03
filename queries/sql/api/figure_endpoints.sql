-- Attempts and errors by endpoint, as METRICS 3 says: 5xx, errors and timeouts; attempts turned away with 429 apart.
WITH attempts AS (
    SELECT toString(endpoint) AS name, toString(outcome) AS outcome, ifNull(http_status, 0) AS status, latency_ms,
        if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) AS event_us
    FROM credit_events_final
    WHERE endpoint != '' AND audience = 'CUSTOMER' AND event_us >= {from_us:Int64} AND event_us < {to_us:Int64}
    UNION ALL
    SELECT toString(endpoint) AS name, toString(outcome) AS outcome, ifNull(http_status, 0) AS status, latency_ms,
        if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) AS event_us
    FROM license_events_final
    WHERE endpoint != '' AND event_us >= {from_us:Int64} AND event_us < {to_us:Int64}
)
SELECT
    name,
    map(
        'attempts', toString(count()),
        'errors', toString(countIf(status != 429 AND (outcome IN ('ERROR', 'TIMEOUT') OR status >= 500))),
        'timeouts', toString(countIf(outcome = 'TIMEOUT')),
        'rate_limited', toString(countIf(status = 429)),
        'latency_max_ms', toString(ifNull(max(latency_ms), 0))
    ) AS figures
FROM attempts
GROUP BY name
ORDER BY name
