-- The ledger: one narrow row for every offset taken. The row is the receipt: it is written after what it attests.
-- Of a dead letter only the coordinates, the reason, the schema and the digest of the bytes are known.
-- shard by cityHash64(topic_id, partition)
CREATE TABLE IF NOT EXISTS audit_log
(
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    offset                   Int64,
    appended_at              DateTime64(3, 'UTC'),
    disposition              Enum8('ACCEPTED'=1, 'DEAD'=2),
    reason                   LowCardinality(String),
    schema                   LowCardinality(String),
    raw_bytes                UInt32,
    raw_sha256               FixedString(32),
    digest                   FixedString(32),
    event_id                 UUID,
    occurred_at              DateTime64(6, 'UTC'),
    source                   LowCardinality(String),
    kind                     LowCardinality(String),
    policy_tag               Enum8(''=0, 'GENERAL_USE'=1, 'COPYRIGHT'=2, 'TRADEMARK'=3, 'LIKENESS'=4, 'PRIVACY'=5, 'MINOR_SAFETY'=6, 'ADULT_CONTENT'=7, 'VIOLENCE'=8, 'HATE_SPEECH'=9, 'SELF_HARM'=10, 'POLITICAL'=11, 'MEDICAL'=12, 'FINANCIAL_ADVICE'=13, 'FRAUD'=14, 'LICENSE_TERMS'=15, 'BILLING'=16),
    actor_id                 String,
    actor_role               Enum8(''=0, 'CREATOR'=1, 'BUYER'=2, 'MODERATOR'=3, 'ADMIN'=4, 'SERVICE'=5),
    task_id                  String,
    wallet_id                String,
    user_id                  String,
    creator_id               String,
    license_id               String,
    template_id              String,
    case_id                  String,
    INDEX event_id_bloom event_id TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_bloom task_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree
ORDER BY (topic_id, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS audit_log_final AS SELECT * FROM audit_log FINAL;

-- Dead letters: the record as it was, why it was refused, and where it came from. Reasons are typed; sentences are for people.
-- origin_*: the coordinates of the first of a line of replays; replay_attempt 0 where there was none.
-- shard by cityHash64(topic_id, partition)
CREATE TABLE IF NOT EXISTS dead_letters
(
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    offset                   Int64,
    appended_at              DateTime64(3, 'UTC'),
    reason                   LowCardinality(String),
    path                     String,
    sentence                 String,
    schema                   LowCardinality(String),
    key                      Nullable(String),
    value                    Nullable(String),
    headers                  Array(Tuple(name String, value Nullable(String))),
    raw_sha256               FixedString(32),
    replay_id                UUID,
    replay_attempt           UInt32,
    origin_topic_id          UUID,
    origin_partition         Int32,
    origin_offset            Int64
)
ENGINE = ReplacingMergeTree
ORDER BY (topic_id, partition, offset)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS dead_letters_final AS SELECT * FROM dead_letters FINAL;

-- Offsets that hold no record for a reader of committed data: [first, next).
-- ABSENT: aborted transactions, control records, compaction. EXPIRED: deleted by retention before it was read, which is loss.
-- shard by cityHash64(topic_id, partition)
CREATE TABLE IF NOT EXISTS gaps
(
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    first                    Int64,
    next                     Int64,
    kind                     Enum8('ABSENT'=1, 'EXPIRED'=2)
)
ENGINE = ReplacingMergeTree
ORDER BY (topic_id, partition, first, next)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS gaps_final AS SELECT * FROM gaps FINAL;
