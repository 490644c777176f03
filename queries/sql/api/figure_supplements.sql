-- Supplements asked for in the window, and how they were answered by its end; customers only. One a task.
SELECT
    'all' AS name,
    map(
        'requested', toString(count()),
        'accepted', toString(countIf(charged > 0)),
        'declined', toString(countIf(charged = 0 AND declined > 0)),
        'unanswered', toString(countIf(charged = 0 AND declined = 0))
    ) AS figures
FROM {{supplements}}
