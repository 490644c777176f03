//! Calls at random, with everything that can go wrong on the way and a gateway that is killed again and again: then the platform's
//! books, Kafka and ClickHouse say the same, wallet by wallet.
//!
//! `TALLY_GATEWAY_CALLS`, `TALLY_GATEWAY_KILLS` and `TALLY_GATEWAY_SEED` set the long run of `make faults`.

use super::driven::{self, Driven};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tally_dashboards::identity::Role;
use tally_pipeline::gateway::mock::{Faults, Script, Statement, Sums};
use tally_tests::gateway::{FLOW_SCOPES, Gateway, SCOPES, call};
use tally_tests::{MockPlatform, Stage, Tally, TempFolder};

/// Callers at once.
const CALLERS: u64 = 24;
const WALLETS: u64 = 40;
const CREDITS: i64 = 1_000_000_000_000;
/// For one request to come to its end, and for everything to.
const END: Duration = Duration::from_secs(180);
/// Between two tries of a caller.
const PAUSE: Duration = Duration::from_millis(40);

/// One row of what ClickHouse has of the gateway's attempts.
#[derive(serde::Deserialize)]
struct Attempted {
    key: String,
    attempt: i64,
    endpoint: String,
    outcome: String,
    code: Option<String>,
    events: u64,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A number that belongs to `of`: the same in every run of a seed (splitmix64).
fn draw(seed: u64, of: u64, salt: u64) -> u64 {
    let mut z = seed.wrapping_add(of.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(salt << 32);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The request of a number: path, whether it has a key, body.
fn request(seed: u64, number: u64) -> (&'static str, bool, Value) {
    let wallet = draw(seed, number, 1) % WALLETS;
    let amount = i64::try_from(draw(seed, number, 2) % 5_000).expect("small") + 1;
    let about = json!({
        "wallet_id": format!("w-{wallet}"), "policy_tag": "BILLING", "task_id": format!("t-{wallet}-{}", number % 7),
        "user_id": format!("u-{wallet}"), "license_id": format!("l-{}", wallet % 4), "template_id": "tp-1",
    });
    let charge = |purpose: &str| {
        (
            "/credits/charge",
            true,
            json!({"about": about.clone(), "purpose": purpose, "amount_micros": amount}),
        )
    };
    let refund = |of: &str| {
        let body = json!({"about": about.clone(), "of": of, "amount_micros": amount, "reason": "ROLLBACK"});
        ("/credits/refund", true, body)
    };
    match draw(seed, number, 3) % 100 {
        0..20 => {
            ("/credits/estimate", false, json!({"about": about, "queue": "NORMAL", "compute_units": amount}))
        }
        20..35 => ("/licenses/check", false, json!({"about": about, "needed_micros": amount})),
        35..50 => charge("HOLD"),
        50..72 => charge("CHARGE"),
        72..80 => charge("SUPPLEMENT"),
        80..92 => refund("CHARGE"),
        _ => refund("HOLD"),
    }
}

/// A task whose estimate was right or wrong, as it was injected.
struct Task {
    id: String,
    wallet: String,
    /// After its estimate and before its charge; after its charge.
    started: String,
    ended: String,
    hit: bool,
}

struct Crowd<'a> {
    seed: u64,
    tasks: Mutex<Vec<Task>>,
    driven: Mutex<Vec<Driven>>,
    url: &'a str,
    key: &'a tally_tests::service::Key,
    next: AtomicU64,
    calls: u64,
}

impl Crowd<'_> {
    /// Calls until there are no more; gives how many answers were problems that say that it may have been done.
    fn caller(&self) -> u64 {
        let mut open = 0;
        let mut token = (String::new(), Instant::now());
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.calls {
                return open;
            }
            if token.0.is_empty() || token.1.elapsed() > Duration::from_secs(300) {
                let scopes = format!("{SCOPES} {FLOW_SCOPES}");
                token = (self.key.token_for(Role::Service, "crowd", &scopes), Instant::now());
            }
            open += self.one(number, &token.0);
        }
    }

