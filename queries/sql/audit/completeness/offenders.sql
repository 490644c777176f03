-- Incomplete tasks, each with the first rule that it breaks, and stretches of ten minutes whose receipts and facts are not the same.
SELECT task_id AS id,
    CASE WHEN orphan_audit = 1 THEN 'orphan_audit' WHEN missing_tag = 1 THEN 'missing_tag' WHEN missing_audit = 1 THEN 'missing_audit'
        WHEN broken_chain = 1 THEN 'broken_chain' WHEN conflicting_tag = 1 THEN 'conflicting_tag' WHEN ended_twice = 1 THEN 'ended_twice'
        WHEN missing_fact = 1 THEN 'missing_fact' ELSE 'dead_lettered' END AS why,
    concat(CASE WHEN events = 0 THEN 'no event' ELSE concat(CAST(events AS VARCHAR), ' events with state versions ', coalesce(CAST(first_version AS VARCHAR), '-'), ' to ',
        coalesce(CAST(last_version AS VARCHAR), '-')) END, ', ', CAST(receipts AS VARCHAR), ' receipts, ', CAST(letters AS VARCHAR), ' dead letters',
        CASE WHEN letters > 0 THEN concat(' (', reason, ')') ELSE '' END,
        CASE WHEN lost > 0 THEN concat(', ', CAST(lost AS VARCHAR), ' events have a receipt and no fact') ELSE '' END,
        CASE WHEN conflicting_tag = 1 THEN concat(', policy tags ', low_tag, ' and ', high_tag) ELSE '' END,
        CASE WHEN ends > 1 THEN concat(', ', CAST(ends AS VARCHAR), ' terminal states') ELSE '' END) AS detail
FROM subjects
WHERE missing_audit + missing_fact + missing_tag + conflicting_tag + broken_chain + ended_twice + dead_lettered + orphan_audit > 0
UNION ALL
SELECT to_char(to_timestamp_micros(bucket), '%Y-%m-%dT%H:%M:%SZ'), 'buckets_differing',
    concat('in the ten minutes from then on ', CAST(sum(receipts) AS VARCHAR), ' events have receipts and ', CAST(sum(facts) AS VARCHAR),
        ' have facts, and they are not the same')
FROM cells
WHERE receipts <> facts OR receipt_hash <> fact_hash
GROUP BY bucket
ORDER BY id
