-- By class: settled tasks and hits, what is left aside, and how far estimates are off. Percentiles by nearest rank, in units of
-- a ten-thousandth of the estimate: a long division in steps of a hundred, which stays within 64 bits up to an estimate of 9 * 10^16 micros.
WITH settled AS (
    SELECT class, 10000 * least(deviation_micros / estimate_micros, 900000000000000) + 100 * (100 * (deviation_micros % estimate_micros) / estimate_micros)
            + 100 * (100 * (deviation_micros % estimate_micros) % estimate_micros) / estimate_micros AS error_permyriad
    FROM subjects WHERE stage = 'settled' AND estimate_micros > 0
), ranked AS (
    SELECT class, error_permyriad, row_number() OVER (PARTITION BY class ORDER BY error_permyriad) AS place, count(*) OVER (PARTITION BY class) AS ranks
    FROM settled
), percentiles AS (
    SELECT class, max(CASE WHEN place = (50 * ranks + 99) / 100 THEN error_permyriad END) AS error_p50_permyriad,
        max(CASE WHEN place = (95 * ranks + 99) / 100 THEN error_permyriad END) AS error_p95_permyriad
    FROM ranked
    GROUP BY class
), classes AS (
    SELECT class, sum(CASE WHEN stage = 'settled' THEN 1 ELSE 0 END) AS tasks, sum(CASE WHEN stage = 'settled' THEN hit ELSE 0 END) AS hits,
        sum(CASE WHEN stage = 'settled' AND hit = 0 THEN 1 ELSE 0 END) AS misses,
        sum(CASE WHEN stage = 'settled' AND estimate_micros IS NULL THEN 1 ELSE 0 END) AS without_estimate,
        sum(CASE WHEN stage = 'unsettled' THEN 1 ELSE 0 END) AS unsettled, sum(CASE WHEN stage = 'settling' THEN 1 ELSE 0 END) AS settling,
        sum(CASE WHEN stage = 'goodwill' THEN 1 ELSE 0 END) AS goodwill, sum(CASE WHEN stage = 'goodwill' THEN hit ELSE 0 END) AS goodwill_hits,
        sum(CASE WHEN stage = 'unsuccessful' THEN 1 ELSE 0 END) AS unsuccessful, sum(CASE WHEN stage = 'open' THEN 1 ELSE 0 END) AS still_open,
        CAST(sum(CAST(CASE WHEN stage = 'settled' THEN estimate_micros ELSE 0 END AS DECIMAL(38, 0))) AS BIGINT) AS estimated_micros,
        CAST(sum(CAST(CASE WHEN stage = 'settled' AND estimate_micros IS NOT NULL THEN settled_micros ELSE 0 END AS DECIMAL(38, 0))) AS BIGINT) AS settled_micros,
        CAST(sum(CAST(CASE WHEN stage = 'settled' THEN deviation_micros ELSE 0 END AS DECIMAL(38, 0))) AS BIGINT) AS deviation_micros
    FROM subjects
    GROUP BY class
)
SELECT classes.class AS grp, tasks, hits, misses, without_estimate, unsettled, settling, goodwill, goodwill_hits, unsuccessful, still_open,
    estimated_micros, settled_micros, deviation_micros,
    coalesce(error_p50_permyriad, 0) AS error_p50_permyriad, coalesce(error_p95_permyriad, 0) AS error_p95_permyriad
FROM classes LEFT JOIN percentiles ON percentiles.class = classes.class
