-- Beginnings of the windows of that length which a job has judged.
SELECT DISTINCT toUnixTimestamp64Micro(window_from) AS start_us
FROM job_results_final
WHERE job = {job:String} AND toUnixTimestamp64Micro(window_to) - toUnixTimestamp64Micro(window_from) = {length_us:Int64}
