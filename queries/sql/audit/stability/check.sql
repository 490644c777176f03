-- The same by topic, one query a kind of event, and requests by the last attempt that was answered.
WITH attempts AS (
    SELECT endpoint, outcome, coalesce(http_status, 0) AS http_status, event_us, idempotency_key FROM license_events WHERE endpoint <> ''
    UNION ALL
    SELECT endpoint, outcome, coalesce(http_status, 0) AS http_status, event_us, idempotency_key FROM credit_events WHERE audience = 'CUSTOMER' AND endpoint <> ''
), counted AS (
    SELECT endpoint, count(*) AS attempts, count(CASE WHEN http_status = 429 THEN 1 END) AS rate_limited,
        count(CASE WHEN http_status <> 429 AND (outcome = 'ERROR' OR outcome = 'TIMEOUT' OR http_status >= 500) THEN 1 END) AS errors
    FROM attempts WHERE event_us >= $from_us AND event_us < $to_us
    GROUP BY endpoint
), aged AS (
    SELECT endpoint, idempotency_key, outcome, http_status, event_us - min(event_us) OVER (PARTITION BY endpoint, idempotency_key) AS age_us,
        min(event_us) OVER (PARTITION BY endpoint, idempotency_key) AS first_us
    FROM attempts WHERE idempotency_key <> ''
), requests AS (
    SELECT endpoint, count(DISTINCT idempotency_key) AS requests,
        count(DISTINCT CASE WHEN outcome <> 'ERROR' AND outcome <> 'TIMEOUT' AND http_status <> 429 AND http_status < 500 AND age_us <= 60000000 THEN idempotency_key END) AS answered
    FROM aged WHERE first_us >= $from_us AND first_us < $to_us
    GROUP BY endpoint
)
SELECT counted.endpoint AS grp, counted.attempts AS attempts, counted.errors AS errors, counted.rate_limited AS rate_limited,
    coalesce(requests.requests, 0) AS requests, coalesce(requests.answered, 0) AS answered
FROM counted LEFT JOIN requests ON requests.endpoint = counted.endpoint
