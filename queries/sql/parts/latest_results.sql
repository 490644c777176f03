-- The latest result of each job as known at the end of the window, by the rule of history.sql.
SELECT job, toString(result_id) AS result_id, toUnixTimestamp64Micro(window_from) AS window_from_us, toUnixTimestamp64Micro(window_to) AS window_to_us,
    toUnixTimestamp64Micro(known_at) AS known_us, report
FROM job_results_final AS r
WHERE known_us <= {to_us:Int64}
ORDER BY r.known_at DESC, r.window_from
LIMIT 1 BY job
