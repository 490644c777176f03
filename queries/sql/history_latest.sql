-- The latest result of one job for one window.
SELECT result_id AS id, report
FROM job_results_final
WHERE job = {job:String} AND JSONExtractInt(report, 'window', 'from_us') = {from_us:Int64} AND JSONExtractInt(report, 'window', 'to_us') = {to_us:Int64}
ORDER BY known_at DESC, result_id DESC
LIMIT 1
