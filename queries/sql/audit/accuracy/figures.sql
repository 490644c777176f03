-- By class: settled tasks and hits, what is left aside, and how far estimates are off: counted by size (off_over_2: dearer than
-- estimated by more than 2 %, up to 5 %) and as percentiles. Percentiles by nearest rank, in units of
-- a ten-thousandth of the estimate: a long division in steps of a hundred, which stays within 64 bits up to an estimate of 9 * 10^16 micros.
WITH settled AS (
    SELECT class, 10000 * least(deviation_micros / estimate_micros, 900000000000000) + 100 * (100 * (deviation_micros % estimate_micros) / estimate_micros)
            + 100 * (100 * (deviation_micros % estimate_micros) % estimate_micros) / estimate_micros AS error_permyriad
    FROM subjects WHERE stage = 'settled' AND estimate_micros > 0
), sized AS (
    SELECT class, settled_micros > estimate_micros AS dearer,
        CASE WHEN deviation_micros = 0 THEN 0
            WHEN 100 * CAST(deviation_micros AS DECIMAL(38, 0)) <= 2 * CAST(estimate_micros AS DECIMAL(38, 0)) THEN 1
            WHEN 100 * CAST(deviation_micros AS DECIMAL(38, 0)) <= 5 * CAST(estimate_micros AS DECIMAL(38, 0)) THEN 2
            WHEN 100 * CAST(deviation_micros AS DECIMAL(38, 0)) <= 10 * CAST(estimate_micros AS DECIMAL(38, 0)) THEN 3
            WHEN 100 * CAST(deviation_micros AS DECIMAL(38, 0)) <= 20 * CAST(estimate_micros AS DECIMAL(38, 0)) THEN 4
            ELSE 5 END AS size
    FROM subjects WHERE stage = 'settled' AND estimate_micros IS NOT NULL
), sizes AS (
    SELECT class, sum(CASE WHEN size = 0 THEN 1 ELSE 0 END) AS off_none,
        sum(CASE WHEN size = 5 AND NOT dearer THEN 1 ELSE 0 END) AS off_under_20, sum(CASE WHEN size = 5 AND dearer THEN 1 ELSE 0 END) AS off_over_20,
        sum(CASE WHEN size = 4 AND NOT dearer THEN 1 ELSE 0 END) AS off_under_10, sum(CASE WHEN size = 4 AND dearer THEN 1 ELSE 0 END) AS off_over_10,
        sum(CASE WHEN size = 3 AND NOT dearer THEN 1 ELSE 0 END) AS off_under_5, sum(CASE WHEN size = 3 AND dearer THEN 1 ELSE 0 END) AS off_over_5,
        sum(CASE WHEN size = 2 AND NOT dearer THEN 1 ELSE 0 END) AS off_under_2, sum(CASE WHEN size = 2 AND dearer THEN 1 ELSE 0 END) AS off_over_2,
        sum(CASE WHEN size = 1 AND NOT dearer THEN 1 ELSE 0 END) AS off_under_0, sum(CASE WHEN size = 1 AND dearer THEN 1 ELSE 0 END) AS off_over_0
    FROM sized
    GROUP BY class
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
    coalesce(error_p50_permyriad, 0) AS error_p50_permyriad, coalesce(error_p95_permyriad, 0) AS error_p95_permyriad,
    coalesce(off_under_20, 0) AS off_under_20, coalesce(off_under_10, 0) AS off_under_10, coalesce(off_under_5, 0) AS off_under_5,
    coalesce(off_under_2, 0) AS off_under_2, coalesce(off_under_0, 0) AS off_under_0, coalesce(off_none, 0) AS off_none,
    coalesce(off_over_0, 0) AS off_over_0, coalesce(off_over_2, 0) AS off_over_2, coalesce(off_over_5, 0) AS off_over_5,
    coalesce(off_over_10, 0) AS off_over_10, coalesce(off_over_20, 0) AS off_over_20
FROM classes LEFT JOIN percentiles ON percentiles.class = classes.class LEFT JOIN sizes ON sizes.class = classes.class
