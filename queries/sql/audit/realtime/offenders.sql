-- Deliveries that came late or were never acknowledged, and connections that did not recover in time.
WITH found AS (
    SELECT concat(event_id, ' to ', subject) AS id, 'misses' AS why,
        CASE WHEN acked_us IS NULL THEN 'never acknowledged' ELSE concat('acknowledged ', CAST((acked_us - appended_us) / 1000 AS VARCHAR), ' ms after it was appended') END AS detail
    FROM feed_deliveries
    WHERE appended_us >= $from_us AND appended_us < $to_us
        AND ((acked_us IS NULL AND sent_us + 30000000 <= $as_of_us) OR acked_us - appended_us > 3000000)
    UNION ALL
    SELECT concat('session ', session, ' of ', subject), 'recovery_misses',
        CASE WHEN outcome = 'RESYNC' THEN 'could not be resumed' WHEN recovered_us IS NULL THEN 'never recovered'
            ELSE concat('recovered after ', CAST((recovered_us - accepted_us) / 1000 AS VARCHAR), ' ms') END
    FROM feed_resumes
    WHERE accepted_us >= $from_us AND accepted_us < $to_us
        AND (outcome = 'RESYNC' OR (outcome = 'RESUMED' AND (recovered_us - accepted_us > 5000000 OR (recovered_us IS NULL AND accepted_us + 5000000 <= $as_of_us))))
)
SELECT id, why, detail FROM found ORDER BY id
