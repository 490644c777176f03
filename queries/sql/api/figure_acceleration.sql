-- Tasks submitted in the window: to how many acceleration was offered, how many were accelerated; customers only.
SELECT
    'all' AS name,
    map(
        'tasks', toString(count()),
        'offered', toString(countIf(offers > 0)),
        'accelerated', toString(countIf(accelerations > 0))
    ) AS figures
FROM {{accelerations}}
