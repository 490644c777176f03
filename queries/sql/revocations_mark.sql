-- A mark that differs once a row was added: how many rows there are, and what they are.
SELECT count() AS rows, groupBitXor(cityHash64(kind, value, revoked_at, lifted)) AS hash
FROM revocations_final
