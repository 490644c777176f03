-- The delivery ledger of the feed, the latest first, before a cursor.
SELECT
    subject, toString(d.session) AS session, toString(d.event_id) AS event_id, type, topic, partition, offset,
    toUnixTimestamp64Milli(d.appended_at) * 1000 AS appended_at,
    toUnixTimestamp64Milli(d.sent_at) * 1000 AS sent_at, toUnixTimestamp64Milli(d.acked_at) * 1000 AS acked_at
FROM feed_deliveries_final AS d
WHERE ({subject:String} = '' OR subject = {subject:String})
    AND d.sent_at >= fromUnixTimestamp64Milli({from_ms:Int64}) AND d.sent_at < fromUnixTimestamp64Milli({to_ms:Int64})
    AND (toUnixTimestamp64Milli(d.sent_at), toString(d.session), toString(d.event_id)) < ({before_ms:Int64}, {before_session:String}, {before_id:String})
ORDER BY d.sent_at DESC, toString(d.session) DESC, toString(d.event_id) DESC
LIMIT {limit:UInt32}
