-- The newest result of each job that says something: that a window could not be checked takes away no figure, only its standing.
SELECT job, result_id, window_from_us, window_to_us, known_us, report
FROM {{results}}
WHERE verdict != 'ERROR'
ORDER BY newness DESC
LIMIT 1 BY job
