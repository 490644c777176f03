//! What the demo's platform says it did, against what is found of it: by SQL written here, by another program, by the
//! audit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tally_tests::{ClickHouse, Tally, TempFolder, python};

/// Ten seconds of publishing, the start of an engine and the last receipts, in a debug build beside other work.
const DEMO: Duration = Duration::from_secs(240);
const AUDIT: Duration = Duration::from_secs(180);
const WEEK_US: i64 = 7 * 86_400_000_000;

/// A demo of ten seconds in this folder; gives the path and the content of its truth.
fn demo(data: &Path) -> (PathBuf, Value) {
    let folder = data.to_str().expect("paths are text");
    Tally::spawn(&["demo", "--seconds", "10", "--data", folder, "--gateway-permille", "0"], &[])
        .expect_success(DEMO);
    let mut files: Vec<PathBuf> = fs::read_dir(data.join("truth"))
        .expect("the demo wrote a folder of truths")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(files.len(), 1, "one file a run: {files:?}");
    let file = files.remove(0);
    let text = fs::read_to_string(&file).expect("a truth can be read");
    (file, serde_json::from_str(&text).expect("a truth is JSON"))
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no integer"))
}

/// Two columns of an answer: text and number.
fn pairs(answer: &str) -> BTreeMap<String, i64> {
    let pair = |line: &str| {
        let (name, number) = line.split_once('\t').unwrap_or_else(|| panic!("{line}"));
        (name.to_owned(), number.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    answer.lines().map(pair).collect()
}

/// Pairs of another program from the truth's list of orders.
fn repurchase(file: &Path, launch_us: i64) -> Value {
    let file = file.to_str().expect("paths are text");
    let said = python::run("repurchase.py", &["truth", &launch_us.to_string(), file], "").stdout;
    serde_json::from_str(&said).expect("the other program prints JSON")
}

/// Scenario: a demo of ten seconds, and its store opened afterwards.
/// Guarantees: the truth is about exactly what was published: kinds, dead letters, broken tasks, balances, orders and
/// skew are what is in the store; and its repurchase pairs are those of another program, for several launches.
#[test]
fn the_truth_of_a_demo_is_what_is_in_its_store() {
    let data = TempFolder::new("demo-truth");
    let (file, truth) = demo(data.path());
    let platform = &truth["platform"];
    let store = ClickHouse::start(data.path());
    let database = "tally"; // the default of --database
    let ask = |sql: &str| store.query(&sql.replace("FROM ", &format!("FROM {database}.")));

    for topic in ["credit", "license", "task", "moderation"] {
        let kinds = ask(&format!("SELECT toString(kind), count() FROM {topic}_events_final GROUP BY kind"));
        assert_eq!(json!(pairs(&kinds)), platform["kinds"][format!("{topic}-events")], "{topic}");
        let letters = "SELECT reason, count() FROM dead_letters_final WHERE topic LIKE";
        let letters = pairs(&ask(&format!("{letters} '%{topic}-events' GROUP BY reason")));
        let mut emitted = platform["emissions"][format!("{topic}-events")].clone();
        let emitted = emitted.as_object_mut().expect("emissions of a topic");
        emitted.remove("accepted");
        emitted.remove("duplicate");
        assert_eq!(json!(letters), json!(emitted), "{topic}");
    }

    let untagged =
        ask("SELECT assumeNotNull(key), reason FROM dead_letters_final WHERE topic LIKE '%task-events'
        AND reason IN ('policy_tag_missing', 'policy_tag_unknown') ORDER BY key");
    let tasks = ask("SELECT DISTINCT task_id FROM task_events_final");
    let tasks: BTreeSet<&str> = tasks.lines().collect();
    let found: Vec<&str> = untagged
        .lines()
        .filter(|line| line.split('\t').next().is_some_and(|task| tasks.contains(task)))
        .collect();
    let broken = platform["broken_tasks"].as_object().expect("broken tasks");
    let broken: Vec<String> = broken
        .iter()
        .map(|(task, why)| format!("{task}\t{}", why["reason"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(found, broken);
    assert!(!broken.is_empty(), "a demo breaks some tasks");
    let holes =
        ask("SELECT task_id, max(state_version) - uniqExact(state_version) AS lost FROM task_events_final
        GROUP BY task_id HAVING lost != 0 ORDER BY task_id");
    let followed = platform["broken_tasks"].as_object().expect("broken tasks").iter();
    let followed =
        followed.filter(|(_, why)| why["followed"] == true).map(|(task, _)| (task.clone(), 1)).collect();
    assert_eq!(pairs(&holes), followed);

    let balances = ask("SELECT wallet_id, sum(multiIf(kind IN ('PURCHASED', 'REFUNDED'), amount_micros,
        kind IN ('CHARGED', 'SUPPLEMENT_CHARGED'), -amount_micros, 0)) FROM credit_events_final GROUP BY wallet_id");
    let balances = pairs(&balances);
    for (wallet, figures) in platform["wallets"].as_object().expect("wallets") {
        assert_eq!(balances.get(wallet).copied(), figures["balance_micros"].as_i64(), "{wallet}");
    }
    let orders = ask(
        "SELECT count(), sum(price_minor), uniqExact(order_id) FROM credit_events_final WHERE order_id != ''",
    );
    let listed = platform["order_events"].as_array().expect("order events");
    let ids: BTreeSet<&str> = listed.iter().filter_map(|one| one["order"].as_str()).collect();
    let money: i64 = listed.iter().map(|one| int(&one["price_minor"])).sum();
    assert_eq!(orders, format!("{}\t{money}\t{}\n", listed.len(), ids.len()));

    let mut skewed = 0;
    for topic in ["credit", "license", "task", "moderation"] {
        let apart = "abs(toUnixTimestamp64Micro(occurred_at) - 1000 * toUnixTimestamp64Milli(appended_at)) > 300000000";
        let answer = ask(&format!("SELECT countIf({apart}) FROM {topic}_events_final"));
        skewed += answer.trim().parse::<i64>().expect("a number");
    }
    assert_eq!(truth["records"]["accepted_skewed"], skewed);
    store.stop();

    let launch = int(&truth["repurchase"]["launch"]["from_us"]);
    assert_eq!(launch, int(&platform["last_occurred_at"]) - WEEK_US);
    let ours = json!({
        "launch_base": truth["repurchase"]["launch"]["base"],
        "launch_repurchased": truth["repurchase"]["launch"]["repurchased"],
        "baseline_base": truth["repurchase"]["baseline_base"],
        "baseline_repurchased": truth["repurchase"]["baseline_repurchased"],
    });
    for minutes in [0, -10, 10] {
        assert_eq!(repurchase(&file, launch + minutes * 60_000_000), ours, "{minutes} minutes");
    }
}

/// Scenario: a demo of ten seconds, whose feed has subscribers that lose their lines, then all audit jobs on its folder.
/// Guarantees: every figure is what the platform says it did; each prompt, offer and notice that concerns a subscriber was
/// delivered to it and acknowledged, and the audit of the feed is decided by these.
#[test]
fn the_audit_finds_what_the_platform_did() {
    let data = TempFolder::new("demo-audit");
    let (file, truth) = demo(data.path());
    let platform = &truth["platform"];
    let folder = data.path().to_str().expect("paths are text");
    // the demo is over: nothing is to be waited for
    let over = ["--grace-minutes", "0", "--settled-after-hours", "0"];
    let arguments = [&["audit", "all", "--data", folder, "--format", "json"][..], &over].concat();
    let said = Tally::spawn(&arguments, &[]).end_within(AUDIT);
    let said: Value = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}\n{}", said.stdout, said.stderr));
    let results = said["results"].as_array().expect("results");
    let result = |job: &str| {
        results.iter().find(|result| result["job"] == job).unwrap_or_else(|| panic!("no result of {job}"))
    };
    assert_eq!(result("offsets")["verdict"], "PASS");

    completeness(result("completeness"), platform);
    accuracy(result("accuracy"), platform);
    stability(result("stability"), platform);
    let rebought = result("repurchase");
    assert_eq!(rebought["verdict"], "PASS", "{rebought:#}");
    let launch = int(&rebought["window"]["to_us"]) - WEEK_US;
    let expected = repurchase(&file, launch);
    for (name, count) in expected.as_object().expect("pairs") {
        assert_eq!(&rebought["counters"][name], count, "{name}");
    }
    let balances = result("balances");
    assert_eq!(balances["verdict"], "PASS", "{balances:#}");
    sla(result("sla"), platform);
    let store = ClickHouse::start(data.path());
    realtime(result("realtime"), &truth, &store);
    store.stop();
}

/// Rows of tab separated texts.
fn rows(answer: &str) -> BTreeSet<Vec<String>> {
    answer.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// Who was to be sent what follows from the facts and the table of rights; times follow from the ledger's rows.
fn realtime(result: &Value, truth: &Value, store: &ClickHouse) {
    let ask = |sql: &str| store.query(&sql.replace("FROM ", "FROM tally."));
    let subscribers = truth["subscribers"].as_array().expect("subscribers");
    let of = |role: &str| -> Vec<&str> {
        let those = subscribers.iter().filter(|one| one["role"] == role);
        those.map(|one| one["subject"].as_str().expect("a subject")).collect()
    };
    let (moderators, buyers) = (of("moderator"), of("buyer"));
    assert_eq!((moderators.len(), moderators.len() + buyers.len()), (1, subscribers.len()));
    let among = format!("('{}')", buyers.join("', '"));
    let mut expected =
        rows(&ask(&format!("SELECT '{}', toString(event_id) FROM moderation_events_final", moderators[0])));
    let kinds = &truth["platform"]["kinds"]["moderation-events"];
    let accepted: i64 = kinds.as_object().expect("kinds").values().map(int).sum();
    assert_eq!(expected.len() as i64, accepted, "every accepted event of a case is a moderator's");
    for (topic, kinds) in [
        ("credit", "'SUPPLEMENT_REQUESTED'"),
        ("task", "'SUPPLEMENT_REQUIRED', 'ACCELERATION_OFFERED'"),
        ("moderation", "'DECIDED', 'CLOSED'"),
    ] {
        let concern = format!("kind IN ({kinds}) AND user_id IN {among}");
        let sql = format!("SELECT user_id, toString(event_id) FROM {topic}_events_final WHERE {concern}");
        expected.extend(rows(&ask(&sql)));
    }
    assert!(expected.len() as i64 > accepted, "some prompt or offer was a subscriber's");
    let sent =
        "SELECT DISTINCT subject, toString(event_id) FROM feed_deliveries_final WHERE acked_at IS NOT NULL";
    assert_eq!(rows(&ask(sent)), expected);
    assert_eq!(ask("SELECT count() FROM feed_deliveries_final WHERE acked_at IS NULL").trim(), "0");

    let (from, to) = (int(&result["window"]["from_us"]), int(&result["window"]["to_us"]));
    let within = |time: &str| {
        format!(
            "1000 * toUnixTimestamp64Milli({time}) >= {from} AND 1000 * toUnixTimestamp64Milli({time}) < {to}"
        )
    };
    let counted = pairs(&ask(&format!(
        "SELECT 'deliveries', count() FROM feed_deliveries_final WHERE {0}
        UNION ALL SELECT 'in_time', countIf(toUnixTimestamp64Milli(assumeNotNull(acked_at)) - toUnixTimestamp64Milli(appended_at) <= 3000)
            FROM feed_deliveries_final WHERE {0}
        UNION ALL SELECT 'resumes', countIf(outcome != 'FIRST') FROM feed_resumes_final WHERE {1}
        UNION ALL SELECT 'recovered_in_time', countIf(outcome = 'RESUMED' AND recovered_at IS NOT NULL
                AND toUnixTimestamp64Milli(assumeNotNull(recovered_at)) - toUnixTimestamp64Milli(accepted_at) <= 5000)
            FROM feed_resumes_final WHERE {1}",
        within("appended_at"),
        within("accepted_at"),
    )));
    for (name, count) in &counted {
        assert_eq!(result["counters"][name], *count, "{name}");
        assert!(*count > 0, "{name}");
    }
    // how quick a debug build is beside other work is not decided here: that the audit decides is
    let reached = |part: &str, whole: &str| 1000 * counted[part] >= 990 * counted[whole];
    let holds = reached("in_time", "deliveries") && reached("recovered_in_time", "resumes");
    assert_eq!(result["verdict"], if holds { "PASS" } else { "FAIL" }, "{result:#}");
}

/// The population is every task that was submitted, and every task of which only a dead letter is left: each invalid event
/// of the task topic is about one of its own, but for those of the broken tasks. All of these are incomplete, no others.
fn completeness(result: &Value, platform: &Value) {
    let submitted: i64 =
        ["customer", "internal"].map(|who| int(&platform["tasks"][who]["submitted"])).iter().sum();
    let broken = platform["broken_tasks"].as_object().expect("broken tasks");
    let mut letters = platform["emissions"]["task-events"].clone();
    let letters = letters.as_object_mut().expect("emissions");
    letters.retain(|what, _| !["accepted", "duplicate"].contains(&what.as_str()));
    let letters: i64 = letters.values().map(int).sum();
    let incomplete = letters; // one letter, one task
    assert_eq!(result["verdict"], "FAIL", "{result:#}");
    assert_eq!(result["counters"]["population"], submitted + letters - broken.len() as i64);
    assert_eq!(int(&result["counters"]["population"]) - int(&result["counters"]["complete"]), incomplete);
    let followed = broken.values().filter(|task| task["followed"] == true).count();
    assert_eq!(result["counters"]["broken_chain"], followed);
    assert_eq!(result["offenders_total"], incomplete);
    let offenders = result["offenders"].as_array().expect("offenders");
    let named: BTreeSet<&str> = offenders.iter().filter_map(|one| one["id"].as_str()).collect();
    let unnamed = broken.keys().filter(|task| !named.contains(task.as_str())).count() as i64;
    assert!(unnamed <= incomplete - offenders.len() as i64, "{unnamed} broken tasks are not among {named:?}");
}

/// Customers' settled tasks by class: how many, and how many within the tolerance.
fn accuracy(result: &Value, platform: &Value) {
    for (class, figures) in platform["settlements"]["customer"].as_object().expect("classes") {
        for name in ["tasks", "hits"] {
            assert_eq!(
                result["counters"][format!("{class}/{name}")],
                figures["settled"][name],
                "{class} {name}"
            );
        }
    }
}

/// Attempts, errors and refusals for the rate of each endpoint: of customers, where events state an audience.
fn stability(result: &Value, platform: &Value) {
    let endpoints = platform["calls"]["customer"].as_object().expect("endpoints");
    assert_eq!(endpoints.len(), 4);
    for (endpoint, calls) in endpoints {
        for name in ["attempts", "errors", "rate_limited"] {
            assert_eq!(result["counters"][format!("{endpoint}/{name}")], calls[name], "{endpoint} {name}");
        }
    }
}

/// Cases by policy tag, whatever their risk: decided in time, and late.
fn sla(result: &Value, platform: &Value) {
    let counters = result["counters"].as_object().expect("counters");
    let found = |tag: &str, name: &str| -> i64 {
        let named =
            |key: &str| key.split([' ', '/']).next() == Some(tag) && key.ends_with(&format!("/{name}"));
        counters.iter().filter(|(key, _)| named(key)).map(|(_, count)| int(count)).sum()
    };
    for (tag, cases) in platform["cases"].as_object().expect("cases") {
        assert_eq!(found(tag, "in_time"), int(&cases["decided_in_time"]), "{tag} in time");
        assert_eq!(found(tag, "late"), int(&cases["decided_late"]), "{tag} late");
    }
}
