//! What goes wrong around the route: a store that refuses, forgets or goes away, a group that never rests.

use std::time::Duration;

use tally_schemas::Topic;
use tally_tests::python::Produce;
use tally_tests::stage::{get, line, pages};
use tally_tests::{ClickHouse, Kafka, Stage, Tally, TempFolder, eventually, examples, python, skip_without};

const SOON: Duration = Duration::from_secs(60);
const TABLES: [&str; 7] = [
    "credit_events",
    "license_events",
    "task_events",
    "moderation_events",
    "audit_log",
    "dead_letters",
    "gaps",
];

fn publish(stage: &Stage<'_>, first: usize, number: usize) {
    let (topic, schema) = (stage.topic(Topic::Task), examples::schema(Topic::Task, 2));
    let (bootstrap, more) = (stage.kafka.bootstrap(), &["--partition", "0"][..]);
    let what = Produce { bootstrap, topic: &topic, schema: &schema, framing: "single-object", more };
    python::produce(what, &examples::many(Topic::Task, first + number)[first..]);
}

fn simulate(stage: &Stage<'_>, events: u32) {
    let events = events.to_string();
    let arguments = [&["simulate"][..], &stage.at_kafka(), &["--events", &events]].concat();
    Tally::spawn(&arguments, &[]).expect_success(SOON);
}

/// Scenario: the fact table gets a constraint that one of a thousand events of a block breaks.
/// Guarantees: that one is a dead letter `rejected_by_store`, the 999 others are facts.
#[test]
fn a_row_that_the_store_refuses_goes_alone() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("refused");
    stage.catch_up(&[]);
    stage.database.query("ALTER TABLE task_events ADD CONSTRAINT no_417 CHECK trace_id != 'trace-417'");
    publish(&stage, 0, 1000);
    let balance = stage.catch_up(&[]);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.accepted, task.dead), (999, 1), "{}", stage.reasons());
    let letter = stage.database.query("SELECT offset, reason FROM dead_letters_final");
    assert_eq!(letter, "417\trejected_by_store\n");
    assert_eq!(stage.number("SELECT count() FROM task_events FINAL"), 999);
}

/// Scenario: everything was taken; ClickHouse forgets every token, the ledger is emptied, and another group takes
/// the whole log again.
/// Guarantees: no figure changes: the key holds where the token does not.
#[test]
fn a_replay_after_tokens_are_forgotten_changes_no_figure() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("forgotten");
    simulate(&stage, 20_000);
    let before = stage.catch_up(&[]);
    let figures = || {
        TABLES[..4]
            .iter()
            .map(|table| {
                let amount = if *table == "credit_events" { "sum(amount_micros)" } else { "0" };
                let sql = "SELECT count(), uniqExact(event_id), sum(cityHash64(*)),";
                stage.database.query(&format!("{sql} {amount} FROM {table} FINAL"))
            })
            .chain([stage.database.query("SELECT count(), sum(cityHash64(*)) FROM dead_letters FINAL")])
            .collect::<Vec<_>>()
    };
    let first = figures();
    for table in TABLES {
        let forget = format!("ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 0");
        stage.database.query(&forget);
    }
    stage.database.query("TRUNCATE TABLE audit_log");
    stage.database.query("TRUNCATE TABLE gaps");
    stage.database.query("SYSTEM STOP MERGES task_events"); // which would hide that the rows came again
    let rows = stage.number("SELECT count() FROM task_events");
    let other = format!("{}again", stage.prefix());
    let after = stage.catch_up_as(&other, &["--block-rows-max", "777"]);
    assert!(stage.number("SELECT count() FROM task_events") > rows, "the rows did come again");
    assert_eq!(figures(), first);
    assert_eq!(after, before);
}

