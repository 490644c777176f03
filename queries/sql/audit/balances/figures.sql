-- How many wallets state a balance, how many of those statements are right, and by how much the others are off.
SELECT count(*) AS wallets, sum(CASE WHEN stated_micros = sum_micros THEN 1 ELSE 0 END) AS balanced,
    sum(CASE WHEN stated_micros <> sum_micros THEN 1 ELSE 0 END) AS differing, CAST(sum(abs(CAST(stated_micros AS DECIMAL(38, 0)) - CAST(sum_micros AS DECIMAL(38, 0)))) AS BIGINT) AS difference_micros
FROM subjects
