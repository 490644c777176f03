//! Pages over ten million rows: every panel's question, asked through the API as a page asks it, within a second.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::{Duration, Instant};

use tally_dashboards::identity::Role;
use tally_dashboards::panel::panels;
use tally_tests::service::Service;
use tally_tests::{ClickHouse, Database, Tally, TempFolder};

/// Facts, and as many receipts; `TALLY_BENCH_EVENTS` asks for others.
const ROWS: u64 = 10_000_000;
/// What each question may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Times that each is asked; the median counts.
const ROUNDS: usize = 5;
/// Copies of the demo lie side by side over so many days.
const DAYS: u64 = 30;
/// Rows of one INSERT, about: as many as a lane's larger blocks make in a minute.
const INSERT_ROWS: u64 = 500_000;
/// One step of the bench.
const STEP: Duration = Duration::from_secs(900);

/// Texts that name somebody or something: a copy has its own.
const IDS: [&str; 13] = [
    "task_id",
    "wallet_id",
    "user_id",
    "license_id",
    "case_id",
    "estimate_id",
    "order_id",
    "idempotency_key",
    "trace_id",
    "actor_id",
    "grantee_id",
    "reporter_id",
    "key",
];

/// Columns of a table.
fn columns(database: &Database<'_>, table: &str) -> Vec<(String, String)> {
    let sql = format!(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = '{table}' AND default_kind IN ('', 'DEFAULT') ORDER BY position"
    );
    let told = database.query(&sql);
    told.lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect()
}

/// The rows of a table as copy `n` has them: its own ids, its own stretch of time, its own offsets.
fn copied(columns: &[(String, String)], spread_s: u64) -> String {
    let shift = format!("toIntervalSecond(n * {spread_s})");
    let one = |(name, kind): &(String, String)| match name.as_str() {
        "occurred_at" | "appended_at" | "sla_due_at" | "expires_at" => format!("{name} - {shift}"),
        "event_id" if kind == "UUID" => {
            "reinterpretAsUUID(bitXor(reinterpretAsUInt128(event_id), toUInt128(n)))".to_owned()
        }
        "offset" => "offset + n * 1000000000".to_owned(),
        name if IDS.contains(&name) && kind == "String" => {
            format!("if({name} = '', '', concat({name}, '~', toString(n)))")
        }
        _ => name.clone(),
    };
    columns.iter().map(|column| format!("{} AS {}", one(column), column.0)).collect::<Vec<_>>().join(", ")
}

fn count(database: &Database<'_>, table: &str) -> u64 {
    database.query(&format!("SELECT count() FROM {table}")).trim().parse().expect("a number")
}

/// Multiplies what a demo stored until there are about so many facts.
fn multiply(database: &Database<'_>, rows: u64) {
    const FACTS: [&str; 4] = ["credit_events", "license_events", "task_events", "moderation_events"];
    let of_demo: u64 = FACTS.iter().map(|table| count(database, table)).sum();
    let copies = rows.div_ceil(of_demo.max(1));
    let spread_s = (DAYS * 86_400 / copies).max(1);
    for table in FACTS.iter().chain(&["audit_log"]) {
        // moved aside, so that a copy is never copied again
        database.query(&format!(
            "CREATE TABLE one_{table} ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM {table}"
        ));
        let named = columns(database, table);
        let names = named.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let at_once = (INSERT_ROWS / count(database, table).max(1)).max(1);
        let mut first = 1;
        while first < copies {
            let some = at_once.min(copies - first);
            let select = copied(&named, spread_s);
            database.query(&format!(
                "INSERT INTO {table} ({names}) SELECT {select} FROM one_{table} CROSS JOIN (SELECT toInt64(number) AS n FROM numbers({first}, {some})) AS copies SETTINGS max_partitions_per_insert_block = 1000"
            ));
            first += some;
        }
        database.query(&format!("DROP TABLE one_{table}"));
    }
}

/// Scenario: a demo's data thirty days long, ten million facts and as many receipts; each panel is asked over a day and over thirty.
/// Guarantees: every question is answered within a second.
#[test]
#[ignore = "a bench: make bench"]
fn bench_pages() {
    let rows = std::env::var("TALLY_BENCH_EVENTS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(ROWS);
    let folder = TempFolder::new("bench-pages");
    let data = folder.path().to_str().expect("paths in tests are text");
    Tally::spawn(&["demo", "--seconds", "20", "--rate", "2000", "--data", data], &[]).expect_success(STEP);
    let store = ClickHouse::start(folder.path());
    let database = store.open("tally");
    let began = Instant::now();
    multiply(&database, rows);
    let facts = ["credit_events", "license_events", "task_events", "moderation_events"]
        .map(|table| count(&database, table));
    println!(
        "{} facts ({facts:?}), {} receipts, made in {:?}",
        facts.iter().sum::<u64>(),
        count(&database, "audit_log"),
        began.elapsed()
    );

    let service =
        Service::start(&database, &["--requests-per-s-max", "10000", "--requests-burst-max", "10000"]);
    let last: i64 = database
        .query("SELECT toUnixTimestamp(max(appended_at)) + 1 FROM audit_log")
        .trim()
        .parse()
        .expect("seconds");
    let at = |seconds: i64| tally_queries::audit::result::moment(seconds * 1_000_000);
    let one = |column: &str| {
        database
            .query(&format!("SELECT any({column}) FROM task_events WHERE {column} != ''"))
            .trim()
            .to_owned()
    };
    let (buyer, creator) = (one("user_id"), one("creator_id"));
    let mut late = Vec::new();
    println!("{:<12} {:<32} {:>9} {:>9}", "page", "panel", "a day", "30 days");
    for panel in panels() {
        let subject = match panel.roles[0] {
            Role::Buyer => &buyer,
            Role::Creator => &creator,
            _ => "ops",
        };
        let medians = [1, 30].map(|days| {
            let mut times: Vec<Duration> = (0..ROUNDS)
                .map(|round| {
                    // another range each time: what was asked before is answered from memory
                    let to = last - i64::try_from(round).expect("few rounds");
                    let from = to - days * 86_400;
                    let path = format!("/api/v1/panels/{}?from={}&to={}", panel.id, at(from), at(to));
                    let token = service.token(panel.roles[0], subject);
                    let began = Instant::now();
                    let answer = service.get(&path, &token);
                    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
                    began.elapsed()
                })
                .collect();
            times.sort();
            times[ROUNDS / 2]
        });
        println!(
            "{:<12} {:<32} {:>6} ms {:>6} ms",
            panel.page,
            panel.id,
            medians[0].as_millis(),
            medians[1].as_millis()
        );
        late.extend(
            medians
                .iter()
                .filter(|took| **took > ANSWER_MAX)
                .map(|took| format!("{} took {took:?}", panel.id)),
        );
    }
    assert!(late.is_empty(), "above a second: {late:#?}");
}
