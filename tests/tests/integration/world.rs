//! The world itself: should one of these fail, look here first and at no other test.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tally_tests::python::{Delivered, Produce};
use tally_tests::{
    ClickHouse, Clock, Kafka, Process, Registry, Tally, TempFolder, eventually, kcat, python, skip_without,
    unique,
};

const SCHEMA: &str = r#"{"type":"record","name":"Sample","namespace":"tally.tests","fields":[
    {"name":"event_id","type":{"type":"string","logicalType":"uuid"}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"note","type":["null","string"],"default":null}]}"#;

fn schema_file(folder: &TempFolder, schema: &str) -> PathBuf {
    let path = folder.path().join("sample.avsc");
    fs::write(&path, schema).expect("the schema can be written");
    path
}

fn sample(number: u32) -> Value {
    json!({ "event_id": format!("00000000-0000-7000-8000-{number:012}"), "at": 1_700_000_000_000_000_i64, "note": "Grüße\n" })
}

/// Scenario: a topic of three partitions on the shared Kafka, one record in each.
/// Guarantees: what kcat wrote, kcat reads: bytes, keys, nulls and line ends unchanged.
#[test]
fn raw_bytes_come_back_unchanged() {
    let kafka = Kafka::shared();
    let topic = unique("world-raw");
    kafka.create_topic(&topic, 3, &[]);
    let poison = b"\x00\xff\n\r\n not avro \x00";
    kcat::produce(kafka.bootstrap(), &topic, 0, Some("wallet-1"), poison);
    kcat::produce(kafka.bootstrap(), &topic, 2, None, b"x");

    let records = kcat::consume(kafka.bootstrap(), &topic);
    let seen: Vec<_> =
        records.iter().map(|r| (r.partition, r.offset, r.key.as_deref(), r.value.as_deref())).collect();
    let expected = [(0, 0, Some(&b"wallet-1"[..]), Some(&poison[..])), (2, 0, None, Some(&b"x"[..]))];
    assert_eq!(seen, expected);
    assert_eq!(kafka.watermarks(&topic, 1), (0, 0));
    assert_eq!(kafka.watermarks(&topic, 2), (0, 1));
}

/// Scenario: a process goes by a clock of the test's, which jumps a day ahead and then behind while it runs.
/// Guarantees: it sees each jump when it comes; who is started without it sees none.
#[test]
fn a_process_goes_by_a_clock_that_jumps() {
    const DAY: i64 = 86_400;
    let folder = TempFolder::new("clock");
    let clock = Clock::new(folder.path());
    let mut shell = Command::new("sh");
    shell.args(["-c", "while :; do date +%s; sleep 0.1; done"]).envs(clock.variables());
    let shell = Process::spawn("clock", shell, folder.path());
    let says = |fast: i64| {
        eventually(Duration::from_secs(20), "the time that was set", || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
            let last = shell.stdout().lines().last()?.parse::<i64>().ok()?;
            ((last - now.cast_signed() - fast).abs() < 60).then_some(())
        });
    };
    says(0);
    clock.set(DAY);
    says(DAY);
    clock.set(-DAY);
    says(-DAY);
}

/// Scenario: the independent Python encoder publishes; kcat reads.
/// Guarantees: the framings are those of the specifications, written out here by hand: the
/// fingerprint of "int" is a test vector of Avro's, 0x7275d51a3f395c8f, little-endian.
#[test]
fn python_frames_as_the_specifications_say() {
    let kafka = Kafka::shared();
    let topic = unique("world-frames");
    kafka.create_topic(&topic, 1, &[]);
    let folder = TempFolder::new("world");
    let schema = schema_file(&folder, "\"int\"");
    for framing in ["single-object", "confluent:258"] {
        let what =
            Produce { bootstrap: kafka.bootstrap(), topic: &topic, schema: &schema, framing, more: &[] };
        python::produce(what, &[json!(-2)]);
    }

    let values: Vec<_> =
        kcat::consume(kafka.bootstrap(), &topic).into_iter().filter_map(|r| r.value).collect();
    // Zig-zag: -2 is 3.
    let single_object = b"\xc3\x01\x8f\x5c\x39\x3f\x1a\xd5\x75\x72\x03".to_vec();
    let confluent = b"\x00\x00\x00\x01\x02\x03".to_vec();
    assert_eq!(values, [single_object, confluent]);
}

