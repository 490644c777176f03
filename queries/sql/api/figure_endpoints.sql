-- Attempts and errors by endpoint, as METRICS 3 says; attempts turned away with 429 apart.
SELECT
    name,
    map(
        'attempts', toString(count()),
        'errors', toString(countIf(is_error)),
        'timeouts', toString(countIf(is_timeout)),
        'rate_limited', toString(countIf(is_limited)),
        'latency_max_ms', toString(ifNull(max(latency_ms), 0))
    ) AS figures
FROM {{attempts}}
GROUP BY name
ORDER BY name
