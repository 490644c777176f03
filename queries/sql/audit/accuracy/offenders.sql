-- Settled tasks outside of their tolerance, and tasks that were never settled.
SELECT task_id AS id, CASE WHEN stage = 'unsettled' THEN 'unsettled' ELSE 'misses' END AS why,
    CASE WHEN stage = 'unsettled' THEN 'succeeded, and never charged'
        WHEN estimate_micros IS NULL THEN concat('charged ', CAST(settled_micros AS VARCHAR), ' micros without an estimate')
        ELSE concat(class, ': estimated ', CAST(estimate_micros AS VARCHAR), ' micros, settled ', CAST(settled_micros AS VARCHAR),
            ', allowed are ', CAST(tolerance AS VARCHAR), ' %') END AS detail
FROM subjects
WHERE stage = 'unsettled' OR (stage = 'settled' AND hit = 0)
ORDER BY id
