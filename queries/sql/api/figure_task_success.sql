-- Tasks that ended in the window by the queue they ended in: SUCCEEDED of all terminal ones; customers only. A task counts once.
SELECT
    toString(ended_in) AS name,
    map(
        'terminal', toString(count()),
        'succeeded', toString(countIf(state = 'SUCCEEDED')),
        'failed', toString(countIf(state = 'FAILED')),
        'cancelled', toString(countIf(state = 'CANCELLED')),
        'rolled_back', toString(countIf(state = 'ROLLED_BACK'))
    ) AS figures
FROM {{task_ends}}
GROUP BY ended_in
ORDER BY name
