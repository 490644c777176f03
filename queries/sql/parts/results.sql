-- Results of the audit as known at the end of the window. `newness` orders those of a job: the newest window first and not what was said
-- last, since a window of before that is judged again is none of now. One that reaches beyond the moment at which it was judged reaches
-- to that moment. Of one window the latest version comes first.
SELECT job, toString(r.result_id) AS result_id, toString(r.verdict) AS verdict, sentence, numerator, denominator, report,
    toUnixTimestamp64Micro(r.window_from) AS window_from_us, toUnixTimestamp64Micro(r.window_to) AS window_to_us, toUnixTimestamp64Micro(r.known_at) AS known_us,
    (least(window_to_us, known_us), known_us, result_id) AS newness
FROM job_results_final AS r
WHERE known_us < {to_us:Int64}
