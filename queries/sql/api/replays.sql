-- Who published a dead letter again, and where the record went; the latest first.
SELECT toString(r.replay_id) AS replay_id, attempt, toUnixTimestamp64Micro(r.requested_at) AS requested_at, requested_by,
    toString(r.state) AS state, published_partition, published_offset
FROM dead_replays_final AS r
WHERE r.topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset = {offset:Int64}
ORDER BY r.requested_at DESC, toString(r.replay_id) DESC
LIMIT {limit:UInt32}
