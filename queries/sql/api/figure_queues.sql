-- By queue: tasks that were waiting at the end of the window, and how long those waited that started in it; customers only.
-- Percentiles by nearest rank, microseconds. Where nothing started nobody knows how long it takes, so such a figure is left out; how long
-- those wait that still do says then whether a queue stands: it is 0 where nobody waits.
SELECT
    last_queue AS name,
    mapFilter((figure, value) -> value != '', map(
        'depth', toString(countIf(is_waiting)),
        'started', toString(countIf(waited)),
        'wait_p50_us', if(countIf(waited) = 0, '', toString(arraySort(groupArrayIf(wait_us, waited))[intDiv(50 * countIf(waited) + 99, 100)])),
        'wait_p95_us', if(countIf(waited) = 0, '', toString(arraySort(groupArrayIf(wait_us, waited))[intDiv(95 * countIf(waited) + 99, 100)])),
        'wait_max_us', if(countIf(waited) = 0, '', toString(maxIf(wait_us, waited))),
        'waiting_p50_us', if(countIf(is_waiting) = 0, '0', toString(arraySort(groupArrayIf({to_us:Int64} - if(queued, queued_us, opened_us), is_waiting))[intDiv(50 * countIf(is_waiting) + 99, 100)]))
    )) AS figures
FROM {{task_waits}}
GROUP BY last_queue
ORDER BY name
