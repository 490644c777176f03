-- What happened about a case, a licence or a wallet is asked of all four topics, and next to no granule of any has that one in it: where the
-- index says so, it is not read. Parts that are older than the index are read, until
-- ALTER TABLE … MATERIALIZE INDEX was run on them.
ALTER TABLE credit_events ADD INDEX IF NOT EXISTS license_id_bloom license_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE credit_events ADD INDEX IF NOT EXISTS case_id_bloom case_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE license_events ADD INDEX IF NOT EXISTS wallet_id_bloom wallet_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE license_events ADD INDEX IF NOT EXISTS case_id_bloom case_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE task_events ADD INDEX IF NOT EXISTS wallet_id_bloom wallet_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE task_events ADD INDEX IF NOT EXISTS case_id_bloom case_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE moderation_events ADD INDEX IF NOT EXISTS wallet_id_bloom wallet_id TYPE bloom_filter GRANULARITY 1;
ALTER TABLE moderation_events ADD INDEX IF NOT EXISTS license_id_bloom license_id TYPE bloom_filter GRANULARITY 1;
