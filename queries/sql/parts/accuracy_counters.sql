-- What the accuracy job counted in those windows, added up: one row a class of tasks and a counter. Its percentiles cannot be added up.
SELECT splitByChar('/', counter.1)[1] AS class, splitByChar('/', counter.1)[2] AS name, sum(counter.2) AS number,
    windows, window_from_us, window_to_us, known_us, target_permille
FROM {{accuracy_windows}}
ARRAY JOIN JSONExtractKeysAndValues(report, 'counters', 'Int64') AS counter
WHERE name NOT LIKE 'error_p%'
GROUP BY class, name, windows, window_from_us, window_to_us, known_us, target_permille
