//! Figures over many windows of the accuracy job, with a day to settle as METRICS 2 has it.

use super::ledger::{HOUR, Ledger, MINUTE, Record, T0, decimal, said};
use serde_json::{Value, json};
use tally_dashboards::identity::Role;
use tally_dashboards::panel::panel;
use tally_tests::service::Service;

/// A task that begins so long after the day began and succeeds half an hour later, estimated at 100 micros; charged where it says so.
fn lived(task: &str, queue: &str, after: i64, charged: Option<i64>) -> Vec<Record> {
    let at = T0 + after;
    let kinds = [("SUBMITTED", 0), ("STARTED", 10 * MINUTE), ("SUCCEEDED", 30 * MINUTE)];
    let events = (1..).zip(kinds);
    let one = |(version, (kind, after))| Record::task(task, kind, version, at + after).with("queue", queue);
    let money = |kind, amount: i64, at| {
        let fields = json!({"task_id": task, "wallet_id": "w", "amount_micros": amount, "estimate_id": task});
        Record::credit(kind, at, fields)
    };
    let charge = charged.map(|amount| money("CHARGED", amount, at + 30 * MINUTE));
    events.map(one).chain([money("ESTIMATED", 100, at + MINUTE)]).chain(charge).collect()
}

/// Judges one window and records what is said.
fn judged(ledger: &Ledger, from: &str, to: &str) -> Value {
    let window = ["--from", from, "--to", to];
    said(&[&["audit", "accuracy"][..], &ledger.at(), &window].concat()).result().clone()
}

/// One row of a panel a line: the values of these columns.
fn rows(service: &Service, id: &str, (from, to): (&str, &str), columns: &[&str]) -> Vec<String> {
    let path = format!("/api/v1/panels/{id}?from={from}&to={to}");
    let answer = service.get(&path, &service.token(Role::Admin, "ops"));
    assert_eq!(answer.status, 200, "{id}: {}", answer.body);
    let panel = panel(id).expect("a panel");
    let at = |name: &&str| panel.column(name).unwrap_or_else(|| panic!("{id}: {name}"));
    let line = |row: &Value| {
        let cells = columns.iter().map(|name| row[at(name)].as_str().unwrap_or("-").to_owned());
        cells.collect::<Vec<_>>().join(" ")
    };
    answer.json()["rows"].as_array().expect("rows").iter().map(line).collect()
}

/// Two hours of the first noon and one of the second, each judged when it was closed and the first two once more a day later.
fn three_windows() -> Ledger {
    let mut ledger = Ledger::new();
    let (noon, next) = (12 * HOUR, 36 * HOUR);
    // the first hour: +5 %, +20 %, and +4 % in the other queue; the second: -7 %, exact, and one that is never charged
    ledger.put_all(lived("n-105", "NORMAL", noon, Some(105)));
    ledger.put_all(lived("n-120", "NORMAL", noon + MINUTE, Some(120)));
    ledger.put_all(lived("a-104", "ACCELERATED", noon + MINUTE, Some(104)));
    ledger.put_all(lived("n-93", "NORMAL", noon + HOUR, Some(93)));
    ledger.put_all(lived("n-100", "NORMAL", noon + HOUR, Some(100)));
    ledger.put_all(lived("unpaid", "NORMAL", noon + HOUR, None));
    ledger.seen_at(T0 + 16 * HOUR);
    for (from, to) in [("2026-03-02T12:00", "2026-03-02T13:00"), ("2026-03-02T13:00", "2026-03-02T14:00")] {
        assert_eq!(
            (&judged(&ledger, from, to)["denominator"], from),
            (&json!(0), from),
            "nothing has settled"
        );
    }
    ledger.put_all(lived("new-1", "NORMAL", next, Some(100)));
    ledger.put_all(lived("new-2", "NORMAL", next, Some(500)));
    ledger.seen_at(T0 + 40 * HOUR);
    for (from, to, settled) in [
        ("2026-03-02T12:00", "2026-03-02T13:00", 3),
        ("2026-03-02T13:00", "2026-03-02T14:00", 2),
        ("2026-03-03T12:00", "2026-03-03T13:00", 0),
        ("2026-03-02", "2026-03-02T13:30", 5), // somebody's own, over one and a half of them
    ] {
        assert_eq!(judged(&ledger, from, to)["denominator"], settled, "{from}");
    }
    ledger
}

const WHOLE: (&str, &str) = ("2026-03-02T12:00:00Z", "2026-03-03T14:00:00Z");
const SHARES: [&str; 10] =
    ["queue", "tolerance", "hits", "tasks", "unsettled", "settling", "share", "low", "high", "windows"];
/// By hand: of the four that settled in the normal queue +20 % misses; one more is never charged; the two of the second noon settle yet.
const POOLED: [&str; 2] = ["NORMAL 0.1 3 4 1 2 0.75 0.6 0.8 3", "ACCELERATED 0.05 1 1 0 0 1 1 1 3"];

