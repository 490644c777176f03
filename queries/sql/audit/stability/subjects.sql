-- One row an attempt of a customer: an event that carries an endpoint. Licence events do not state an audience.
SELECT endpoint, outcome, http_status, event_us, event_id, idempotency_key,
    CASE WHEN outcome IN ('ERROR', 'TIMEOUT') OR http_status >= 500 THEN 1 ELSE 0 END AS failed,
    CASE WHEN http_status = 429 THEN 1 ELSE 0 END AS limited
FROM credit_events WHERE endpoint <> '' AND audience = 'CUSTOMER'
UNION ALL
SELECT endpoint, outcome, http_status, event_us, event_id, idempotency_key,
    CASE WHEN outcome IN ('ERROR', 'TIMEOUT') OR http_status >= 500 THEN 1 ELSE 0 END,
    CASE WHEN http_status = 429 THEN 1 ELSE 0 END
FROM license_events WHERE endpoint <> ''
