-- A lane that starts asks for facts beyond its committed offset, which lie in the newest parts: of the others the smallest
-- and largest offset of a granule say that nothing is there. Parts that are older than the index are read.
ALTER TABLE credit_events ADD INDEX IF NOT EXISTS offset_minmax offset TYPE minmax GRANULARITY 1;
ALTER TABLE license_events ADD INDEX IF NOT EXISTS offset_minmax offset TYPE minmax GRANULARITY 1;
ALTER TABLE task_events ADD INDEX IF NOT EXISTS offset_minmax offset TYPE minmax GRANULARITY 1;
ALTER TABLE moderation_events ADD INDEX IF NOT EXISTS offset_minmax offset TYPE minmax GRANULARITY 1;
