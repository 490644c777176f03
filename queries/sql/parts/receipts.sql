-- Receipts that were appended in the window. Those of one key are of one record and so of one append time: the index by it leaves out all
-- rows of a key or none; without the setting the store reads whatever lies between the same keys, which is nearly all of the table.
SELECT topic, disposition, toUnixTimestamp64Milli(appended_at) * 1000 AS appended_us
FROM audit_log FINAL
WHERE appended_at >= fromUnixTimestamp64Milli(intDiv({from_us:Int64} + 999, 1000)) AND appended_at < fromUnixTimestamp64Milli(intDiv({to_us:Int64} + 999, 1000))
SETTINGS use_skip_indexes_if_final_exact_mode = 0
