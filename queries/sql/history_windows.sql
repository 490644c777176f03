-- Beginnings of the windows of that length which a job has judged, by what it said of each last.
SELECT toUnixTimestamp64Micro(window_from) AS start_us
FROM job_results_final
WHERE job = {job:String} AND toUnixTimestamp64Micro(window_to) - toUnixTimestamp64Micro(window_from) = {length_us:Int64}
GROUP BY window_from
HAVING argMax(verdict, (known_at, result_id)) != 'ERROR'
