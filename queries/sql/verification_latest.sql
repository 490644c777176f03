-- What `tally verify` found when it last looked at everything. What was found to be altered, by whatever look, stands until a later look
-- at everything finds nothing: one that could not read, or looked at other things, does not take it back. Where nobody has looked at
-- everything yet, it is told as of when it was found. Which look was later is by the names that they were given when they were recorded
-- (UUIDv7), as text: clocks of the data do not count.
SELECT toUnixTimestamp64Micro(if(wholes > 0, whole_at, altered_at)) AS verified_us,
    if(alterations > 0, 1, toInt64(whole_verdict) - 1) AS code, greatest(whole_findings, altered_findings) AS findings
FROM
(
    SELECT countIf(is_whole) AS wholes, argMaxIf(verified_at, name, is_whole) AS whole_at, argMaxIf(verdict, name, is_whole) AS whole_verdict,
        argMaxIf(findings, name, is_whole) AS whole_findings, countIf(is_altered) AS alterations,
        argMaxIf(verified_at, name, is_altered) AS altered_at, maxIf(findings, is_altered) AS altered_findings
    FROM
    (
        SELECT verified_at, verdict, findings, toString(verification_id) AS name, scope = 'all' AS is_whole,
            verdict = 'TAMPERED' AND name >
            (
                SELECT max(toString(verification_id)) FROM verifications_final WHERE scope = 'all' AND verdict = 'VERIFIED'
            ) AS is_altered
        FROM verifications_final
    )
)
WHERE wholes > 0 OR alterations > 0