-- One result whole, as the job wrote it.
SELECT report
FROM job_results_final
WHERE result_id = {result_id:UUID}
LIMIT 1
