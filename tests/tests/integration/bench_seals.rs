//! Leaves a second. Not a test: run it alone, in release.

use std::time::Duration;
use tally_tests::{ClickHouse, Tally, TempFolder};

const SOON: Duration = Duration::from_secs(120);

/// Scenario: a million rows, made by ClickHouse itself, are sealed and verified.
/// Prints leaves a second of each. Not a test: run it alone, in release.
#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_seal() {
    let database = ClickHouse::shared().database();
    let at = ["--clickhouse", database.url(), "--database", database.name()];
    Tally::spawn(&[&["migrate"][..], &at].concat(), &[]).expect_success(SOON);
    let fill = "INSERT INTO audit_log SELECT 'task-events', toUUID('00000000-0000-4000-8000-000000000001'), number % 4,
        intDiv(number, 4), toDateTime64(1767225600 + intDiv(number, 1000), 3, 'UTC'), 'ACCEPTED', '', 'task-events.v2', 250,
        SHA256(toString(number)), SHA256(concat('c', toString(number))), generateUUIDv4(),
        toDateTime64(1767225600 + intDiv(number, 1000), 6, 'UTC'), 'task-service', 'PROGRESSED', 'GENERAL_USE',
        concat('actor-', toString(number % 1000)), 'SERVICE', toString(generateUUIDv4()), '', '', '', '', '', ''
        FROM numbers(4000000)";
    database.query(fill);
    let folder = TempFolder::new("bench-seal");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    Tally::spawn(&["seal", "keygen", "--out", &path("key")], &[]).expect_success(SOON);
    let timed = |command: &[&str], code: i32| {
        let start = std::time::Instant::now();
        let log = path("log");
        let arguments = [command, &at, &["--seals", &log]].concat();
        let ended = Tally::spawn(&arguments, &[]).expect_code(code, Duration::from_secs(600));
        (start.elapsed().as_secs_f64(), ended.stdout)
    };
    let (seconds, _) = timed(&["seal", "--key", &path("key")], 0);
    println!("seal: 4000000 leaves in {seconds:.2} s, {:.0} leaves/s", 4e6 / seconds);
    let (seconds, said) =
        timed(&["verify", "--keys", &path("key.pub"), "--since", "2099-01-01T00:00:00Z"], 2);
    println!("verify, nothing in scope: {seconds:.2} s: {said}");
}
