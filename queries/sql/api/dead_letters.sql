-- Dead letters, the latest first, before a cursor; without their bytes.
SELECT
    topic, toString(l.topic_id) AS topic_id, partition, offset, toUnixTimestamp64Milli(l.appended_at) * 1000 AS appended_at, reason, path,
    sentence, schema, length(ifNull(value, '')) AS bytes, lower(hex(raw_sha256)) AS sha256, replay_attempt
FROM dead_letters_final AS l
WHERE ({topic:String} = '' OR topic = {topic:String})
    AND ({reason:String} = '' OR reason = {reason:String})
    AND l.appended_at >= fromUnixTimestamp64Milli({from_ms:Int64}) AND l.appended_at < fromUnixTimestamp64Milli({to_ms:Int64})
    AND (toUnixTimestamp64Milli(l.appended_at), toString(l.topic_id), partition, offset)
        < ({before_ms:Int64}, {before_id:String}, {before_partition:Int32}, {before_offset:Int64})
ORDER BY l.appended_at DESC, toString(l.topic_id) DESC, partition DESC, offset DESC
LIMIT {limit:UInt32}
