-- Revocations and what lifted them, the latest first, before a cursor.
SELECT toString(r.kind) AS kind, value, toUnixTimestamp64Micro(r.revoked_at) AS revoked_at, lifted, reason, revoked_by
FROM revocations_final AS r
WHERE (toUnixTimestamp64Micro(r.revoked_at), toString(r.kind), value) < ({before_us:Int64}, {before_kind:String}, {before_id:String})
ORDER BY r.revoked_at DESC, toString(r.kind) DESC, value DESC
LIMIT {limit:UInt32}