    fn one(&self, number: u64, token: &str) -> u64 {
        if number % 10 == 9 {
            self.task(number, token);
            return 0;
        }
        if number % 40 == 21 {
            let wallet = format!("w-{}", number % WALLETS);
            let driven = driven::drive(self.url, token, (self.seed, number), &wallet);
            self.driven.lock().expect("no panic").push(driven);
            return 0;
        }
        let (path, keyed, body) = request(self.seed, number);
        let key = if keyed { format!("{}-{number}", self.seed) } else { String::new() };
        let text = body.to_string();
        let ask = || call(self.url, path, token, &key, &text);
        let fate = draw(self.seed, number, 4) % 100;
        if fate < 5 && keyed {
            // twice at the same time, by callers who do not know of one another
            std::thread::scope(|scope| {
                let other = scope.spawn(|| self.to_the_end(&ask));
                let (mine, theirs) = (self.to_the_end(&ask), other.join().expect("no panic"));
                assert_eq!(mine.1, theirs.1, "one key, two answers");
            });
            return 0;
        }
        if fate < 12 {
            return u64::from(ask().is_none_or(|answer| answer.status >= 500)); // and never asks again
        }
        let (open, answer) = self.to_the_end(&ask);
        if fate < 15 && keyed {
            let mut other = body;
            other["amount_micros"] = json!(999_999_999);
            let conflict = self.to_the_end(&|| call(self.url, path, token, &key, &other.to_string()));
            assert!(conflict.1.contains("idempotency_conflict"), "{} after {answer}", conflict.1);
        }
        open
    }

    /// A task from its estimate to its charge, which keeps to the estimate or, of one in five, misses it.
    fn task(&self, number: u64, token: &str) {
        let id = format!("acc-{}-{number}", self.seed);
        let wallet = format!("w-{}", number % WALLETS);
        let about = json!({"wallet_id": wallet, "policy_tag": "BILLING", "task_id": id, "user_id": "u-1"});
        let estimate = json!({"about": about, "queue": "NORMAL", "compute_units": 100 + number % 50});
        let text = estimate.to_string();
        let (_, answer) = self.to_the_end(&|| call(self.url, "/credits/estimate", token, "", &text));
        let estimate: Value = serde_json::from_str(&answer).expect("an estimate");
        let started = now();
        let expected = estimate["amount_micros"].as_i64().expect("an amount");
        let hit = !draw(self.seed, number, 5).is_multiple_of(5);
        let amount = if hit { expected + expected / 20 } else { expected + expected / 5 };
        let body = json!({"about": about, "purpose": "CHARGE", "amount_micros": amount,
                          "estimate_id": estimate["estimate_id"], "queue": "NORMAL"});
        let (key, text) = (format!("{}-{number}", self.seed), body.to_string());
        let (_, answer) = self.to_the_end(&|| call(self.url, "/credits/charge", token, &key, &text));
        assert!(answer.contains("charge_id"), "{answer}");
        let task = Task { id, wallet, started, ended: now(), hit };
        self.tasks.lock().expect("no panic").push(task);
    }

    /// Asks until there is an answer for good; gives how often there was none, and the answer.
    fn to_the_end(&self, ask: &dyn Fn() -> Option<tally_tests::service::Answer>) -> (u64, String) {
        let begun = Instant::now();
        let mut open = 0;
        loop {
            match ask() {
                Some(answer) if answer.status == 200 || answer.json()["retry"] == "never" => {
                    return (open, answer.body);
                }
                _ => open += 1,
            }
            assert!(begun.elapsed() < END, "a request has no end");
            std::thread::sleep(PAUSE);
        }
    }
}