/// Scenario: 200 records with keys, over three partitions.
/// Guarantees: each is delivered once, and where the script says it was.
#[test]
fn python_reports_each_delivery() {
    let kafka = Kafka::shared();
    let topic = unique("world-python");
    kafka.create_topic(&topic, 3, &[]);
    let folder = TempFolder::new("world");
    let schema = schema_file(&folder, SCHEMA);
    let records: Vec<_> = (0..200).map(sample).collect();
    let what = Produce {
        bootstrap: kafka.bootstrap(),
        topic: &topic,
        schema: &schema,
        framing: "single-object",
        more: &["--key", "event_id"],
    };
    let mut delivered = python::produce(what, &records);

    let from_log = |record: kcat::Record| Delivered {
        partition: record.partition,
        offset: record.offset,
        event_id: record.key.map(|key| String::from_utf8(key).expect("keys are text here")),
    };
    let logged: Vec<_> = kcat::consume(kafka.bootstrap(), &topic).into_iter().map(from_log).collect();
    delivered.sort_by_key(|one| (one.partition, one.offset));
    assert_eq!(delivered, logged);
    assert_eq!(logged.len(), 200);
    assert!((0..3).all(|partition| logged.iter().any(|one| one.partition == partition)));
}

/// Scenario: a transaction of three records is aborted, then one of two is committed.
/// Guarantees: the log has the gaps that a reader of committed records has to explain.
#[test]
fn an_aborted_transaction_leaves_a_gap() {
    if skip_without(Kafka::real()) {
        return;
    }
    let kafka = Kafka::shared();
    let topic = unique("world-transaction");
    kafka.create_topic(&topic, 1, &[]);
    let folder = TempFolder::new("world");
    let schema = schema_file(&folder, SCHEMA);
    let produce = |more, count| {
        let what = Produce {
            bootstrap: kafka.bootstrap(),
            topic: &topic,
            schema: &schema,
            framing: "single-object",
            more,
        };
        python::produce(what, &(0..count).map(sample).collect::<Vec<_>>())
    };
    produce(&["--transaction", "abort"], 3);
    produce(&["--transaction", "commit"], 2);

    // 0–2 aborted, 3 the abort marker, 4–5 committed, 6 the commit marker.
    let offsets: Vec<_> =
        kcat::consume(kafka.bootstrap(), &topic).iter().map(|record| record.offset).collect();
    assert_eq!(offsets, [0, 1, 2, 4, 5]);
    assert_eq!(kafka.watermarks(&topic, 0), (0, 7));
}

/// Scenario: a topic is deleted and created again under its name; old records are deleted.
/// Guarantees: its id differs and offsets start at 0 again; the low watermark rises on demand.
#[test]
fn a_recreated_topic_is_another_topic() {
    if skip_without(Kafka::real()) {
        return;
    }
    let kafka = Kafka::shared();
    let topic = unique("world-recreated");
    kafka.create_topic(&topic, 1, &[("retention.ms", "86400000")]);
    kcat::produce(kafka.bootstrap(), &topic, 0, None, b"before");
    kcat::produce(kafka.bootstrap(), &topic, 0, None, b"before too");
    kafka.delete_records_before(&topic, 0, 1);
    assert_eq!(kafka.watermarks(&topic, 0), (1, 2));
    let first = kafka.topic_id(&topic);
    assert_eq!(first, kafka.topic_id(&topic));

    kafka.delete_topic(&topic);
    kafka.create_topic(&topic, 1, &[]);
    let second = kafka.topic_id(&topic);
    assert_ne!(first, second);
    assert_eq!(kafka.watermarks(&topic, 0), (0, 0));
}

