-- Signed checkpoints, the latest first, before a cursor.
SELECT origin, leaves, lower(hex(s.root)) AS root, key_name, toUnixTimestamp64Micro(s.sealed_at) AS sealed_at, checkpoint, heads
FROM seals_final AS s
WHERE s.sealed_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND s.sealed_at < fromUnixTimestamp64Micro({to_us:Int64})
    AND (toUnixTimestamp64Micro(s.sealed_at), lower(hex(s.root))) < ({before_us:Int64}, {before_id:String})
ORDER BY s.sealed_at DESC, lower(hex(s.root)) DESC
LIMIT {limit:UInt32}