fn now() -> String {
    let us = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    let us = i64::try_from(us).expect("before the end of time");
    chrono::DateTime::from_timestamp_micros(us).expect("a time").to_rfc3339()
}

/// Makes the calls, kills, heals, and holds the three accounts against one another.
#[expect(clippy::print_stdout, reason = "the figures of the long run are its result")]
fn run(calls: u64, kills: u64, seed: u64) {
    let stage = Stage::shared("gateway-killed");
    let platform = MockPlatform::start(&[]);
    for wallet in 0..WALLETS {
        platform.grant(&format!("w-{wallet}"), CREDITS);
    }
    let license = |n: u64| {
        json!({"license_id": format!("l-{n}"), "user_id": format!("u-{n}"), "quota_micros": 1_000_000_000_000_i64,
               "expires_at": "2090-01-01T00:00:00Z", "template_id": "tp-1"})
    };
    platform.prepare("licenses", &json!([license(0), license(1)]));
    let faults = Faults {
        latency_max_ms: 6,
        error: 6,
        error_after: 6,
        hang_before: 3,
        hang_after: 3,
        reset_before: 5,
        reset_after: 5,
        wrong_body: 5,
        rate_limited: 5,
        under_way: 5,
        duplicate: 20,
        ..Faults::default()
    };
    platform.play(&Script { seed, all: faults, ..Script::default() });
    let short = ["--attempt-ms-max", "400", "--call-ms-max", "3000", "--follow-up-ms", "100"];
    let mut gateway = Gateway::start(&stage, &platform, &short);
    let from = now();
    let (url, key) = (gateway.url.clone(), gateway.key());
    let (tasks, driven) = (Mutex::default(), Mutex::default());
    let crowd = Crowd { seed, url: &url, key: &key, next: AtomicU64::new(0), calls, tasks, driven };
    let open: u64 = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| crowd.caller())).collect();
        for kill in 1..=kills {
            while crowd.next.load(Ordering::Relaxed) < kill * calls / (kills + 1) {
                std::thread::sleep(Duration::from_millis(5));
            }
            gateway.kill_and_restart();
        }
        callers.into_iter().map(|caller| caller.join().expect("no panic")).sum()
    });
    gateway.settled(END);
    gateway.stop();
    let tasks = crowd.tasks.into_inner().expect("no panic");
    publish(&stage, &tasks);
    let to = now();
    stage.catch_up(&[]);
    let statement = platform.statement();
    println!(
        "{calls} calls, {kills} kills, seed {seed}: {open} answers were open, {} attempts",
        statement.receipts.len()
    );
    compare(&stage, &statement);
    driven::costs_are_right(&statement, &crowd.driven.into_inner().expect("no panic"));
    stability(&stage, &statement, (&from, &to));
    let report = audit(&stage, "accuracy", (&from, &to), &["--settled-after-hours", "0"]);
    let hits = tasks.iter().filter(|task| task.hit).count();
    let counter = |name: &str| {
        report["results"][0]["counters"][name].as_u64().unwrap_or_else(|| panic!("{name}: {report:#}"))
    };
    assert_eq!(
        (counter("NORMAL/tasks"), counter("NORMAL/hits")),
        (tasks.len() as u64, hits as u64),
        "{report:#}"
    );
}

/// The scheduler's part: each task is submitted, started and done.
fn publish(stage: &Stage<'_>, tasks: &[Task]) {
    let folder = TempFolder::new("task-events");
    let file = folder.path().join("events.jsonl");
    let mut lines = String::new();
    for task in tasks {
        let steps = [("SUBMITTED", &task.started), ("STARTED", &task.started), ("SUCCEEDED", &task.ended)];
        for (version, (kind, at)) in steps.into_iter().enumerate() {
            let event = json!({
                "event_id": uuid::Uuid::new_v4(), "occurred_at": at, "source": "scheduler", "policy_tag": "BILLING",
                "actor_id": "svc-scheduler", "actor_role": "SERVICE", "task_id": task.id, "wallet_id": task.wallet,
                "user_id": "u-1", "template_id": "tp-1", "kind": kind, "queue": "NORMAL", "state_version": version + 1,
            });
            lines.push_str(&event.to_string());
            lines.push('\n');
        }
    }
    std::fs::write(&file, lines).expect("events are written");
    let file = file.to_str().expect("paths in tests are text");
    let publish = ["publish", "--topic", "task-events", "--file", file];
    Tally::spawn(&[&publish[..], &stage.at_kafka()].concat(), &[]).expect_success(END);
}

