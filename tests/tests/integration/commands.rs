//! The other commands, as a user meets them.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tally_schemas::Topic;
use tally_tests::stage::line;
use tally_tests::{ClickHouse, Kafka, Stage, Tally, TempFolder, examples, free_port, skip_without};

const SOON: Duration = Duration::from_secs(60);

/// Scenario: `tally publish` gets the valid examples, then the same with one wrong line among them.
/// Guarantees: the first become rows; of the second nothing is sent, and line and field of the mistake are named.
#[test]
fn what_is_published_is_stored_or_refused_as_a_whole() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("publish");
    let folder = TempFolder::new("publish");
    let events = examples::valid(Topic::Credit);
    let publish = |lines: &[Value], code| {
        let file = folder.path().join("events");
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&file, text).expect("events can be written");
        let file = file.to_str().expect("paths are text");
        let what = ["--topic", "credit-events", "--file", file];
        let arguments = [&["publish"][..], &stage.at_kafka(), &what].concat();
        Tally::spawn(&arguments, &[]).expect_code(code, SOON)
    };
    publish(&events, 0);
    let mut wrong = events.clone();
    wrong[3]["amount_micros"] = (-5).into();
    let said = publish(&wrong, 1).stdout;
    assert!(said.contains('4') && said.contains("amount_micros") && said.contains("nothing sent"), "{said}");

    let balance = stage.catch_up(&[]);
    let credit = line(&balance, Topic::Credit);
    let number = events.len() as u64;
    assert_eq!((credit.published, credit.accepted), (number, number), "{}", stage.reasons());
}

/// Scenario: a candidate for the next version loses a field; another changes a type.
/// Guarantees: exit code 1, and the version and the field are named.
#[test]
fn a_candidate_that_breaks_readers_is_refused() {
    let folder = TempFolder::new("candidate");
    let text = fs::read_to_string(examples::schema(Topic::Task, 2)).expect("a contract can be read");
    let contract: Value = serde_json::from_str(&text).expect("a contract is JSON");
    let place = |name: &str| {
        let fields = contract["fields"].as_array().expect("a record has fields");
        fields.iter().position(|field| field["name"] == name).expect("the field")
    };
    let (removed, changed) = (place("state_version"), place("task_id"));
    let mut without = contract.clone();
    without["fields"].as_array_mut().expect("fields").remove(removed);
    let mut other = contract.clone();
    other["fields"][changed]["type"] = "long".into();
    for (candidate, field) in [(without, "state_version"), (other, "task_id")] {
        let file = folder.path().join("candidate.avsc");
        fs::write(&file, candidate.to_string()).expect("a candidate can be written");
        let file = file.to_str().expect("paths are text");
        let said =
            Tally::spawn(&["schema", "check", "--topic", "task-events", file], &[]).expect_code(1, SOON);
        let said = said.stdout + &said.stderr;
        assert!(said.contains(field) && said.contains("version"), "{said}");
    }
}

/// Scenario: two migrate at once, then one again; then the database has seen a later program.
/// Guarantees: the first three succeed, the last refuses and says so.
#[test]
fn tables_are_made_once_and_never_by_an_older_program() {
    let database = ClickHouse::shared().database();
    let arguments = ["migrate", "--clickhouse", database.url(), "--database", database.name()];
    let mut both = [Tally::spawn(&arguments, &[]), Tally::spawn(&arguments, &[])];
    both.iter_mut().for_each(|one| drop(one.expect_success(SOON)));
    let again = Tally::spawn(&arguments, &[]).expect_success(SOON);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    let history = "SELECT count() = uniqExact(version) AND min(version) = 1 FROM schema_migrations FINAL";
    assert_eq!(database.query(history), "1\n");
    database.query("INSERT INTO schema_migrations (version, name, sha256) VALUES (999, 'later', 'x')");
    let refused = Tally::spawn(&arguments, &[]).expect_code(3, SOON);
    assert!(refused.stderr.contains("999"), "{}", refused.stderr);
}

/// Scenario: secrets in the configuration; a file with several mistakes; an address where nobody listens.
/// Guarantees: no secret is shown, all mistakes are named at once, and the address is in the error, with code 3.
#[test]
fn configuration_is_shown_checked_and_missed_in_words() {
    let secret =
        [("TALLY_CLICKHOUSE_PASSWORD", "hunter2"), ("TALLY_KAFKA_PROPERTIES", "sasl.password=hunter2")];
    let shown = Tally::spawn(&["config"], &secret).expect_success(SOON);
    assert!(!shown.stdout.contains("hunter2") && shown.stdout.contains("***"), "{}", shown.stdout);

    let folder = TempFolder::new("config");
    let file = folder.path().join("tally.toml");
    fs::write(&file, "[kafka]\nbroker = 'a:1'\n[clickhose]\nurl = 'x'\n").expect("a file can be written");
    let file = file.to_str().expect("paths are text");
    let said = Tally::spawn(&["--config", file, "config"], &[]).expect_code(3, SOON).stderr;
    assert!(said.contains("kafka.broker") && said.contains("clickhose.url"), "{said}");

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let said = Tally::spawn(&["migrate", "--clickhouse", &nobody], &[]).expect_code(3, SOON).stderr;
    assert!(said.contains(&nobody), "{said}");
}
