-- By queue: tasks that were waiting at the end of the window, and how long those waited that started in it; customers only.
-- Percentiles by nearest rank, microseconds.
SELECT
    toString(last_queue) AS name,
    map(
        'depth', toString(countIf(is_waiting)),
        'started', toString(countIf(waited)),
        'wait_p50_us', toString(if(countIf(waited) = 0, 0, arraySort(groupArrayIf(wait_us, waited))[intDiv(50 * countIf(waited) + 99, 100)])),
        'wait_p95_us', toString(if(countIf(waited) = 0, 0, arraySort(groupArrayIf(wait_us, waited))[intDiv(95 * countIf(waited) + 99, 100)])),
        'wait_max_us', toString(maxIf(wait_us, waited))
    ) AS figures
FROM {{task_waits}}
GROUP BY last_queue
ORDER BY name