/// Scenario: hours of tasks that settle a day later, judged and judged again; one run over one and a half of those hours; ranges over all
/// of them, over one, over the newest in which nothing has settled, and before any.
/// Guarantees: counters of the latest version of each window add up, no task counts twice, what settles yet stands apart; a range in
/// which nothing has settled reaches back by its own length; all as counted by hand.
#[test]
fn windows_are_pooled_over_a_range() {
    let ledger = three_windows();
    let service = Service::start(&ledger.database, &[]);
    let shares = |from, to| rows(&service, "estimate-accuracy", (from, to), &SHARES);
    assert_eq!(shares(WHOLE.0, WHOLE.1), POOLED);
    let window = rows(&service, "estimate-accuracy", WHOLE, &["window_from_us", "window_to_us", "target"]);
    let expected = format!("{} {} 0.95", T0 + 12 * HOUR, T0 + 37 * HOUR);
    assert_eq!(window, [expected.clone(), expected]);
    assert_eq!(
        shares("2026-03-02T12:00:00Z", "2026-03-02T13:00:00Z"),
        ["NORMAL 0.1 1 2 0 0 0.5 0.5 0.5 1", "ACCELERATED 0.05 1 1 0 0 1 1 1 1"]
    );
    let newest = ("2026-03-03T12:00:00Z", "2026-03-03T13:00:00Z"); // and the hour before 14:00
    assert_eq!(shares(newest.0, newest.1), ["NORMAL 0.1 2 2 1 2 1 0.6666666666666666 1 2"]);
    assert_eq!(shares("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"), [] as [&str; 0]);

    let errors = rows(&service, "estimate-errors", WHOLE, &["queue", "size", "within", "tasks"]);
    let some: Vec<&str> = errors.iter().map(String::as_str).filter(|row| !row.ends_with(" 0")).collect();
    let expected = [
        "NORMAL −10 … −5 % WITHIN 1",
        "NORMAL = 0 WITHIN 1",
        "NORMAL +2 … +5 % WITHIN 1",
        "NORMAL +10 … +20 % BEYOND 1",
        "ACCELERATED +2 … +5 % WITHIN 1",
    ];
    assert_eq!(some, expected);
    assert_eq!(errors.len(), 22, "two classes of eleven sizes");
    let within =
        |queue: &str| errors.iter().filter(|row| row.starts_with(queue) && row.contains("WITHIN")).count();
    assert_eq!((within("NORMAL"), within("ACCELERATED")), (7, 5), "±10 % are 7 sizes, ±5 % are 5");
}

/// Scenario: the same; then the newest window, and one of before, could not be checked.
/// Guarantees: the figures stand as they were; Product says what Compliance says, of the same result, before and after, and of which
/// windows its figures are, in both languages.
#[test]
fn what_could_not_be_checked_takes_no_figure_away() {
    let ledger = three_windows();
    let service = Service::start(&ledger.database, &[]);
    let token = service.token(Role::Admin, "ops");
    // the last 24 hours, in which no window lies: the figures reach back as long before 14:00 of that day
    let page = |path: &str| service.get_with(path, &token, &[("accept", "text/html")]).body;
    // the result that a page names first in a part of it
    let named = |page: &str, part: &str| {
        let part = page.split_once(part).unwrap_or_else(|| panic!("no {part}: {page}")).1;
        part.split_once("/verdict/").expect("a result").1[..36].to_owned()
    };
    let alike = || {
        let (product, compliance) = (page("/product"), page("/compliance"));
        assert_eq!(named(&product, "id=\"estimates\""), named(&compliance, "id=\"job-accuracy\""));
        for text in
            ["3</b> windows of", "settled <b>5</b>", "never settled <b>1</b>", "settling yet <b>2</b>"]
        {
            assert!(product.contains(text), "{text}: {product}");
        }
        product
    };
    assert!(alike().contains("PENDING"));
    let now = ledger.database.query("SELECT toUnixTimestamp64Micro(now64(6))");
    let now: i64 = now.trim().parse().expect("microseconds");
    for (number, from) in [(1, 13), (2, 36)] {
        let (from, to) = (decimal(T0 + from * HOUR, 6), decimal(T0 + (from + 1) * HOUR, 6));
        ledger.database.query(&format!("INSERT INTO job_results (job, window_from, window_to, known_at, result_id, restates, verdict, sentence, numerator, denominator, report) VALUES
            ('accuracy', '{from}', '{to}', '{}', '00000000-0000-4000-8000-00000000070{number}', '00000000-0000-0000-0000-000000000000', 'ERROR', 'Could not be checked: no.', 0, 0, '{{}}')", decimal(now + 1, 6)));
    }
    // one that remembers no answer
    let service = Service::start(&ledger.database, &[]);
    assert_eq!(rows(&service, "estimate-accuracy", WHOLE, &SHARES), POOLED);
    let token = service.token(Role::Admin, "ops");
    let product = service.get_with("/product?lang=zh", &token, &[("accept", "text/html")]).body;
    let estimates = product.split_once("id=\"estimates\"").expect("estimates").1;
    assert!(estimates.contains("ERROR") && estimates.contains("已结算 <b>5</b>"), "{estimates}");
    assert_eq!(named(&product, "id=\"estimates\""), "00000000-0000-4000-8000-000000000702");
}
