//! Pages over ten million rows: every panel's question, every list and timeline within a second, and what a whole page takes.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::time::{Duration, Instant};

use tally_dashboards::identity::Role;
use tally_dashboards::panel::panels;
use tally_tests::service::Service;
use tally_tests::{ClickHouse, Database, Tally, TempFolder, eventually};

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
        "offset" | "origin_offset" => format!("{name} + n * 1000000000"),
        "raw_sha256" | "digest" => format!("SHA256(concat({name}, toString(n)))"),
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
    for table in FACTS.iter().chain(&["audit_log", "dead_letters"]) {
        // moved aside, so that a copy is never copied again
        database.query(&format!(
            "CREATE TABLE one_{table} ENGINE = MergeTree ORDER BY tuple() AS SELECT * FROM {table} FINAL"
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

/// Something that a reader opens, and who they are.
struct Place {
    role: Role,
    subject: String,
    /// As the address has it, without the range.
    path: String,
    /// Pages are signed in to by a cookie, the API by a header.
    is_page: bool,
}

/// Every page, list and timeline, over what is in the database.
fn places(database: &Database<'_>) -> Vec<Place> {
    let one = |sql: &str| database.query(sql).trim().to_owned();
    let any = |column: &str, table: &str| {
        one(&format!("SELECT {column} FROM {table} WHERE {column} LIKE '%~%' LIMIT 1"))
    };
    let (buyer, creator) = (any("user_id", "task_events"), one("SELECT any(creator_id) FROM license_events"));
    let (task, case) = (any("task_id", "task_events"), any("case_id", "moderation_events"));
    let (wallet, license) = (any("wallet_id", "credit_events"), any("license_id", "license_events"));
    let letter = one("SELECT concat(topic, '/', partition, '/', offset) FROM dead_letters LIMIT 1");
    let admin = |path: &str| (Role::Admin, "ops", path.to_owned());
    let moderator = |path: &str| (Role::Moderator, "mod", path.to_owned());
    let pages = [
        admin("/overview"),
        admin("/product"),
        admin("/compliance"),
        moderator("/moderation"),
        moderator(&format!("/case/{case}")),
        admin("/dead"),
        admin(&format!("/dead/{letter}")),
        admin(&format!("/task/{task}")),
        (Role::Creator, &creator, "/creator".to_owned()),
        (Role::Buyer, &buyer, "/my".to_owned()),
    ];
    let lists = [
        admin("/api/v1/tasks"),
        (Role::Buyer, &buyer, "/api/v1/tasks".to_owned()),
        (Role::Creator, &creator, "/api/v1/tasks".to_owned()),
        admin(&format!("/api/v1/tasks/{task}")),
        admin("/api/v1/moderation/cases"),
        admin(&format!("/api/v1/moderation/cases/{case}")),
        admin("/api/v1/dead-letters"),
        admin(&format!("/api/v1/dead-letters/{letter}")),
        admin("/api/v1/deliveries"),
        admin("/api/v1/live"),
        admin("/api/v1/audit/tiling"),
        admin("/api/v1/audit/results"),
        admin("/api/v1/licenses"),
        (Role::Creator, &creator, "/api/v1/licenses".to_owned()),
        admin(&format!("/api/v1/licenses/{license}")),
        admin("/api/v1/wallets"),
        admin(&format!("/api/v1/wallets/{wallet}")),
    ];
    let figures = [
        "revenue",
        "task-success",
        "queues",
        "acceleration",
        "supplements",
        "endpoints",
        "moderation",
        "quotas",
    ];
    let figures = figures.map(|figure| admin(&format!("/api/v1/figures/{figure}")));
    let place = |is_page| {
        move |(role, subject, path): (Role, &str, String)| Place {
            role,
            subject: subject.to_owned(),
            path,
            is_page,
        }
    };
    pages.into_iter().map(place(true)).chain(lists.into_iter().chain(figures).map(place(false))).collect()
}

/// Whether the range is asked for: a timeline has all of its time, a list of what there is has none.
fn takes_range(path: &str) -> bool {
    let without = [
        "/api/v1/live",
        "/api/v1/audit/tiling",
        "/api/v1/licenses",
        "/api/v1/wallets",
        "/api/v1/tasks/",
        "/api/v1/moderation/cases/",
        "/api/v1/dead-letters/",
    ];
    !without.iter().any(|start| path.starts_with(start))
}

/// Scenario: a demo's data thirty days long, ten million facts and as many receipts; each panel, page, list and timeline is asked for,
/// over a day and over thirty.
/// Guarantees: every question is answered within a second. What a whole page takes, a dozen questions side by side, is printed beside it.
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
    // pages are looked at over what has come to rest: merges of a month that was inserted in two minutes would take both cores from them
    let is_quiet = || (database.query("SELECT count() FROM system.merges").trim() == "0").then_some(());
    let resting = Instant::now();
    eventually(STEP, "merges to end", is_quiet);
    println!("merges took {:?} more", resting.elapsed());
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
    let median = |days: i64, ask: &dyn Fn(&str) -> (u16, String)| {
        let mut times: Vec<Duration> = (0..ROUNDS)
            .map(|round| {
                // another range each time: what was asked before is answered from memory
                let to = last - i64::try_from(round).expect("few rounds");
                let range = format!("from={}&to={}", at(to - days * 86_400), at(to));
                let began = Instant::now();
                let (status, said) = ask(&range);
                assert_eq!(status, 200, "{said}");
                began.elapsed()
            })
            .collect();
        times.sort();
        times[ROUNDS / 2]
    };
    let mut late = Vec::new();
    let mut tell = |name: &str, is_judged: bool, medians: [Duration; 2]| {
        let [day, month] = medians.map(|took| took.as_millis());
        println!("{name:<64} {day:>6} ms {month:>6} ms");
        late.extend(
            medians
                .iter()
                .filter(|took| is_judged && **took > ANSWER_MAX)
                .map(|took| format!("{name} took {took:?}")),
        );
    };
    println!("{:<64} {:>9} {:>9}", "", "a day", "30 days");
    let places = places(&database);
    let of = |role: Role| {
        places.iter().find(|place| place.role == role).map_or("ops", |place| place.subject.as_str())
    };
    for panel in panels() {
        let token = service.token(panel.roles[0], of(panel.roles[0]));
        let ask = |range: &str| {
            let answer = service.get(&format!("/api/v1/panels/{}?{range}", panel.id), &token);
            (answer.status, answer.body)
        };
        tell(&format!("panel {}", panel.id), true, [1, 30].map(|days| median(days, &ask)));
    }
    for place in &places {
        let token = service.token(place.role, &place.subject);
        let ask = |range: &str| {
            let path =
                if takes_range(&place.path) { format!("{}?{range}", place.path) } else { place.path.clone() };
            let answer = if place.is_page {
                service.get_with(
                    &path,
                    "",
                    &[("cookie", &format!("__Host-tally={token}")), ("accept", "text/html")],
                )
            } else {
                service.get(&path, &token)
            };
            assert!(!answer.body.contains("class=\"unanswered\""), "{path}: {}", answer.body);
            (answer.status, answer.body)
        };
        let name = format!("{:?} {}", place.role, place.path);
        tell(&name, !place.is_page, [1, 30].map(|days| median(days, &ask)));
    }
    assert!(late.is_empty(), "above a second: {late:#?}");
}