/// Scenario: ClickHouse is killed while events come, and comes back some seconds later.
/// Guarantees: meanwhile `/readyz` names the stalled lanes and `/metrics` counts tries; afterwards ingest goes on by
/// itself, and nothing is lost or doubled.
#[test]
fn the_store_goes_away_and_comes_back() {
    if skip_without(Kafka::real()) {
        return;
    }
    let data = TempFolder::new("clickhouse-data");
    let server = std::cell::RefCell::new(ClickHouse::start(data.path()));
    let url = server.borrow().url().to_owned();
    let shared = Stage::shared("away");
    let here = ["--clickhouse", &url, "--database", "away", "--group", "away", "--listen", "127.0.0.1:0"];
    let quick = ["--linger-ms", "50", "--block-rows-max", "500"];
    let command = [&["ingest"][..], &shared.at_kafka(), &here, &quick].concat();
    let mut ingest = Tally::spawn(&command, &[]);
    let pages = pages(&mut ingest);
    let count = || {
        let counted =
            server.borrow().try_query("SELECT uniqExact(topic_id, partition, offset) FROM away.audit_log");
        counted.ok().and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    publish(&shared, 0, 1000);
    eventually(SOON, "the first thousand receipts", || (count() == 1000).then_some(()));
    server.borrow_mut().kill();
    publish(&shared, 1000, 1000);
    let lane = format!("{}/0", shared.topic(Topic::Task));
    eventually(SOON, "a lane that says it is stalled", || {
        let (status, body) = get(&format!("{pages}/readyz"));
        (status == 503 && body.contains(&lane)).then_some(())
    });
    assert!(get(&format!("{pages}/metrics")).1.contains("tally_retries_total{"));
    assert_eq!(get(&format!("{pages}/livez")).0, 200);
    server.borrow_mut().restart();
    eventually(SOON, "all receipts", || (count() == 2000).then_some(()));
    eventually(SOON, "readiness", || (get(&format!("{pages}/readyz")).0 == 200).then_some(()));
    ingest.sigterm();
    ingest.expect_success(SOON);
    let facts = server.borrow().query("SELECT count(), uniqExact(event_id) FROM away.task_events FINAL");
    assert_eq!(facts, "2000\t2000\n");
}

/// Scenario: three instances join one after the other while 50,000 events come, and leave by SIGTERM.
/// Guarantees: each leaves with code 0 in time; everything is taken once.
#[test]
fn instances_join_and_leave() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("rebalance");
    let quick = ["--linger-ms", "50", "--block-rows-max", "1000"];
    let mut instances = vec![stage.ingest(&quick)];
    simulate(&stage, 25_000);
    instances.push(stage.ingest(&quick));
    stage.wait_for_receipts(5_000, SOON);
    instances.push(stage.ingest(&quick));
    simulate(&stage, 25_000);
    for mut instance in instances {
        instance.sigterm();
        instance.expect_success(Duration::from_secs(30));
    }
    let balance = stage.catch_up(&quick);
    let published: u64 = balance.iter().map(|line| line.published).sum();
    assert_eq!(published, 50_000);
    assert_eq!(stage.receipts(), 50_000);
}

/// Scenario: an ingest that runs, with valid and invalid events behind it.
/// Guarantees: its pages tell, by topic and partition, what an operator asks for.
#[test]
fn the_pages_tell_of_the_route() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("pages");
    simulate(&stage, 5_000);
    let mut ingest = stage.ingest(&["--linger-ms", "50"]);
    let pages = pages(&mut ingest);
    stage.wait_for_receipts(5_000, SOON);
    let lane = format!("{{partition=\"0\",topic=\"{}\"}}", stage.topic(Topic::Task));
    let names = [
        "tally_records_taken_total",
        "tally_events_accepted_total",
        "tally_block_duplicates_total",
        "tally_value_bytes_total",
        "tally_lag_records",
        "tally_unattested_age_milliseconds",
        "tally_lane_stalled",
    ];
    let text = eventually(SOON, "all metrics of a lane", || {
        let text = get(&format!("{pages}/metrics")).1;
        names.iter().all(|name| text.contains(&format!("{name}{lane}"))).then_some(text)
    });
    for name in
        ["tally_dead_letters_total{", "tally_block_rows_count{", "tally_insert_seconds_count{step=\"facts\"}"]
    {
        assert!(text.contains(name), "no {name} in\n{text}");
    }
    assert!(text.contains("reason=\"framing\""), "dead letters by reason:\n{text}");
    assert_eq!(get(&format!("{pages}/livez")).0, 200);
    assert_eq!(get(&format!("{pages}/readyz")), (200, "ready\n".to_owned()));
}
