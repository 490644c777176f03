-- Incomplete tasks, each with the first rule that it breaks.
SELECT task_id AS id,
    CASE WHEN orphan_audit = 1 THEN 'orphan_audit' WHEN missing_tag = 1 THEN 'missing_tag' WHEN missing_audit = 1 THEN 'missing_audit'
        WHEN broken_chain = 1 THEN 'broken_chain' WHEN conflicting_tag = 1 THEN 'conflicting_tag' WHEN ended_twice = 1 THEN 'ended_twice'
        ELSE 'dead_lettered' END AS why,
    concat(CAST(events AS VARCHAR), ' events with state versions ', coalesce(CAST(first_version AS VARCHAR), '-'), ' to ',
        coalesce(CAST(last_version AS VARCHAR), '-'), ', ', CAST(receipts AS VARCHAR), ' receipts, ', CAST(letters AS VARCHAR), ' dead letters',
        CASE WHEN letters > 0 THEN concat(' (', reason, ')') ELSE '' END,
        CASE WHEN conflicting_tag = 1 THEN concat(', policy tags ', low_tag, ' and ', high_tag) ELSE '' END,
        CASE WHEN ends > 1 THEN concat(', ', CAST(ends AS VARCHAR), ' terminal states') ELSE '' END) AS detail
FROM subjects
WHERE missing_audit + missing_tag + conflicting_tag + broken_chain + ended_twice + dead_lettered + orphan_audit > 0
ORDER BY id
