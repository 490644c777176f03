//! Leaves a second. Not a test: run it alone, in release.

use std::time::{Duration, Instant};
use tally_tests::{ClickHouse, Tally, TempFolder};

/// Rows of the ledger, over four partitions, and as many facts.
const ROWS: u32 = 1_000_000;
const SOON: Duration = Duration::from_secs(600);

/// A million receipts and facts, made by ClickHouse itself, are sealed and verified, twice each.
/// The facts' digests are not those of their contents, since ClickHouse cannot make those: verifying reports each of
/// them, so it exits 1, and takes a little longer than it would.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_seal() {
    let database = ClickHouse::shared().database();
    let at = ["--clickhouse", database.url(), "--database", database.name()];
    Tally::spawn(&[&["migrate"][..], &at].concat(), &[]).expect_success(SOON);
    let row = format!(
        "'task-events' AS topic, toUUID('00000000-0000-4000-8000-000000000001') AS topic_id,
        toInt32(number % 4) AS partition, toInt64(intDiv(number, 4)) AS offset,
        toDateTime64(1767225600 + intDiv(number, 1000), 3, 'UTC') AS appended_at,
        toDateTime64(1767225600 + intDiv(number, 1000), 6, 'UTC') AS occurred_at,
        SHA256(concat('c', toString(number))) AS digest,
        toUUID(UUIDNumToString(CAST(substring(SHA256(toString(number)), 1, 16) AS FixedString(16)))) AS event_id,
        'task-service' AS source, 'PROGRESSED' AS kind, 'GENERAL_USE' AS policy_tag,
        concat('actor-', toString(number % 1000)) AS actor_id, 'SERVICE' AS actor_role,
        concat('task-', toString(number % 90000)) AS task_id
        FROM numbers({ROWS})"
    );
    let columns = "topic, topic_id, partition, offset, appended_at, occurred_at, digest, event_id, source, kind, \
                   policy_tag, actor_id, actor_role, task_id";
    let receipt = "'ACCEPTED' AS disposition, 'avro:60670b160d8753a1' AS schema, 250 AS raw_bytes, digest AS raw_sha256";
    let names = "disposition, schema, raw_bytes, raw_sha256";
    database.query(&format!("INSERT INTO audit_log ({names}, {columns}) SELECT {receipt}, {row}"));
    let fact = "'NORMAL' AS queue, 7 AS state_version, 'CUSTOMER' AS audience,
        bitNot(bitOr(bitShiftLeft(toUInt64(toUnixTimestamp64Milli(appended_at)), 22), toUInt64(offset))) AS rank";
    let names = "queue, state_version, audience, rank";
    database.query(&format!("INSERT INTO task_events ({names}, {columns}) SELECT {fact}, {row}"));

    let folder = TempFolder::new("bench-seal");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    Tally::spawn(&["seal", "keygen", "--out", &path("key")], &[]).expect_success(SOON);
    for round in ["one", "two"] {
        let log = path(round);
        let timed = |command: &[&str], code: i32| {
            let start = Instant::now();
            let arguments = [command, &at, &["--seals", &log]].concat();
            let mut tally = Tally::spawn(&arguments, &[]);
            let said = tally.expect_code(code, SOON).stdout;
            let seconds = start.elapsed().as_secs_f64();
            let last = said.lines().last().unwrap_or_default();
            println!("{}: {seconds:.2} s, {:.0} leaves/s: {last}", command[0], f64::from(ROWS) / seconds);
        };
        timed(&["seal", "--key", &path("key")], 0);
        timed(&["verify", "--keys", &path("key.pub")], 1);
    }
}
