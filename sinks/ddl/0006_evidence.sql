-- What `tally verify` found, a row a run: pages say when that was, and what it said. report is what `tally verify --json` prints.
-- Whoever writes here could have written VERIFIED; what the row is worth is said by running `tally verify`.
-- shard by cityHash64(verification_id)
CREATE TABLE IF NOT EXISTS verifications
(
    verification_id          UUID,
    verified_at              DateTime64(6, 'UTC'),
    verdict                  Enum8('VERIFIED'=1, 'TAMPERED'=2, 'INCOMPLETE'=3, 'UNCHECKED'=4),
    scope                    LowCardinality(String),
    against_kafka            Bool,
    leaves                   UInt64,
    facts                    UInt64,
    unsealed                 UInt64,
    findings                 UInt64,
    signers                  String,
    report                   String
)
ENGINE = ReplacingMergeTree
ORDER BY (verified_at, verification_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS verifications_final AS SELECT * FROM verifications FINAL;

-- Dead letters that somebody published again: the letter's coordinates, who asked for it, and where the record went. A row is there
-- before anything is published, REQUESTED; what became of it replaces it. No payload.
-- shard by cityHash64(topic_id, partition)
CREATE TABLE IF NOT EXISTS dead_replays
(
    replay_id                UUID,
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    offset                   Int64,
    attempt                  UInt32,
    requested_at             DateTime64(6, 'UTC'),
    requested_by             String,
    state                    Enum8('REQUESTED'=1, 'PUBLISHED'=2, 'NOT_TAKEN'=3),
    published_partition      Nullable(Int32),
    published_offset         Nullable(Int64),
    version                  UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (topic_id, partition, offset, replay_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS dead_replays_final AS SELECT * FROM dead_replays FINAL;
