//! How far each partition has come, as `tally ingest` records it for those who close windows.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tally_queries::audit::result::WindowState;
use tally_queries::catalog::{Reach, Snapshot};
use tally_schemas::Topic;
use tally_sinks::{Store, StoreConfig};
use tally_tests::python::Produce;
use tally_tests::stage::PARTITIONS;
use tally_tests::{ClickHouse, Kafka, Stage, Tally, TempFolder, eventually, examples, python, skip_without};

/// A demo with its start and its settling.
const DEMO: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(60);

/// `number` task events into partition 0.
fn publish(stage: &Stage<'_>, first: usize, number: usize) {
    let topic = stage.topic(Topic::Task);
    let schema = examples::schema(Topic::Task, 2);
    let (bootstrap, more) = (stage.kafka.bootstrap(), &["--partition", "0"][..]);
    let what = Produce { bootstrap, topic: &topic, schema: &schema, framing: "single-object", more };
    python::produce(what, &examples::many(Topic::Task, first + number)[first..]);
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis()
}

/// How far a database has come, and what is fixed as an audit's input at that time.
fn reach(url: &str, database: &str) -> (Reach, Snapshot) {
    let config = StoreConfig { url: url.to_owned(), database: database.to_owned(), ..StoreConfig::default() };
    let store = Store::new(&config).expect("a plain address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let reach = Reach::take(store.client()).await.expect("an answer");
        (reach, Snapshot::take(store.client(), Vec::new()).await.expect("an answer"))
    })
}

/// Scenario: nothing has come; then events of one partition were taken, the others idle; then the heads are older than receipts, and
/// one partition has none.
/// Guarantees: how far the data has come, which is all that pages ask for, is what an audit's input says of it, to the microsecond.
#[test]
fn pages_say_how_far_the_data_has_come_as_audits_do() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("heads-reach");
    let same = |what: &str| {
        let (reach, whole) = reach(stage.database.url(), stage.database.name());
        assert_eq!(reach.as_of_us(), whole.as_of_us(), "{what}");
        for to_us in [i64::MIN, whole.watermark_us.saturating_sub(7), whole.watermark_us, i64::MAX] {
            let is_over = whole.window(0, to_us, 7).state != WindowState::Open;
            assert_eq!(reach.is_over(to_us, 7), is_over, "{what}: {to_us}");
        }
        reach
    };
    stage.catch_up(&[]);
    let empty = same("idle partitions");
    publish(&stage, 0, 10);
    stage.catch_up(&[]);
    let taken = same("ten events");
    assert!(empty.as_of_us() < taken.as_of_us() && taken.last_event_us.is_none(), "{empty:?} {taken:?}");
    let task = stage.topic(Topic::Task);
    stage.database.query(&format!(
        "INSERT INTO partition_heads SELECT * REPLACE (11 AS high, 3 AS taken, seen_at + INTERVAL 1 SECOND AS seen_at) \
         FROM partition_heads_final WHERE topic = '{task}' AND partition = 0"
    ));
    let behind = same("a partition that lags");
    assert!(
        behind.as_of_us() < taken.as_of_us(),
        "its newest record holds the watermark: {behind:?} {taken:?}"
    );
    stage.database.query(&format!(
        "ALTER TABLE partition_heads DELETE WHERE topic = '{task}' AND partition = 0 SETTINGS mutations_sync = 2"
    ));
    assert_eq!(same("a partition without a head").as_of_us(), behind.as_of_us());
}

/// Scenario: ten events are taken, four of them deleted by retention; nothing ever comes to the other partitions.
/// Guarantees: every partition of every topic, the idle ones too, has one head that says what Kafka says, that all of
/// it was taken, and when it was looked at; nothing is ended.
#[test]
fn heads_say_what_was_taken_and_when() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("heads");
    publish(&stage, 0, 10);
    let before = now_ms();
    stage.catch_up(&[]);
    let after = now_ms();
    let heads = |what: &str, and: &str| {
        stage.database.query(&format!("SELECT {what} FROM partition_heads_final WHERE {and}"))
    };
    let all = Topic::ALL.len() * usize::try_from(PARTITIONS).expect("a small number");
    let whole = format!("{all}\t{all}\t0\n");
    let counts = "count(), uniqExact(topic_id, partition), countIf(ended)";
    assert_eq!(heads(counts, "taken = high AND low = 0"), whole);
    let task = format!("topic = '{}' AND partition = 0", stage.topic(Topic::Task));
    assert_eq!(
        heads("topic_id, low, high, taken", &task),
        format!("{}\t0\t10\t10\n", stage.topic_id(Topic::Task))
    );
    assert_eq!(heads("count()", &format!("high = 0 AND NOT ({task})")), format!("{}\n", all - 1));
    let within = format!("toUnixTimestamp64Milli(seen_at) BETWEEN {before} AND {after}");
    assert_eq!(heads("count()", &within), format!("{all}\n"));

    stage.kafka.delete_records_before(&stage.topic(Topic::Task), 0, 4);
    publish(&stage, 10, 5);
    stage.catch_up(&[]);
    assert_eq!(heads("low, high, taken", &task), "4\t15\t15\n");
}

