-- Tokens that may still live and were revoked, and subjects that are. On equal times what is not lifted stands.
SELECT toInt8(kind) AS kind, value
FROM revocations_final
WHERE kind = 'SUBJECT' OR revoked_at > now64(6) - toIntervalSecond({token_s:UInt32})
GROUP BY kind, value
HAVING NOT argMax(lifted, (revoked_at, NOT lifted))
ORDER BY kind, value
