//! Rows for the benches of audit and seals, made by ClickHouse itself: tasks, each with its first event and the receipt of it.
//! They are whole and honest: facts give their digests, receipts theirs, so that every job and `tally verify` find nothing.

use std::time::Duration;
use tally_tests::{Database, Tally};

/// One step of a bench.
pub(super) const STEP: Duration = Duration::from_secs(900);
/// Rows of one INSERT.
const INSERT_ROWS: u32 = 1_000_000;
/// Partitions of the topic.
const PARTITIONS: u32 = 4;

/// The content digest as `schemas/src/digest.rs` describes it, in ClickHouse's words. The audience is the default and left out.
const DIGEST: &str = "SHA256(concat('tally content 1\\ntask-events\\n', char(1), UUIDStringToNum(toString(event_id)),
    char(2), reinterpretAsFixedString(toUnixTimestamp64Micro(occurred_at)), char(3), sized(source), char(4), sized(policy_tag),
    char(5), sized(actor_id), char(6), sized(actor_role), char(16), sized(task_id), char(18), sized(user_id), char(48), sized(kind),
    char(49), sized(queue), char(51), reinterpretAsFixedString(state_version)))";

/// Migrates a database and fills it with so many tasks over thirty days. The topic has ended, so windows are closed.
pub(super) fn fill(database: &Database<'_>, tasks: u32) {
    let at = ["--clickhouse", database.url(), "--database", database.name()];
    Tally::spawn(&[&["migrate"][..], &at].concat(), &[]).expect_success(STEP);
    let columns = "topic, topic_id, partition, offset, appended_at, occurred_at, event_id, source, kind, policy_tag, actor_id,
        actor_role, task_id, user_id, digest";
    for first in (0..tasks).step_by(INSERT_ROWS as usize) {
        let rows = row(first, INSERT_ROWS.min(tasks - first), tasks);
        let (receipt, fact) =
            ("disposition, schema, raw_bytes, raw_sha256", "queue, state_version, audience, rank");
        database.query(&format!(
            "INSERT INTO audit_log ({columns}, {receipt}) {rows} SELECT {columns},
            'ACCEPTED', 'avro:60670b160d8753a1', 250, SHA256(toString(number)) FROM hashed"
        ));
        database.query(&format!("INSERT INTO task_events ({columns}, {fact}) {rows} SELECT {columns}, queue, state_version, 'CUSTOMER',
            bitNot(bitOr(bitShiftLeft(toUInt64(toUnixTimestamp64Milli(appended_at)), 22), toUInt64(offset))) FROM hashed"));
    }
    for partition in 0..PARTITIONS {
        let taken = (tasks + PARTITIONS - 1 - partition) / PARTITIONS;
        database.query(&format!(
            "INSERT INTO partition_heads SELECT 'task-events', toUUID('00000000-0000-4000-8000-000000000001'),
             {partition}, 0, {taken}, {taken}, now64(3), 1"
        ));
    }
}

fn row(first: u32, count: u32, of: u32) -> String {
    let digest = DIGEST;
    format!(
        "WITH (x -> concat(reinterpretAsFixedString(toUInt32(length(x))), x)) AS sized, rows AS (
            SELECT number, 'task-events' AS topic, toUUID('00000000-0000-4000-8000-000000000001') AS topic_id,
                toInt32(number % {PARTITIONS}) AS partition, toInt64(intDiv(number, {PARTITIONS})) AS offset,
                fromUnixTimestamp64Milli(toInt64(1767225600000 + intDiv(number * 2592000000, {of})), 'UTC') AS appended_at,
                toDateTime64(appended_at, 6, 'UTC') AS occurred_at, reinterpretAsUUID(sipHash128(number, 'event')) AS event_id,
                'task-service' AS source, 'SUBMITTED' AS kind, ['GENERAL_USE', 'BILLING', 'PRIVACY'][number % 3 + 1] AS policy_tag,
                concat('actor-', toString(number % 1000)) AS actor_id, 'BUYER' AS actor_role,
                concat('task-', lower(hex(sipHash128(number)))) AS task_id, concat('user-', toString(number % 100000)) AS user_id,
                'NORMAL' AS queue, toInt64(1) AS state_version
            FROM numbers({first}, {count})
        ), hashed AS (SELECT *, {digest} AS digest FROM rows)"
    )
}
