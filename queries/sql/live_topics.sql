-- What the ledger holds, by topic: for the live page.
SELECT
    topic,
    countIf(disposition = 'ACCEPTED') AS accepted,
    countIf(disposition = 'DEAD') AS dead,
    accepted - uniqExactIf((source, event_id, digest), disposition = 'ACCEPTED') AS duplicates,
    countIf(appended_at > now64(3) - INTERVAL 10 SECOND) AS last_ten_seconds,
    toUnixTimestamp64Milli(max(appended_at)) AS newest_ms
FROM audit_log FINAL
GROUP BY topic
ORDER BY topic