/// Scenario: a broker of the test's own is killed, restarted, stopped, restarted.
/// Guarantees: acknowledged records and the topic's id survive both, on the same address.
#[test]
fn a_restarted_broker_keeps_its_data() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let kafka = Kafka::start();
    let address = kafka.bootstrap().to_owned();
    kafka.create_topic("kept", 3, &[]);
    kcat::produce(&address, "kept", 1, None, b"one");
    let id = kafka.topic_id("kept");

    kafka.kill();
    kafka.restart();
    kcat::produce(&address, "kept", 1, None, b"two");
    kafka.stop();
    kafka.restart();

    let values: Vec<_> =
        kcat::consume(&address, "kept").into_iter().filter_map(|record| record.value).collect();
    assert_eq!(values, [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(kafka.topic_id("kept"), id);
    assert_eq!(kafka.bootstrap(), address);
}

/// Scenario: the broker that stands in where Kafka cannot be had.
/// Guarantees: topics, records and watermarks work on it alike.
#[test]
fn the_in_process_broker_stands_in() {
    let kafka = Kafka::in_process();
    kafka.create_topic("stand-in", 2, &[]);
    kcat::produce(kafka.bootstrap(), "stand-in", 1, Some("k"), b"v");
    assert_eq!(kafka.watermarks("stand-in", 0), (0, 0));
    assert_eq!(kafka.watermarks("stand-in", 1), (0, 1));
}

/// Scenario: a schema is registered, asked for, registered again; the registry is killed and
/// comes back.
/// Guarantees: one id for one schema, before and after.
#[test]
fn the_registry_returns_what_was_registered() {
    if skip_without(Registry::installed()) {
        return;
    }
    let mut registry = Registry::start();
    let id = registry.register("sample-value", SCHEMA);
    let other = registry.register("other-value", "\"int\"");
    assert_ne!(id, other);

    registry.kill();
    registry.restart();
    assert_eq!(registry.register("sample-value", SCHEMA), id);
    let returned: Value = serde_json::from_str(&registry.schema(id)).expect("a schema is JSON");
    let registered: Value = serde_json::from_str(SCHEMA).expect("a schema is JSON");
    assert_eq!(returned, registered);
}

/// Scenario: the official Python client works against the engine; the engine is killed and
/// restarted.
/// Guarantees: acknowledged rows are kept; refusals carry ClickHouse's codes.
#[test]
fn clickhouse_serves_and_keeps_rows() {
    let data = TempFolder::new("clickhouse-data");
    let server = ClickHouse::start(data.path());
    server.query("CREATE TABLE kept (n UInt64, s String) ENGINE = MergeTree ORDER BY n");
    server.query("INSERT INTO kept SELECT number, toString(number) FROM numbers(1000)");
    python::run("verify_clickhouse.py", &[server.url()], "");

    server.kill();
    server.restart();
    assert_eq!(server.query("SELECT count(), sum(n) FROM kept"), "1000\t499500\n");
    let refused = server.try_query("SELECT * FROM absent").expect_err("there is no such table");
    assert_eq!(refused.code, Some(60), "{refused}");
    let database = server.database();
    database.query("CREATE TABLE mine (n UInt64) ENGINE = MergeTree ORDER BY n");
    database.query("INSERT INTO mine VALUES (18446744073709551615)");
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Row {
        n: u64,
    }
    assert_eq!(database.rows::<Row>("SELECT n FROM mine"), [Row { n: u64::MAX }]);
    drop(database);
    server.stop();
}

/// Scenario: the binary is run, with a variable that the test hands it.
/// Guarantees: it is found (or built), and its end and output come back.
#[test]
fn the_binary_runs() {
    let mut tally = Tally::spawn(&["--help"], &[("TALLY_LOG", "info")]);
    let ended = tally.expect_success(Duration::from_secs(20));
    assert!(!ended.stdout.is_empty(), "--help says nothing");
    assert!(tally.folder().join("tally.out").exists());
}

/// Scenario: a process of tests is killed with SIGKILL while it watches another and has a folder.
/// Guarantees: the guard kills that one and deletes the folder.
#[test]
fn a_killed_test_leaves_nothing() {
    let Ok(note) = std::env::var("WORLD_GUARD_NOTE") else {
        let folder = TempFolder::new("world");
        let note = folder.path().join("note");
        let mut test =
            std::process::Command::new(std::env::current_exe().expect("a process knows its executable"));
        test.args(["a_killed_test_leaves_nothing", "--nocapture"]).env("WORLD_GUARD_NOTE", &note);
        let mut test = Process::spawn("inner", test, folder.path());
        let (pid, left) = eventually(Duration::from_secs(20), "the inner test's note", || {
            let note = fs::read_to_string(&note).ok()?;
            let (pid, folder) = note.strip_suffix('\n')?.split_once(' ')?;
            Some((pid.to_owned(), folder.to_owned()))
        });
        assert!(PathBuf::from(&left).exists());
        test.sigkill();
        eventually(Duration::from_secs(10), "the watched process's end", || {
            (!is_running(&pid)).then_some(())
        });
        eventually(Duration::from_secs(10), "the folder's end", || {
            (!PathBuf::from(&left).exists()).then_some(())
        });
        return;
    };
    let folder = TempFolder::new("inner");
    let mut sleep = std::process::Command::new("sleep");
    sleep.arg("300");
    let sleep = Process::spawn("sleep", sleep, folder.path());
    fs::write(note, format!("{} {}\n", sleep.id(), folder.path().display()))
        .expect("the note can be written");
    std::thread::sleep(Duration::from_secs(60)); // the outer test kills this one long before
}

/// A zombie has ended too: its new parent may be slow to reap it.
fn is_running(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status
        .rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}
