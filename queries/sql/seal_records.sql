-- Rows of the ledger as leaves have them: fixed widths first, then texts; see seal/leaf.rs. The order of columns is the encoding.
SELECT topic_id, partition, offset, toUnixTimestamp64Milli(appended_at), raw_bytes, raw_sha256, digest, event_id,
    toUnixTimestamp64Micro(occurred_at), CAST(topic AS String), CAST(disposition AS String), CAST(reason AS String),
    CAST(schema AS String), CAST(source AS String), CAST(kind AS String), CAST(policy_tag AS String), actor_id,
    CAST(actor_role AS String), task_id, wallet_id, user_id, creator_id, license_id, template_id, case_id
FROM audit_log FINAL
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64} AND offset < {next:Int64}
ORDER BY topic_id, partition, offset
