-- Rows in each table, before deduplication.
SELECT table, sum(rows) AS rows
FROM system.parts
WHERE active AND database = currentDatabase()
GROUP BY table
