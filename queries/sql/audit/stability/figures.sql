-- By endpoint: attempts and errors in the window, and requests (attempts under one key) by whether one attempt within 60 s of
-- the first was answered.
WITH firsts AS (
    SELECT endpoint, idempotency_key, min(event_us) AS first_us FROM subjects WHERE idempotency_key <> '' GROUP BY endpoint, idempotency_key
), requests AS (
    SELECT firsts.endpoint AS endpoint, firsts.idempotency_key AS idempotency_key, firsts.first_us AS first_us,
        max(CASE WHEN failed = 0 AND limited = 0 AND event_us <= firsts.first_us + 60000000 THEN 1 ELSE 0 END) AS answered
    FROM firsts JOIN subjects ON subjects.endpoint = firsts.endpoint AND subjects.idempotency_key = firsts.idempotency_key
    WHERE firsts.first_us >= $from_us AND firsts.first_us < $to_us
    GROUP BY firsts.endpoint, firsts.idempotency_key, firsts.first_us
), asked AS (
    SELECT endpoint, count(*) AS requests, sum(answered) AS answered,
        sum(CASE WHEN answered = 0 AND first_us <= $minute_ago_us THEN 1 ELSE 0 END) AS unanswered,
        sum(CASE WHEN answered = 0 AND first_us > $minute_ago_us THEN 1 ELSE 0 END) AS waiting
    FROM requests
    GROUP BY endpoint
), tried AS (
    SELECT endpoint, count(*) AS attempts, sum(CASE WHEN limited = 0 THEN failed ELSE 0 END) AS errors, sum(limited) AS rate_limited,
        sum(CASE WHEN outcome = 'TIMEOUT' THEN 1 ELSE 0 END) AS timeouts
    FROM subjects
    WHERE event_us >= $from_us AND event_us < $to_us
    GROUP BY endpoint
)
SELECT tried.endpoint AS grp, attempts, errors, rate_limited, timeouts, coalesce(requests, 0) AS requests, coalesce(answered, 0) AS answered,
    coalesce(unanswered, 0) AS unanswered, coalesce(waiting, 0) AS waiting
FROM tried LEFT JOIN asked ON asked.endpoint = tried.endpoint
