-- Tokens and subjects that were revoked, and revocations that were lifted: the latest row of a value counts, all are kept.
-- Every replica of the service reads this table again and again; value is a token's id (jti) or a subject (sub), never a token.
-- shard by cityHash64(kind, value)
CREATE TABLE IF NOT EXISTS revocations
(
    kind                     Enum8('TOKEN'=1, 'SUBJECT'=2),
    value                    String,
    revoked_at               DateTime64(6, 'UTC'),
    lifted                   Bool,
    reason                   String,
    revoked_by               String
)
ENGINE = ReplacingMergeTree
ORDER BY (kind, value, revoked_at, lifted)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE VIEW IF NOT EXISTS revocations_final AS SELECT * FROM revocations FINAL;
