-- Deliveries and resumed connections in the window: in time, late, never, and too young to say.
WITH pushed AS (
    SELECT CASE WHEN acked_us IS NOT NULL AND acked_us - appended_us <= 3000000 THEN 1 ELSE 0 END AS in_time,
        CASE WHEN acked_us IS NULL AND sent_us + 30000000 > $as_of_us THEN 1 ELSE 0 END AS young,
        CASE WHEN acked_us IS NULL THEN 0 ELSE 1 END AS acknowledged
    FROM feed_deliveries
    WHERE appended_us >= $from_us AND appended_us < $to_us
), pushes AS (
    SELECT count(*) AS deliveries, sum(in_time) AS in_time, sum(CASE WHEN in_time = 0 AND young = 0 THEN 1 ELSE 0 END) AS misses, sum(young) AS young,
        sum(CASE WHEN acknowledged = 0 AND young = 0 THEN 1 ELSE 0 END) AS unacknowledged
    FROM pushed
), resumed AS (
    SELECT CASE WHEN outcome = 'RESUMED' AND recovered_us - accepted_us <= 5000000 THEN 1 ELSE 0 END AS in_time,
        CASE WHEN outcome = 'RESYNC' THEN 1 ELSE 0 END AS impossible,
        CASE WHEN outcome = 'RESUMED' AND recovered_us IS NULL AND accepted_us + 5000000 > $as_of_us THEN 1 ELSE 0 END AS young
    FROM feed_resumes
    WHERE outcome <> 'FIRST' AND accepted_us >= $from_us AND accepted_us < $to_us
), resumes AS (
    SELECT count(*) AS resumes, sum(in_time) AS recovered_in_time, sum(impossible) AS impossible,
        sum(CASE WHEN in_time = 0 AND young = 0 THEN 1 ELSE 0 END) AS recovery_misses, sum(young) AS recovering
    FROM resumed
)
SELECT deliveries, in_time, misses, young, unacknowledged, resumes, recovered_in_time, impossible, recovery_misses, recovering
FROM pushes CROSS JOIN resumes
