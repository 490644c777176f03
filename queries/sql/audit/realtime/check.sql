-- The same by three counts each.
WITH pushes AS (
    SELECT count(*) AS deliveries, count(CASE WHEN acked_us <= appended_us + 3000000 THEN 1 END) AS in_time,
        count(CASE WHEN acked_us > appended_us + 3000000 OR (acked_us IS NULL AND sent_us <= $as_of_us - 30000000) THEN 1 END) AS misses
    FROM feed_deliveries WHERE appended_us >= $from_us AND appended_us < $to_us
), resumes AS (
    SELECT count(*) AS resumes, count(CASE WHEN outcome = 'RESUMED' AND recovered_us <= accepted_us + 5000000 THEN 1 END) AS recovered_in_time,
        count(CASE WHEN outcome = 'RESYNC' THEN 1 END) AS impossible,
        count(CASE WHEN outcome = 'RESYNC' OR recovered_us > accepted_us + 5000000 OR (recovered_us IS NULL AND accepted_us <= $as_of_us - 5000000) THEN 1 END) AS recovery_misses
    FROM feed_resumes WHERE outcome IN ('RESUMED', 'RESYNC') AND accepted_us >= $from_us AND accepted_us < $to_us
)
SELECT deliveries, in_time, misses, resumes, recovered_in_time, impossible, recovery_misses FROM pushes CROSS JOIN resumes
