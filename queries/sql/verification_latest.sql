-- What `tally verify` found when it last looked at everything. What was found to be altered, by whatever look, stands until a later look
-- at everything finds nothing: one that could not read, or looked at other things, does not take it back. Which look was later is by
-- the names that they were given when they were recorded (UUIDv7), as text: clocks of the data do not count.
SELECT toUnixTimestamp64Micro(v.verified_at) AS verified_us,
    if(altered.number > 0, 1, toInt64(v.verdict) - 1) AS code, greatest(v.findings, altered.findings) AS findings
FROM
(
    SELECT verified_at, verdict, findings
    FROM verifications_final
    WHERE scope = 'all'
    ORDER BY toString(verification_id) DESC
    LIMIT 1
) AS v
CROSS JOIN
(
    SELECT count() AS number, max(findings) AS findings
    FROM verifications_final
    WHERE verdict = 'TAMPERED' AND toString(verification_id) >
    (
        SELECT max(toString(verification_id)) FROM verifications_final WHERE scope = 'all' AND verdict = 'VERIFIED'
    )
) AS altered
