-- Dead letters as leaves have them; see seal/leaf.rs. The order of columns is the encoding.
SELECT topic_id, partition, offset, toUnixTimestamp64Milli(appended_at), raw_sha256, replay_id, replay_attempt,
    origin_topic_id, origin_partition, origin_offset, CAST(topic AS String), CAST(reason AS String), path, sentence,
    CAST(schema AS String), key, value, headers
FROM dead_letters FINAL
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {next:Int64}
ORDER BY topic_id, partition, offset
