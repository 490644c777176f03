-- Results of audit jobs, the latest first, before a cursor. `latest` leaves out what a later result restates.
SELECT
    toString(r.result_id) AS result_id, job, toUnixTimestamp64Micro(r.window_from) AS window_from, toUnixTimestamp64Micro(r.window_to) AS window_to,
    toUnixTimestamp64Micro(r.known_at) AS known_at,
    if(r.restates = toUUID('00000000-0000-0000-0000-000000000000'), NULL, toString(r.restates)) AS restates,
    toString(r.verdict) AS verdict, sentence, toString(r.numerator) AS numerator, toString(r.denominator) AS denominator
FROM job_results_final AS r
WHERE ({job:String} = '' OR job = {job:String})
    AND ({verdict:String} = '' OR toString(r.verdict) = {verdict:String})
    AND r.known_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND r.known_at < fromUnixTimestamp64Micro({to_us:Int64})
    AND (toUnixTimestamp64Micro(r.known_at), toString(r.result_id)) < ({before_us:Int64}, {before_id:String})
    AND ({latest:Bool} = false OR r.result_id NOT IN (SELECT restates FROM job_results_final))
ORDER BY r.known_at DESC, toString(r.result_id) DESC
LIMIT {limit:UInt32}
