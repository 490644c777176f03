-- Results, the latest first; of one job, and as known at a moment.
SELECT result_id AS id, report
FROM job_results_final
WHERE ({job:String} = '' OR job = {job:String}) AND toUnixTimestamp64Micro(known_at) <= {known_us:Int64}
ORDER BY known_at DESC, job, window_from
LIMIT {limit:UInt64}
