-- Receipts that were appended in the window. Those of one key are alike, so what the index by append time leaves out as one row of a key it
-- may leave out as all: without the setting the store reads whatever lies between the same keys, which is nearly all of the table.
SELECT topic, disposition, toUnixTimestamp64Milli(appended_at) * 1000 AS appended_us
FROM audit_log FINAL
WHERE appended_at >= fromUnixTimestamp64Milli(intDiv({from_us:Int64} + 999, 1000)) AND appended_at < fromUnixTimestamp64Milli(intDiv({to_us:Int64} + 999, 1000))
SETTINGS use_skip_indexes_if_final_exact_mode = 0
