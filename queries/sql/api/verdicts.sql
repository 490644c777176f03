-- What each job said last, and before: the latest of every job, at most `each` of one, the latest first. A window that was judged again
-- stands there as often as it was.
SELECT
    toString(r.result_id) AS result_id, job, toUnixTimestamp64Micro(r.window_from) AS window_from, toUnixTimestamp64Micro(r.window_to) AS window_to,
    toUnixTimestamp64Micro(r.known_at) AS known_at,
    if(r.restates = toUUID('00000000-0000-0000-0000-000000000000'), NULL, toString(r.restates)) AS restates,
    toString(r.verdict) AS verdict, sentence, toString(r.numerator) AS numerator, toString(r.denominator) AS denominator
FROM job_results_final AS r
WHERE r.known_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND r.known_at < fromUnixTimestamp64Micro({to_us:Int64})
ORDER BY job, r.known_at DESC, r.window_to DESC, toString(r.result_id) DESC
LIMIT {each:UInt32} BY job
LIMIT {limit:UInt32}
