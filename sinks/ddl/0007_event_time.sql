-- Figures ask for a stretch of event time, which no key has: it is the append time where the two differ by more than five minutes. The
-- smallest and largest of a granule say where to look; of ten million facts a day's question then reads some ten granules of a thousand.
-- The expression is that of the questions, word by word. Parts that are older than the index are read, until
-- ALTER TABLE … MATERIALIZE INDEX was run on them.
ALTER TABLE credit_events ADD INDEX IF NOT EXISTS event_time_minmax if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) TYPE minmax GRANULARITY 1;
ALTER TABLE license_events ADD INDEX IF NOT EXISTS event_time_minmax if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) TYPE minmax GRANULARITY 1;
ALTER TABLE task_events ADD INDEX IF NOT EXISTS event_time_minmax if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) TYPE minmax GRANULARITY 1;
ALTER TABLE moderation_events ADD INDEX IF NOT EXISTS event_time_minmax if(abs(toUnixTimestamp64Micro(occurred_at) - toUnixTimestamp64Milli(appended_at) * 1000) <= 300000000, toUnixTimestamp64Micro(occurred_at), toUnixTimestamp64Milli(appended_at) * 1000) TYPE minmax GRANULARITY 1;
-- the same of receipts, which are asked for by their append
ALTER TABLE audit_log ADD INDEX IF NOT EXISTS appended_minmax appended_at TYPE minmax GRANULARITY 1;
-- what a buyer asks is about few rows of many
ALTER TABLE credit_events ADD INDEX IF NOT EXISTS user_id_bloom user_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE task_events ADD INDEX IF NOT EXISTS user_id_bloom user_id TYPE bloom_filter GRANULARITY 1;