/// The report of an audit of that window.
fn audit(stage: &Stage<'_>, job: &str, (from, to): (&str, &str), more: &[&str]) -> Value {
    let window = ["audit", job, "--from", from, "--to", to, "--grace-minutes", "0", "--format", "json"];
    let told = stage.tally_at_clickhouse(&[&window, more].concat()).end_within(END);
    serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", told.stdout))
}

fn compare(stage: &Stage<'_>, statement: &Statement) {
    let mut by_key: HashMap<&str, u64> = HashMap::new();
    for key in statement.movements.iter().filter_map(|movement| movement.key.as_deref()) {
        *by_key.entry(key).or_default() += 1;
    }
    assert!(by_key.values().all(|times| *times == 1), "a key moved credits twice");
    // money: the platform's books and ClickHouse, which `catch_up` has held against Kafka offset by offset
    let stored: Sums = stage
        .database
        .rows::<Value>(
            "SELECT wallet_id, toString(kind) AS kind, toString(count()) AS n, toString(sum(amount_micros)) AS micros \
             FROM credit_events_final WHERE kind NOT IN ('ATTEMPTED', 'ESTIMATED', 'HOLD_FAILED') GROUP BY wallet_id, kind",
        )
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().expect("text").to_owned();
            let sum = (text("n").parse().expect("a count"), text("micros").parse().expect("a sum"));
            ((text("wallet_id"), text("kind")), sum)
        })
        .collect();
    assert_eq!(stored, statement.sums(), "{}", stage.reasons());
    attempts_are_events(stage, statement, "crowd:");
    attempts_are_events(stage, statement, "gateway-flow:");
}

/// Each attempt of these keys that the platform has received is one event, and each event was received but for those that say why not.
pub(super) fn attempts_are_events(stage: &Stage<'_>, statement: &Statement, keys: &str) {
    let mut events = attempts(stage);
    events.retain(|row| row.key.starts_with(keys));
    let twice: Vec<&str> = events.iter().filter(|row| row.events != 1).map(|row| row.key.as_str()).collect();
    assert!(twice.is_empty(), "attempts with more than one event: {twice:?}");
    let known: BTreeSet<(&str, String)> =
        events.iter().map(|row| (row.key.as_str(), row.attempt.to_string())).collect();
    let ours = statement.receipts.iter().filter(|receipt| receipt.key.starts_with(keys));
    let received: BTreeSet<(&str, String)> =
        ours.map(|receipt| (receipt.key.as_str(), receipt.attempt.clone())).collect();
    assert!(!received.is_empty());
    let silent: Vec<_> = received.difference(&known).collect();
    assert!(silent.is_empty(), "attempts without an event: {silent:?}");
    let not_sent = ["adapter_stopped", "circuit_open", "overloaded", "upstream_unavailable"];
    for row in &events {
        let is_known = received.contains(&(row.key.as_str(), row.attempt.to_string()));
        assert!(
            is_known || not_sent.contains(&row.code.as_deref().unwrap_or_default()),
            "{} was never sent",
            row.key
        );
    }
}

