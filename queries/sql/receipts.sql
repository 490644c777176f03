-- Every receipt of one topic's identity, to be held against what a publisher says it sent.
SELECT partition, offset, disposition = 'ACCEPTED' AS accepted, event_id
FROM audit_log FINAL
WHERE topic_id = {topic_id:UUID}
