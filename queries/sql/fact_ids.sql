-- The events that one topic's identity brought, each once.
SELECT DISTINCT event_id FROM {facts:Identifier} FINAL WHERE topic_id = {topic_id:UUID}