/// Scenario: everything was taken, and whoever took it ended without a word of it, so no partition has a head; then a catch-up
/// that finds nothing left, and may be over before a lane of its own has started.
/// Guarantees: each partition has its head after all, with all that was taken.
#[test]
fn a_run_that_finds_nothing_left_records_heads() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("heads-late");
    publish(&stage, 0, 10);
    stage.catch_up(&[]);
    stage.database.query("TRUNCATE TABLE partition_heads");
    stage.catch_up(&[]);
    let all = Topic::ALL.len() * usize::try_from(PARTITIONS).expect("a small number");
    let heads = "SELECT countIf(taken = high), sum(taken) FROM partition_heads_final";
    assert_eq!(stage.database.query(heads), format!("{all}\t10\n"));
}

/// Scenario: `tally ingest` runs on; events come; nobody stops it.
/// Guarantees: the heads follow within some seconds.
#[test]
fn heads_follow_a_running_ingest() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("heads-live");
    let _ingest = stage.ingest(&["--linger-ms", "50"]);
    for events in [5, 12] {
        publish(&stage, if events == 5 { 0 } else { 5 }, if events == 5 { 5 } else { 7 });
        let reached =
            format!("SELECT count() FROM partition_heads_final WHERE taken = {events} AND high = {events}");
        eventually(SOON, "a head that says so", || {
            (stage.database.try_query(&reached).ok()? == "1\n").then_some(())
        });
    }
}

/// Scenario: the demo runs in a folder and ends; then it runs in the same folder once more.
/// Guarantees: every partition of either run's topics has an ended head, with all of it taken: nothing holds a window
/// open that is over.
#[test]
fn a_demo_leaves_ended_heads() {
    let folder = TempFolder::new("demo");
    let data = folder.path().to_str().expect("paths are text");
    for run in 1..=2 {
        Tally::spawn(&["demo", "--seconds", "2", "--port", "0", "--data", data], &[]).expect_success(DEMO);
        let server = ClickHouse::start(folder.path());
        let heads = server.query(
            "SELECT count(), countIf(ended), countIf(taken = high), uniqExact(topic_id), sum(taken) = \
             (SELECT count() FROM tally.audit_log_final) FROM tally.partition_heads_final",
        );
        let all = run * Topic::ALL.len() * 3;
        assert_eq!(heads, format!("{all}\t{all}\t{all}\t{}\t1\n", run * Topic::ALL.len()));
        let (reach, whole) = reach(server.url(), "tally");
        assert_eq!((reach.watermark_us, reach.last_event_us), (i64::MAX, Some(whole.last_event_us)));
        assert_eq!(reach.as_of_us(), whole.as_of_us());
        server.stop();
    }
}

/// Scenario: everything is verified; a sample is found altered, then everything, then a look at everything cannot read, then another
/// finds nothing; the clock of the one that found something was behind.
/// Guarantees: what was found altered stands until a later look at everything finds nothing.
#[test]
fn what_was_altered_stands_until_all_is_verified() {
    let stage_database = ClickHouse::shared().database();
    let (url, database) = (stage_database.url(), stage_database.name());
    Tally::spawn(&["migrate", "--clickhouse", url, "--database", database], &[]).expect_success(SOON);
    let config = StoreConfig { url: url.to_owned(), database: database.to_owned(), ..StoreConfig::default() };
    let store = Store::new(&config).expect("a plain address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let last = || runtime.block_on(tally_queries::last_verification(store.client())).expect("an answer");
    assert_eq!(last(), None);
    let mut place = 0;
    let mut look = |verdict: &str, scope: &str, second: u32, findings: u32| {
        place += 1;
        stage_database.query(&format!(
            "INSERT INTO verifications VALUES ('019a0000-00{place:02}-7000-8000-0000000000{:02}',              '2026-05-01 00:00:{second:02}', '{verdict}', '{scope}', false, 9, 9, 0, {findings}, '', '')",
            20 - place // a name's later half says nothing of its time
        ));
        last().map(|last| (last.verified_us % 60_000_000 / 1_000_000, last.code, last.findings))
    };
    assert_eq!(look("VERIFIED", "sample", 1, 0), None, "everything was never looked at");
    assert_eq!(look("TAMPERED", "sample", 2, 2), Some((2, 1, 2)), "which is no reason to be silent");
    assert_eq!(look("INCOMPLETE", "all", 3, 4), Some((3, 1, 4)));
    assert_eq!(look("VERIFIED", "all", 10, 0), Some((10, 0, 0)));
    assert_eq!(look("TAMPERED", "sample", 20, 3), Some((10, 1, 3)));
    assert_eq!(look("UNCHECKED", "all", 30, 0), Some((30, 1, 3)));
    assert_eq!(look("VERIFIED", "all", 40, 0), Some((40, 0, 0)));
    assert_eq!(look("TAMPERED", "all", 35, 1), Some((35, 1, 1)), "it began earlier, and was recorded later");
    assert_eq!(look("VERIFIED", "sample", 50, 0), Some((35, 1, 1)));
    assert_eq!(look("VERIFIED", "all", 60 - 1, 0), Some((59, 0, 0)));
}
