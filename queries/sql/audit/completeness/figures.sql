-- How many tasks there are, and how many break which rule; beside it the check by stretches of ten minutes: do receipts and facts agree?
WITH compared AS (
    SELECT count(*) AS buckets, sum(CASE WHEN receipts <> facts OR receipt_hash <> fact_hash THEN 1 ELSE 0 END) AS buckets_differing FROM cells
), tasks AS (
    SELECT count(*) AS population,
        sum(CASE WHEN missing_audit + missing_fact + missing_tag + conflicting_tag + broken_chain + ended_twice + dead_lettered + orphan_audit = 0 THEN 1 ELSE 0 END) AS complete,
        sum(CASE WHEN missing_audit + missing_fact + missing_tag + conflicting_tag + broken_chain + ended_twice + dead_lettered + orphan_audit > 0 THEN 1 ELSE 0 END) AS incomplete,
        sum(missing_audit) AS missing_audit, sum(missing_fact) AS missing_fact, sum(missing_tag) AS missing_tag,
        sum(conflicting_tag) AS conflicting_tag, sum(broken_chain) AS broken_chain, sum(ended_twice) AS ended_twice,
        sum(dead_lettered) AS dead_lettered, sum(orphan_audit) AS orphan_audit, sum(duplicate_audit) AS duplicate_audit
    FROM subjects
)
SELECT population, complete, incomplete, missing_audit, missing_fact, missing_tag, conflicting_tag, broken_chain, ended_twice,
    dead_lettered, orphan_audit, duplicate_audit, buckets, buckets_differing
FROM tasks CROSS JOIN compared
