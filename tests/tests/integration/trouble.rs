//! What goes wrong around the route: a store that refuses, forgets or goes away, a group that never rests.

use std::time::Duration;

use tally_schemas::Topic;
use tally_tests::python::Produce;
use tally_tests::stage::{PARTITIONS, get, line, pages};
use tally_tests::{
    ClickHouse, Kafka, Registry, Stage, Tally, TempFolder, eventually, examples, kcat, python, skip_without,
};

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
    stage.simulate(&["--events", &events.to_string()]).expect_success(SOON);
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

/// Scenario: facts were stored and a crash came before the receipt of one; then the operator forbids exactly that row, and
/// the partition is taken again.
/// Guarantees: what was stored as a fact stays a fact and gets its receipt; no dead letter is made of it beside.
#[test]
fn a_stored_row_that_the_store_refuses_later_stays_a_fact() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("later");
    publish(&stage, 0, 10);
    stage.catch_up(&[]);
    stage.database.query("DELETE FROM audit_log WHERE offset = 4");
    stage.database.query("ALTER TABLE task_events ADD CONSTRAINT no_4 CHECK trace_id != 'trace-4'");
    let balance = stage.catch_up_as(&format!("{}again", stage.prefix()), &[]);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.accepted, task.dead), (10, 0), "{}", stage.reasons());
    assert_eq!(stage.number("SELECT count() FROM dead_letters_final"), 0);
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
    let metrics = get(&format!("{pages}/metrics")).1;
    let again = |line: &str| line.starts_with("tally_retries_total{") && !line.ends_with(" 0");
    assert!(metrics.lines().any(again), "{metrics}");
    assert_eq!(get(&format!("{pages}/livez")).0, 200);
    server.borrow_mut().restart();
    eventually(SOON, "all receipts", || (count() == 2000).then_some(()));
    eventually(SOON, "readiness", || (get(&format!("{pages}/readyz")).0 == 200).then_some(()));
    ingest.sigterm();
    ingest.expect_success(SOON);
    let facts = server.borrow().query("SELECT count(), uniqExact(event_id) FROM away.task_events FINAL");
    assert_eq!(facts, "2000\t2000\n");
}