fn attempts(stage: &Stage<'_>) -> Vec<Attempted> {
    let columns = "idempotency_key AS key, attempt, toString(endpoint) AS endpoint, any(toString(outcome)) AS outcome, \
                   any(error_code) AS code, toUInt32(count()) AS events";
    let of = |table: &str| {
        format!(
            "SELECT {columns} FROM {table}_final WHERE source = 'gateway' AND attempt IS NOT NULL GROUP BY key, attempt, endpoint"
        )
    };
    stage.database.rows(&format!("{} UNION ALL {}", of("credit_events"), of("license_events")))
}

/// The audit's error rate of each interface is the one that was injected: of the attempts that the platform received the script's
/// faults, and of the others those that a kill ended.
fn stability(stage: &Stage<'_>, statement: &Statement, window: (&str, &str)) {
    let report = audit(stage, "stability", window, &[]);
    let events = attempts(stage);
    for (path, endpoint) in [
        ("/credits/estimate", "CREDITS_ESTIMATE"),
        ("/credits/charge", "CREDITS_CHARGE"),
        ("/credits/refund", "CREDITS_REFUND"),
        ("/licenses/check", "LICENSES_CHECK"),
    ] {
        let of: Vec<&Attempted> = events.iter().filter(|row| row.endpoint == endpoint).collect();
        let limited = of.iter().filter(|row| row.code.as_deref() == Some("rate_limited")).count();
        let errors = of.iter().filter(|row| ["ERROR", "TIMEOUT"].contains(&row.outcome.as_str())).count();
        let by_us = ["adapter_stopped", "circuit_open"];
        let ours = of.iter().filter(|row| by_us.contains(&row.code.as_deref().unwrap_or_default())).count();
        let injected = statement
            .receipts
            .iter()
            .filter(|receipt| receipt.path == path)
            .filter(|receipt| {
                let is_no_error = |fault: &str| ["rate_limited", "under_way", "duplicate"].contains(&fault);
                receipt.faults.keys().any(|fault| !is_no_error(fault))
            })
            .count();
        assert!(
            (injected..=injected + ours).contains(&errors),
            "{path}: {errors} errors, {injected} injected, {ours} ours"
        );
        let measure = measure(&report, path);
        let counted = u64::try_from(of.len() - limited).expect("a count");
        assert_eq!(measure, (u64::try_from(errors).expect("a count"), counted), "{path} in {report:#}");
    }
}

/// Numerator and denominator of an interface's error rate in the audit's report.
fn measure(report: &Value, path: &str) -> (u64, u64) {
    let result = &report["results"][0];
    assert_eq!(result["cross_check"]["agrees"], true, "{report:#}");
    let measures = result["measures"].as_array().unwrap_or_else(|| panic!("no measures in {report:#}"));
    let measure = measures.iter().find(|m| m["group"] == path && m["name"] == "failed attempts");
    let measure = measure.unwrap_or_else(|| panic!("no {path} in {report:#}"));
    let number = |name: &str| measure[name].as_u64().unwrap_or_else(|| panic!("{name} in {measure:#}"));
    (number("numerator"), number("denominator"))
}

/// Scenario: callers who come twice, who never come again, who change the body of a key, who drive flows of tasks; a platform that fails in every way, before and
/// after it did what was asked; a gateway that is killed again and again.
/// Guarantees: no key moves credits twice, no task costs more or less than it was to, and nothing stays held for it; each attempt that the platform received is one event; the platform's books, and what came
/// through Kafka into ClickHouse, agree wallet by wallet; the audit finds the error rates and the estimates that were injected.
#[test]
fn money_adds_up_whatever_is_killed() {
    run(2_500, 5, setting("TALLY_GATEWAY_SEED", 1));
}

/// The same for as long as one likes.
#[test]
#[ignore = "minutes: run `make faults`"]
fn money_adds_up_in_a_hundred_thousand_calls() {
    let (calls, kills) = (setting("TALLY_GATEWAY_CALLS", 100_000), setting("TALLY_GATEWAY_KILLS", 50));
    run(calls, kills, setting("TALLY_GATEWAY_SEED", 2));
}
