-- Recorded gaps as leaves have them; see seal/leaf.rs. The order of columns is the encoding.
SELECT topic_id, partition, first, next, CAST(topic AS String), CAST(kind AS String)
FROM gaps FINAL
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND first >= {from:Int64} AND first < {next:Int64}
ORDER BY topic_id, partition, first, next