/// Scenario: a lane has taken everything and has been told that the log ends; then ClickHouse goes away while it writes its
/// last block, and more events come before it is back.
/// Guarantees: the lane goes on where it stopped. Nothing is passed over, and nothing is called absent that was there:
/// librdkafka's own position lies one record too far then.
#[test]
fn a_pause_at_the_end_of_the_log_passes_over_nothing() {
    if skip_without(Kafka::real()) {
        return;
    }
    let data = TempFolder::new("clickhouse-data");
    let server = ClickHouse::start(data.path());
    let url = server.url().to_owned();
    let stage = Stage::shared("log-end");
    let here =
        ["--clickhouse", &url, "--database", "ends", "--group", stage.prefix(), "--listen", "127.0.0.1:0"];
    // the end of the log is told some 100 ms after the last record, well before the block is closed
    let command = [&["ingest"][..], &stage.at_kafka(), &here, &["--linger-ms", "1000"]].concat();
    let mut ingest = Tally::spawn(&command, &[]);
    let pages = pages(&mut ingest);
    let receipts = |server: &ClickHouse| {
        let counted = server.try_query("SELECT uniqExact(topic_id, partition, offset) FROM ends.audit_log");
        counted.ok().and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    publish(&stage, 0, 10);
    eventually(SOON, "the first receipts", || (receipts(&server) == 10).then_some(()));
    server.kill();
    publish(&stage, 10, 1);
    eventually(SOON, "a stalled lane", || (get(&format!("{pages}/readyz")).0 == 503).then_some(()));
    publish(&stage, 11, 5);
    server.restart();
    eventually(SOON, "a ready lane", || (get(&format!("{pages}/readyz")).0 == 200).then_some(()));
    publish(&stage, 16, 1);
    let settled = "SELECT max(offset) FROM ends.audit_log";
    eventually(SOON, "the last receipt", || (server.query(settled) == "16\n").then_some(()));
    let passed_over = get(&format!("{pages}/metrics")).1;
    ingest.sigterm();
    ingest.expect_success(SOON);
    assert_eq!(server.query("SELECT count() FROM ends.gaps"), "0\n");
    assert!(
        !passed_over.contains("tally_records_passed_over_total{"),
        "it was the second reading that saw it"
    );
    assert_eq!(receipts(&server), 17);
    assert_eq!(server.query("SELECT count() FROM ends.task_events FINAL"), "17\n");
}

/// Scenario: a crash came between a fact and its receipt, and the next start does not know the registry any more that named
/// the writer's schema; then one that does.
/// Guarantees: the first lane stops, names the offset and makes no dead letter of it; the second goes on, and no offset is
/// a fact and a dead letter.
#[test]
fn a_fact_without_a_receipt_never_becomes_a_dead_letter() {
    if skip_without(Kafka::real()) || skip_without(Registry::installed()) {
        return;
    }
    let stage = Stage::shared("stricter");
    let registry = Registry::start();
    let contract = tally_schemas::latest(Topic::Task);
    let id = registry.register("task-events-value", &contract.json);
    let encoder = tally_schemas::Encoder::new(contract).expect("a contract");
    for event in examples::many(Topic::Task, 2) {
        let value = tally_schemas::frame_confluent(id, &encoder.encode(&event).expect("a valid example"));
        kcat::produce(stage.kafka.bootstrap(), &stage.topic(Topic::Task), 0, Some("task-1"), &value);
    }
    let knowing = ["--registry", &registry.url()];
    stage.catch_up(&knowing);
    // what a crash before the receipts leaves: facts, and nothing that attests them
    stage.database.query("DELETE FROM audit_log WHERE offset = 1");
    let group = format!("{}after", stage.prefix());
    let mut ingest = stage.tally(&["ingest"], &["--group", &group, "--listen", "127.0.0.1:0"]);
    let pages = pages(&mut ingest);
    eventually(SOON, "a lane that says what it waits for", || {
        ingest.stderr().contains("offset 1 was stored as a fact before a crash").then_some(())
    });
    eventually(SOON, "a lane that is not ready", || (get(&format!("{pages}/readyz")).0 == 503).then_some(()));
    ingest.sigterm();
    ingest.expect_success(SOON);
    assert_eq!(stage.number("SELECT count() FROM dead_letters"), 0);
    assert_eq!(stage.number("SELECT count() FROM audit_log FINAL"), 1);
    let balance = stage.catch_up_as(&group, &knowing);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.accepted, task.dead, task.both), (2, 0, 0));
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

/// Scenario: an instance stands still while many times the memory that it is given is published, and the table of the topic that has most of
/// it is renamed; it goes on; the table has its name again.
/// Guarantees: all other topics are taken meanwhile, to their ends: what the lanes hold that wait is not missed by the others; in the end
/// everything balances.
#[test]
fn a_table_that_is_gone_keeps_no_other_topic_waiting() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let stage = Stage::shared("one-table");
    let mut instance = stage.ingest(&["--buffer-bytes-max", "1048576", "--block-bytes-max", "524288"]);
    simulate(&stage, 100);
    stage.wait_for_receipts(100, SOON);
    instance.pause();
    simulate(&stage, 30_000);
    stage.database.query("RENAME TABLE task_events TO task_events_gone");
    instance.resume();
    let tasks = stage.published(Topic::Task);
    assert!(tasks > 10_000, "{tasks} events are no backlog");
    let all: u64 = Topic::ALL.into_iter().map(|contract| stage.published(contract)).sum();
    stage.wait_for_receipts(all - tasks, SOON);
    stage.database.query("RENAME TABLE task_events_gone TO task_events");
    stage.wait_for_receipts(all, SOON);
    instance.sigterm();
    instance.expect_success(SOON);
    stage.catch_up(&[]);
}

