-- Facts: one table a topic, one row an event, under the key of its identity.
-- An absent text is '', an absent symbol is number 0. The engine keeps, of rows with one key, the earliest
-- append (rank falls as append time and offset rise): so a replay at any age, or a late insert, changes nothing.
-- Columns follow the newest contract of the topic; a test holds them together.

-- shard by cityHash64(event_id)
CREATE TABLE IF NOT EXISTS credit_events
(
    event_id                 UUID,
    occurred_at              DateTime64(6, 'UTC'),
    source                   LowCardinality(String),
    policy_tag               Enum8('GENERAL_USE'=1, 'COPYRIGHT'=2, 'TRADEMARK'=3, 'LIKENESS'=4, 'PRIVACY'=5, 'MINOR_SAFETY'=6, 'ADULT_CONTENT'=7, 'VIOLENCE'=8, 'HATE_SPEECH'=9, 'SELF_HARM'=10, 'POLITICAL'=11, 'MEDICAL'=12, 'FINANCIAL_ADVICE'=13, 'FRAUD'=14, 'LICENSE_TERMS'=15, 'BILLING'=16),
    actor_id                 String,
    actor_role               Enum8('CREATOR'=1, 'BUYER'=2, 'MODERATOR'=3, 'ADMIN'=4, 'SERVICE'=5),
    trace_id                 String,
    task_id                  String,
    wallet_id                String,
    user_id                  String,
    creator_id               String,
    license_id               String,
    template_id              String,
    case_id                  String,
    kind                     Enum8('ESTIMATED'=1, 'HELD'=2, 'HOLD_FAILED'=3, 'CHARGED'=4, 'SUPPLEMENT_REQUESTED'=5, 'SUPPLEMENT_CHARGED'=6, 'SUPPLEMENT_DECLINED'=7, 'REFUNDED'=8, 'ROLLED_BACK'=9, 'PURCHASED'=10, 'ATTEMPTED'=11),
    amount_micros            Int64,
    estimate_id              String,
    queue                    Enum8(''=0, 'NORMAL'=1, 'ACCELERATED'=2),
    refund_reason            Enum8(''=0, 'OVERCHARGE'=1, 'TASK_FAILED'=2, 'GOODWILL'=3, 'ROLLBACK'=4),
    price_minor              Nullable(Int64),
    currency                 LowCardinality(String),
    order_id                 String,
    gift                     Nullable(Bool),
    balance_after_micros     Nullable(Int64),
    endpoint                 Enum8(''=0, 'CREDITS_ESTIMATE'=1, 'CREDITS_CHARGE'=2, 'CREDITS_REFUND'=3, 'LICENSES_CHECK'=4),
    outcome                  Enum8(''=0, 'OK'=1, 'REJECTED'=2, 'ERROR'=3, 'TIMEOUT'=4),
    http_status              Nullable(Int32),
    error_code               LowCardinality(String),
    latency_ms               Nullable(Int64),
    attempt                  Nullable(Int32),
    idempotency_key          String,
    audience                 Enum8('CUSTOMER'=1, 'TEST'=2, 'STAFF'=3, 'CANARY'=4),
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    offset                   Int64,
    appended_at              DateTime64(3, 'UTC'),
    digest                   FixedString(32),
    rank                     UInt64,
    INDEX task_id_bloom task_id TYPE bloom_filter GRANULARITY 1,
    INDEX wallet_id_bloom wallet_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (toDate(occurred_at), source, event_id, digest)
SETTINGS non_replicated_deduplication_window = 10000;

-- equal keys have equal occurred_at, so FINAL need not merge across partitions
CREATE VIEW IF NOT EXISTS credit_events_final AS SELECT * FROM credit_events FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- shard by cityHash64(event_id)
CREATE TABLE IF NOT EXISTS license_events
(
    event_id                 UUID,
    occurred_at              DateTime64(6, 'UTC'),
    source                   LowCardinality(String),
    policy_tag               Enum8('GENERAL_USE'=1, 'COPYRIGHT'=2, 'TRADEMARK'=3, 'LIKENESS'=4, 'PRIVACY'=5, 'MINOR_SAFETY'=6, 'ADULT_CONTENT'=7, 'VIOLENCE'=8, 'HATE_SPEECH'=9, 'SELF_HARM'=10, 'POLITICAL'=11, 'MEDICAL'=12, 'FINANCIAL_ADVICE'=13, 'FRAUD'=14, 'LICENSE_TERMS'=15, 'BILLING'=16),
    actor_id                 String,
    actor_role               Enum8('CREATOR'=1, 'BUYER'=2, 'MODERATOR'=3, 'ADMIN'=4, 'SERVICE'=5),
    trace_id                 String,
    task_id                  String,
    wallet_id                String,
    user_id                  String,
    creator_id               String,
    license_id               String,
    template_id              String,
    case_id                  String,
    kind                     Enum8('CHECKED'=1, 'GRANTED'=2, 'REVOKED'=3, 'EXPIRED'=4, 'QUOTA_CHANGED'=5, 'ATTEMPTED'=6),
    check_result             Enum8(''=0, 'ALLOWED'=1, 'DENIED'=2, 'EXPIRED'=3, 'QUOTA_EXHAUSTED'=4),
    grantee_id               String,
    quota_remaining_micros   Nullable(Int64),
    expires_at               Nullable(DateTime64(6, 'UTC')),
    endpoint                 Enum8(''=0, 'CREDITS_ESTIMATE'=1, 'CREDITS_CHARGE'=2, 'CREDITS_REFUND'=3, 'LICENSES_CHECK'=4),
    outcome                  Enum8(''=0, 'OK'=1, 'REJECTED'=2, 'ERROR'=3, 'TIMEOUT'=4),
    http_status              Nullable(Int32),
    error_code               LowCardinality(String),
    latency_ms               Nullable(Int64),
    attempt                  Nullable(Int32),
    idempotency_key          String,
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    offset                   Int64,
    appended_at              DateTime64(3, 'UTC'),
    digest                   FixedString(32),
    rank                     UInt64,
    INDEX license_id_bloom license_id TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_bloom task_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (toDate(occurred_at), source, event_id, digest)
SETTINGS non_replicated_deduplication_window = 10000;

-- equal keys have equal occurred_at, so FINAL need not merge across partitions
CREATE VIEW IF NOT EXISTS license_events_final AS SELECT * FROM license_events FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- shard by cityHash64(event_id)
CREATE TABLE IF NOT EXISTS task_events
(
    event_id                 UUID,
    occurred_at              DateTime64(6, 'UTC'),
    source                   LowCardinality(String),
    policy_tag               Enum8('GENERAL_USE'=1, 'COPYRIGHT'=2, 'TRADEMARK'=3, 'LIKENESS'=4, 'PRIVACY'=5, 'MINOR_SAFETY'=6, 'ADULT_CONTENT'=7, 'VIOLENCE'=8, 'HATE_SPEECH'=9, 'SELF_HARM'=10, 'POLITICAL'=11, 'MEDICAL'=12, 'FINANCIAL_ADVICE'=13, 'FRAUD'=14, 'LICENSE_TERMS'=15, 'BILLING'=16),
    actor_id                 String,
    actor_role               Enum8('CREATOR'=1, 'BUYER'=2, 'MODERATOR'=3, 'ADMIN'=4, 'SERVICE'=5),
    trace_id                 String,
    task_id                  String,
    wallet_id                String,
    user_id                  String,
    creator_id               String,
    license_id               String,
    template_id              String,
    case_id                  String,
    kind                     Enum8('SUBMITTED'=1, 'QUEUED'=2, 'STARTED'=3, 'PROGRESSED'=4, 'ACCELERATION_OFFERED'=5, 'ACCELERATED'=6, 'SUPPLEMENT_REQUIRED'=7, 'SUPPLEMENT_SETTLED'=8, 'PAUSED'=9, 'RESUMED'=10, 'SUCCEEDED'=11, 'FAILED'=12, 'CANCELLED'=13, 'ROLLED_BACK'=14),
    queue                    Enum8('NORMAL'=1, 'ACCELERATED'=2),
    progress_permille        Nullable(Int32),
    state_version            Int64,
    error_code               LowCardinality(String),
    audience                 Enum8('CUSTOMER'=1, 'TEST'=2, 'STAFF'=3, 'CANARY'=4),
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    offset                   Int64,
    appended_at              DateTime64(3, 'UTC'),
    digest                   FixedString(32),
    rank                     UInt64,
    INDEX task_id_bloom task_id TYPE bloom_filter GRANULARITY 1,
    INDEX user_id_bloom user_id TYPE bloom_filter GRANULARITY 1,
    INDEX template_id_bloom template_id TYPE bloom_filter GRANULARITY 1,
    INDEX license_id_bloom license_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (toDate(occurred_at), source, event_id, digest)
SETTINGS non_replicated_deduplication_window = 10000;

-- equal keys have equal occurred_at, so FINAL need not merge across partitions
CREATE VIEW IF NOT EXISTS task_events_final AS SELECT * FROM task_events FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;

-- shard by cityHash64(event_id)
CREATE TABLE IF NOT EXISTS moderation_events
(
    event_id                 UUID,
    occurred_at              DateTime64(6, 'UTC'),
    source                   LowCardinality(String),
    policy_tag               Enum8('GENERAL_USE'=1, 'COPYRIGHT'=2, 'TRADEMARK'=3, 'LIKENESS'=4, 'PRIVACY'=5, 'MINOR_SAFETY'=6, 'ADULT_CONTENT'=7, 'VIOLENCE'=8, 'HATE_SPEECH'=9, 'SELF_HARM'=10, 'POLITICAL'=11, 'MEDICAL'=12, 'FINANCIAL_ADVICE'=13, 'FRAUD'=14, 'LICENSE_TERMS'=15, 'BILLING'=16),
    actor_id                 String,
    actor_role               Enum8('CREATOR'=1, 'BUYER'=2, 'MODERATOR'=3, 'ADMIN'=4, 'SERVICE'=5),
    trace_id                 String,
    task_id                  String,
    wallet_id                String,
    user_id                  String,
    creator_id               String,
    license_id               String,
    template_id              String,
    case_id                  String,
    kind                     Enum8('REPORTED'=1, 'QUEUED'=2, 'REVIEW_STARTED'=3, 'DECIDED'=4, 'APPEALED'=5, 'ESCALATED'=6, 'CLOSED'=7),
    risk_level               Enum8('LOW'=1, 'MEDIUM'=2, 'HIGH'=3, 'CRITICAL'=4),
    decision                 Enum8(''=0, 'APPROVED'=1, 'RESTRICTED'=2, 'REMOVED'=3, 'LICENSE_REVOKED'=4, 'DISMISSED'=5),
    sla_due_at               Nullable(DateTime64(6, 'UTC')),
    topic                    LowCardinality(String),
    topic_id                 UUID,
    partition                Int32,
    offset                   Int64,
    appended_at              DateTime64(3, 'UTC'),
    digest                   FixedString(32),
    rank                     UInt64,
    INDEX case_id_bloom case_id TYPE bloom_filter GRANULARITY 1,
    INDEX task_id_bloom task_id TYPE bloom_filter GRANULARITY 1
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(occurred_at)
ORDER BY (toDate(occurred_at), source, event_id, digest)
SETTINGS non_replicated_deduplication_window = 10000;

-- equal keys have equal occurred_at, so FINAL need not merge across partitions
CREATE VIEW IF NOT EXISTS moderation_events_final AS SELECT * FROM moderation_events FINAL SETTINGS do_not_merge_across_partitions_select_final = 1;
