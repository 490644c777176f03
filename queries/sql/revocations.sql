-- Tokens that may still live and were revoked, and subjects that are. On equal times what is not lifted stands.
SELECT toInt8(r.kind) AS kind, r.value AS value
FROM revocations_final AS r
WHERE r.kind = 'SUBJECT' OR r.revoked_at > now64(6) - toIntervalSecond({token_s:UInt32})
GROUP BY r.kind, r.value
HAVING NOT argMax(r.lifted, (r.revoked_at, NOT r.lifted))
ORDER BY r.kind, r.value
