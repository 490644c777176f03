-- Attempts that failed.
SELECT event_id AS id, 'errors' AS why,
    concat(endpoint, ' ended ', outcome, CASE WHEN http_status IS NULL THEN '' ELSE concat(' with status ', CAST(http_status AS VARCHAR)) END,
        CASE WHEN idempotency_key = '' THEN '' ELSE concat(', key ', idempotency_key) END) AS detail
FROM subjects
WHERE failed = 1 AND limited = 0 AND event_us >= $from_us AND event_us < $to_us
ORDER BY id
