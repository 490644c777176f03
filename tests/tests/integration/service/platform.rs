//! A small platform, written row by row: two buyers, two creators, two moderators, and what is whose.

use tally_tests::{ClickHouse, Database, Tally};

/// The tables, and nothing in them.
///
/// # Panics
/// When they are refused.
pub(super) fn tables() -> Database<'static> {
    let database = ClickHouse::shared().database();
    let at = ["migrate", "--clickhouse", database.url(), "--database", database.name()];
    Tally::spawn(&at, &[]).expect_success(std::time::Duration::from_secs(60));
    database
}

/// The tables, and this in them:
/// - buyer `ann` (wallet `w-ann`) runs `t-ann` on the template of `cleo` under `l-cleo`, and `t-free` on that of `carl` under none;
/// - buyer `bob` (wallet `w-bob`) runs `t-bob` on the template of `carl` under `l-carl`;
/// - case `k-ann` about `t-ann` is in review by `mia`; case `k-bob` about `t-bob` was decided by `max`;
/// - one dead letter, one result of a job, one seal, one delivery.
///
/// # Panics
/// When a row is refused.
pub(super) fn platform() -> Database<'static> {
    let database = tables();
    for statement in ROWS.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        database.query(statement);
    }
    database
}

/// Times lie in June 2026; `event_id`s end in the number of their line here.
const ROWS: &str = "
INSERT INTO task_events (event_id, occurred_at, appended_at, source, policy_tag, actor_id, actor_role, task_id, wallet_id, user_id, creator_id, license_id, template_id, kind, queue, progress_permille, state_version, error_code, audience, topic, offset) VALUES
('00000000-0000-7000-8000-000000000101', '2026-06-01 10:00:00.000000', '2026-06-01 10:00:00.100', 'tasks', 'COPYRIGHT', 'ann', 'BUYER', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'SUBMITTED', 'NORMAL', NULL, 1, '', 'CUSTOMER', 'task-events', 1),
('00000000-0000-7000-8000-000000000102', '2026-06-01 10:00:10.000000', '2026-06-01 10:00:10.100', 'tasks', 'COPYRIGHT', 'svc', 'SERVICE', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'QUEUED', 'NORMAL', NULL, 2, '', 'CUSTOMER', 'task-events', 2),
('00000000-0000-7000-8000-000000000103', '2026-06-01 10:01:00.000000', '2026-06-01 10:01:00.100', 'tasks', 'COPYRIGHT', 'svc', 'SERVICE', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'STARTED', 'NORMAL', 250, 3, '', 'CUSTOMER', 'task-events', 3),
('00000000-0000-7000-8000-000000000104', '2026-06-01 10:02:00.000000', '2026-06-01 10:02:00.100', 'tasks', 'COPYRIGHT', 'svc', 'SERVICE', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'ACCELERATION_OFFERED', 'NORMAL', NULL, 4, '', 'CUSTOMER', 'task-events', 4),
('00000000-0000-7000-8000-000000000105', '2026-06-01 10:03:00.000000', '2026-06-01 10:03:00.100', 'tasks', 'COPYRIGHT', 'svc', 'SERVICE', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'SUPPLEMENT_REQUIRED', 'NORMAL', NULL, 5, '', 'CUSTOMER', 'task-events', 5),
('00000000-0000-7000-8000-000000000106', '2026-06-01 10:30:00.000000', '2026-06-01 10:30:00.100', 'tasks', 'GENERAL_USE', 'ann', 'BUYER', 't-free', 'w-ann', 'ann', 'carl', '', 'tp-carl', 'SUBMITTED', 'ACCELERATED', NULL, 1, '', 'CUSTOMER', 'task-events', 6),
('00000000-0000-7000-8000-000000000107', '2026-06-01 11:00:00.000000', '2026-06-01 11:00:00.100', 'tasks', 'PRIVACY', 'bob', 'BUYER', 't-bob', 'w-bob', 'bob', 'carl', 'l-carl', 'tp-carl', 'SUBMITTED', 'NORMAL', NULL, 1, '', 'CUSTOMER', 'task-events', 7),
('00000000-0000-7000-8000-000000000108', '2026-06-01 11:10:00.000000', '2026-06-01 11:10:00.100', 'tasks', 'PRIVACY', 'svc', 'SERVICE', 't-bob', 'w-bob', 'bob', 'carl', 'l-carl', 'tp-carl', 'FAILED', 'NORMAL', NULL, 2, 'out_of_memory', 'CUSTOMER', 'task-events', 8);
INSERT INTO credit_events (event_id, occurred_at, appended_at, source, policy_tag, actor_id, actor_role, task_id, wallet_id, user_id, creator_id, license_id, template_id, kind, amount_micros, price_minor, currency, order_id, balance_after_micros, endpoint, outcome, http_status, audience, topic, offset) VALUES
('00000000-0000-7000-8000-000000000201', '2026-06-01 09:00:00.000000', '2026-06-01 09:00:00.100', 'billing', 'BILLING', 'ann', 'BUYER', '', 'w-ann', 'ann', '', '', '', 'PURCHASED', 9007199254740993, 1999, 'EUR', 'o-ann', 9007199254740993, '', '', NULL, 'CUSTOMER', 'credit-events', 1),
('00000000-0000-7000-8000-000000000202', '2026-06-01 10:00:20.000000', '2026-06-01 10:00:20.100', 'billing', 'BILLING', 'svc', 'SERVICE', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'CHARGED', 3000000, NULL, '', '', 9007199251740993, 'CREDITS_CHARGE', 'OK', 200, 'CUSTOMER', 'credit-events', 2),
('00000000-0000-7000-8000-000000000203', '2026-06-01 10:03:10.000000', '2026-06-01 10:03:10.100', 'billing', 'BILLING', 'svc', 'SERVICE', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'SUPPLEMENT_REQUESTED', 500000, NULL, '', '', NULL, '', '', NULL, 'CUSTOMER', 'credit-events', 3),
('00000000-0000-7000-8000-000000000204', '2026-06-01 10:03:20.000000', '2026-06-01 10:03:20.100', 'billing', 'BILLING', 'svc', 'SERVICE', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'ATTEMPTED', 0, NULL, '', '', NULL, 'CREDITS_CHARGE', 'ERROR', 503, 'CUSTOMER', 'credit-events', 4),
('00000000-0000-7000-8000-000000000205', '2026-06-01 09:30:00.000000', '2026-06-01 09:30:00.100', 'billing', 'BILLING', 'bob', 'BUYER', '', 'w-bob', 'bob', '', '', '', 'PURCHASED', 5000000, 500, 'USD', 'o-bob', 5000000, '', '', NULL, 'CUSTOMER', 'credit-events', 5),
('00000000-0000-7000-8000-000000000206', '2026-06-01 11:11:00.000000', '2026-06-01 11:11:00.100', 'billing', 'BILLING', 'svc', 'SERVICE', 't-bob', 'w-bob', 'bob', 'carl', 'l-carl', 'tp-carl', 'REFUNDED', 1000000, NULL, '', '', 6000000, 'CREDITS_REFUND', 'OK', 200, 'CUSTOMER', 'credit-events', 6);
INSERT INTO license_events (event_id, occurred_at, appended_at, source, policy_tag, actor_id, actor_role, task_id, user_id, creator_id, license_id, template_id, kind, grantee_id, check_result, quota_remaining_micros, topic, offset) VALUES
('00000000-0000-7000-8000-000000000301', '2026-06-01 08:00:00.000000', '2026-06-01 08:00:00.100', 'licensing', 'LICENSE_TERMS', 'cleo', 'CREATOR', '', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'GRANTED', 'ann', '', 7000000, 'license-events', 1),
('00000000-0000-7000-8000-000000000302', '2026-06-01 09:59:00.000000', '2026-06-01 09:59:00.100', 'licensing', 'LICENSE_TERMS', 'svc', 'SERVICE', 't-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'CHECKED', '', 'ALLOWED', NULL, 'license-events', 2),
('00000000-0000-7000-8000-000000000303', '2026-06-01 08:30:00.000000', '2026-06-01 08:30:00.100', 'licensing', 'LICENSE_TERMS', 'carl', 'CREATOR', '', 'bob', 'carl', 'l-carl', 'tp-carl', 'GRANTED', 'bob', '', 9000000, 'license-events', 3);
INSERT INTO moderation_events (event_id, occurred_at, appended_at, source, policy_tag, actor_id, actor_role, task_id, wallet_id, user_id, creator_id, license_id, template_id, case_id, kind, risk_level, decision, sla_due_at, topic, offset) VALUES
('00000000-0000-7000-8000-000000000401', '2026-06-01 12:00:00.000000', '2026-06-01 12:00:00.100', 'moderation', 'COPYRIGHT', 'reporter-rae', 'CREATOR', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'k-ann', 'REPORTED', 'HIGH', '', '2026-06-02 12:00:00.000000', 'moderation-events', 1),
('00000000-0000-7000-8000-000000000402', '2026-06-01 12:10:00.000000', '2026-06-01 12:10:00.100', 'moderation', 'COPYRIGHT', 'mia', 'MODERATOR', 't-ann', 'w-ann', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'k-ann', 'REVIEW_STARTED', 'HIGH', '', NULL, 'moderation-events', 2),
('00000000-0000-7000-8000-000000000403', '2026-06-01 13:00:00.000000', '2026-06-01 13:00:00.100', 'moderation', 'PRIVACY', 'reporter-rae', 'CREATOR', 't-bob', 'w-bob', 'bob', 'carl', 'l-carl', 'tp-carl', 'k-bob', 'REPORTED', 'LOW', '', '2026-06-03 13:00:00.000000', 'moderation-events', 3),
('00000000-0000-7000-8000-000000000404', '2026-06-01 13:10:00.000000', '2026-06-01 13:10:00.100', 'moderation', 'PRIVACY', 'max', 'MODERATOR', 't-bob', 'w-bob', 'bob', 'carl', 'l-carl', 'tp-carl', 'k-bob', 'REVIEW_STARTED', 'LOW', '', NULL, 'moderation-events', 4),
('00000000-0000-7000-8000-000000000405', '2026-06-01 13:20:00.000000', '2026-06-01 13:20:00.100', 'moderation', 'PRIVACY', 'max', 'MODERATOR', 't-bob', 'w-bob', 'bob', 'carl', 'l-carl', 'tp-carl', 'k-bob', 'DECIDED', 'LOW', 'RESTRICTED', NULL, 'moderation-events', 5);
INSERT INTO dead_letters (topic, topic_id, partition, offset, appended_at, reason, path, sentence, schema, key, value) VALUES
('task-events', '00000000-0000-4000-8000-000000000001', 0, 42, '2026-06-01 14:00:00.000', 'amount', 'amount_micros', 'below 0', 'avro:1', 't-ann', 'raw secret of ann');
INSERT INTO job_results (job, window_from, window_to, known_at, result_id, restates, verdict, sentence, numerator, denominator, report) VALUES
('completeness', '2026-06-01 00:00:00', '2026-06-02 00:00:00', '2026-06-02 02:00:00', '00000000-0000-4000-8000-000000000501', '00000000-0000-0000-0000-000000000000', 'FAIL', '2 of 3', 2, 3, '{\"job\":\"completeness\",\"verdict\":\"FAIL\"}'),
('completeness', '2026-06-01 00:00:00', '2026-06-02 00:00:00', '2026-06-02 03:00:00', '00000000-0000-4000-8000-000000000502', '00000000-0000-4000-8000-000000000501', 'PASS', '3 of 3', 3, 3, '{\"job\":\"completeness\",\"verdict\":\"PASS\"}');
INSERT INTO seals (origin, leaves, root, key_name, sealed_at, checkpoint, heads) VALUES
('log.test', 5, unhex(repeat('ab', 32)), 'log.test+1', '2026-06-02 04:00:00', 'note', 'heads');
INSERT INTO feed_deliveries (subject, session, event_id, type, topic, partition, offset, appended_at, sent_at, acked_at, version) VALUES
('ann', '00000000-0000-4000-8000-000000000601', '00000000-0000-7000-8000-000000000203', 'credit.supplement_requested.v1', 'credit-events', 0, 3, '2026-06-01 10:03:10.100', '2026-06-01 10:03:10.120', NULL, 1);
";
