-- How far each partition had come when it was last looked at: [low, high) is what the broker retained, and every offset
-- below taken had its disposition; with taken = high, everything committed before seen_at was taken. ended: the topic is gone,
-- nothing follows. One row a partition, the latest look.
-- shard by cityHash64(topic_id, partition)
CREATE TABLE IF NOT EXISTS partition_heads
(
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    low                      Int64,
    high                     Int64,
    taken                    Int64,
    seen_at                  DateTime64(3, 'UTC'),
    ended                    Bool
)
ENGINE = ReplacingMergeTree(seen_at)
ORDER BY (topic_id, partition)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS partition_heads_final AS SELECT * FROM partition_heads FINAL;

-- Results of audit jobs. A later result for the same job and window restates the earlier one, which stays readable.
-- report is the whole result as JSON, as `tally audit --format json` prints it.
-- shard by cityHash64(job)
CREATE TABLE IF NOT EXISTS job_results
(
    job                      LowCardinality(String),
    window_from              DateTime64(6, 'UTC'),
    window_to                DateTime64(6, 'UTC'),
    known_at                 DateTime64(6, 'UTC'),
    result_id                UUID,
    restates                 UUID,
    verdict                  Enum8('PASS'=1, 'FAIL'=2, 'WARN'=3, 'PENDING'=4, 'NOT_EVALUATED'=5, 'INSUFFICIENT'=6, 'ERROR'=7),
    sentence                 String,
    numerator                Int64,
    denominator              Int64,
    report                   String
)
ENGINE = ReplacingMergeTree
ORDER BY (job, window_from, window_to, known_at, result_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS job_results_final AS SELECT * FROM job_results FINAL;

-- Who was sent which event over the feed, and when they acknowledged it; acked_at is absent until they do.
-- shard by cityHash64(subject)
CREATE TABLE IF NOT EXISTS feed_deliveries
(
    subject                  String,
    session                  UUID,
    event_id                 UUID,
    type                     LowCardinality(String),
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    offset                   Int64,
    appended_at              DateTime64(3, 'UTC'),
    sent_at                  DateTime64(3, 'UTC'),
    acked_at                 Nullable(DateTime64(3, 'UTC')),
    version                  UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (toDate(appended_at), subject, session, event_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS feed_deliveries_final AS SELECT * FROM feed_deliveries FINAL;

-- Connections that resumed: from accept to the acknowledgement of the last message up to the head of that moment.
-- outcome RESYNC: the resume was impossible. First connects are FIRST and belong to no figure.
-- shard by cityHash64(subject)
CREATE TABLE IF NOT EXISTS feed_resumes
(
    subject                  String,
    session                  UUID,
    accepted_at              DateTime64(3, 'UTC'),
    recovered_at             Nullable(DateTime64(3, 'UTC')),
    outcome                  Enum8('FIRST'=1, 'RESUMED'=2, 'RESYNC'=3),
    version                  UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (toDate(accepted_at), subject, session)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS feed_resumes_final AS SELECT * FROM feed_resumes FINAL;

-- Checkpoints that were signed, and the partition heads that they sign. The tiles lie outside ClickHouse; a log that was
-- rolled back is seen here. leaves: all leaves of all partitions.
-- shard by cityHash64(origin)
CREATE TABLE IF NOT EXISTS seals
(
    origin                   String,
    leaves                   UInt64,
    root                     FixedString(32),
    key_name                 String,
    sealed_at                DateTime64(6, 'UTC'),
    checkpoint               String,
    heads                    String
)
ENGINE = ReplacingMergeTree
ORDER BY (origin, leaves, root, key_name)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS seals_final AS SELECT * FROM seals FINAL;
