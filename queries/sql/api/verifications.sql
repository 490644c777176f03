-- What `tally verify` found, the latest first, before a cursor.
SELECT toString(v.verification_id) AS verification_id, toUnixTimestamp64Micro(v.verified_at) AS verified_at, toString(v.verdict) AS verdict,
    scope, against_kafka, leaves, facts, unsealed, findings, signers
FROM verifications_final AS v
WHERE v.verified_at >= fromUnixTimestamp64Micro({from_us:Int64}) AND v.verified_at < fromUnixTimestamp64Micro({to_us:Int64})
    AND (toUnixTimestamp64Micro(v.verified_at), toString(v.verification_id)) < ({before_us:Int64}, {before_id:String})
ORDER BY v.verified_at DESC, toString(v.verification_id) DESC
LIMIT {limit:UInt32}
