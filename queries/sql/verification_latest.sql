-- What `tally verify` found when it last looked at everything.
SELECT toUnixTimestamp64Micro(v.verified_at) AS verified_us, toInt64(v.verdict) - 1 AS code, findings
FROM verifications_final AS v
WHERE scope = 'all'
ORDER BY v.verified_at DESC, v.verification_id DESC
LIMIT 1
