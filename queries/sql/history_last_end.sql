-- The end of the latest window of that length which a job has judged; 0 for none.
SELECT max(toUnixTimestamp64Micro(window_to)) AS end_us
FROM job_results_final
WHERE job = {job:String} AND toUnixTimestamp64Micro(window_to) - toUnixTimestamp64Micro(window_from) = {length_us:Int64}