/// Scenario: an instance stands still while many times the memory that it is given is published, and the ledger's table is renamed: the
/// store takes facts, answers questions, and refuses receipts. It goes on for a while; then the table has its name again.
/// Guarantees: all lanes come to stand, and together they hold what was given and little more: what cannot be written is given up. In the
/// end everything balances.
#[test]
fn lanes_that_wait_do_not_fill_the_memory() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let stage = Stage::shared("no-ledger");
    let mut instance = stage.ingest(&["--buffer-bytes-max", "1048576", "--block-bytes-max", "1048576"]);
    let pages = pages(&mut instance);
    simulate(&stage, 100);
    stage.wait_for_receipts(100, SOON);
    instance.pause();
    simulate(&stage, 60_000);
    stage.database.query("RENAME TABLE audit_log TO audit_log_gone");
    instance.resume();
    let of = |name: &str| -> Vec<f64> {
        let text = get(&format!("{pages}/metrics")).1;
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    };
    let lanes = Topic::ALL.len() * usize::try_from(PARTITIONS).expect("a few");
    let (mut most, mut came_to_stand) = (0.0, std::collections::BTreeSet::new());
    let end = std::time::Instant::now() + Duration::from_secs(25);
    while std::time::Instant::now() < end {
        most = of("tally_buffer_bytes").into_iter().fold(most, f64::max);
        let stalled = of("tally_lane_stalled").into_iter().enumerate().filter(|(_, stalled)| *stalled > 0.0);
        came_to_stand.extend(stalled.map(|(lane, _)| lane));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(came_to_stand.len(), lanes, "not all lanes have tried");
    let allowed = f64::from(1_u32 << 20) + 6.0 * f64::from(1_u32 << 20); // and what the source reads in one turn
    assert!(most > 0.0 && most < allowed, "{most} bytes were held");
    stage.database.query("RENAME TABLE audit_log_gone TO audit_log");
    stage.wait_for_receipts(Topic::ALL.into_iter().map(|contract| stage.published(contract)).sum(), SOON);
    instance.sigterm();
    instance.expect_success(SOON);
    stage.catch_up(&[]);
}

/// Scenario: events of one topic name a schema of a registry that is away, many times as many as the memory holds that an instance is given;
/// all other topics have a backlog, too. Then the registry is back.
/// Guarantees: the others are taken to their ends meanwhile; in the end everything is.
#[test]
fn a_registry_that_is_away_keeps_no_other_topic_waiting() {
    if skip_without(Kafka::real()) || skip_without(Registry::installed()) {
        return;
    }
    let stage = Stage::shared("no-registry");
    let mut registry = Registry::start();
    let id = registry.register("task-events-value", &tally_schemas::latest(Topic::Task).json);
    let (topic, schema) = (stage.topic(Topic::Task), examples::schema(Topic::Task, 2));
    let (bootstrap, framing) = (stage.kafka.bootstrap(), format!("confluent:{id}"));
    let events = examples::many(Topic::Task, 24_000);
    for (partition, events) in (0..PARTITIONS).zip(events.chunks(8_000)) {
        let more = ["--partition", &partition.to_string()];
        let what = Produce { bootstrap, topic: &topic, schema: &schema, framing: &framing, more: &more };
        python::produce(what, events);
    }
    simulate(&stage, 10_000);
    registry.kill();
    let memory = ["--buffer-bytes-max", "1048576", "--block-bytes-max", "524288"];
    let mut instance = stage.ingest(&[&["--registry", registry.url().as_str()][..], &memory].concat());
    let all: u64 = Topic::ALL.into_iter().map(|contract| stage.published(contract)).sum();
    let others = i64::try_from(all - stage.published(Topic::Task)).expect("a number of records");
    let sql =
        format!("SELECT uniqExact(topic_id, partition, offset) FROM audit_log WHERE topic != '{topic}'");
    stage.wait_for_receipts(1, SOON); // and then there are tables
    eventually(SOON, "the other topics' ends", || (stage.number(&sql) == others).then_some(()));
    registry.restart();
    stage.wait_for_receipts(all, SOON);
    instance.sigterm();
    instance.expect_success(SOON);
    stage.catch_up(&["--registry", &registry.url()]);
}
