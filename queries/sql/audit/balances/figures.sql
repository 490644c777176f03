-- How many wallets state a balance, how many of those statements are right, and by how much the others are off.
SELECT count(*) AS wallets, sum(CASE WHEN stated_micros = sum_micros THEN 1 ELSE 0 END) AS balanced,
    sum(CASE WHEN stated_micros <> sum_micros THEN 1 ELSE 0 END) AS differing, sum(abs(stated_micros - sum_micros)) AS difference_micros
FROM subjects
