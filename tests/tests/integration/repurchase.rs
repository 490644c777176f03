//! Repurchase on a public purchase history (CDNOW, see `tests/python/cdnow.py`), against another program on its file.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tally_schemas::Topic;
use tally_tests::stage::line;
use tally_tests::{ClickHouse, Kafka, Stage, Tally, TempFolder, python, skip_without};

/// 6,919 lines, each encoded and judged twice, by a debug build beside other work.
const LOADED: Duration = Duration::from_secs(150);
const AUDITED: Duration = Duration::from_secs(60);

/// 1997-04-07, a Monday, moved on by 1,252 weeks: all customers of the file have bought for the first time by then.
const LAUNCH: &str = "2021-04-05T00:00:00Z";
/// Eight weeks before, and one after: all that METRICS 4 looks at.
const WINDOW: [&str; 4] = ["--from", "2021-02-08T00:00:00Z", "--to", "2021-04-12T00:00:00Z"];

/// Publishes the history and takes it in; gives the number of its rows.
fn loaded(stage: &Stage<'_>) -> u64 {
    let folder = TempFolder::new("cdnow");
    let events = python::run("cdnow.py", &[], "").stdout;
    let file = folder.path().join("events");
    fs::write(&file, &events).expect("events can be written");
    let file = file.to_str().expect("paths are text");
    let what = ["--topic", "credit-events", "--record-time", "occurred-at", "--file", file];
    Tally::spawn(&[&["publish"][..], &stage.at_kafka(), &what].concat(), &[]).expect_success(LOADED);
    let balance = stage.catch_up(&[]);
    let rows = events.lines().count() as u64;
    let credit = line(&balance, Topic::Credit);
    assert_eq!((credit.published, credit.accepted, credit.dead), (rows, rows, 0), "{}", stage.reasons());
    rows
}

/// Topics that keep records of any age: those of a history are older than Kafka's seven days.
fn stage() -> Stage<'static> {
    Stage::configured(Kafka::shared(), ClickHouse::shared(), "cdnow", &[("retention.ms", "-1")])
}

/// Guarantees: the other program counts small cases as a person does.
#[test]
fn the_other_program_counts_as_by_hand() {
    python::run("repurchase.py", &["check"], "");
}

/// Scenario: 18 months of purchases of 2020 to 2022 are loaded through `tally publish --record-time occurred-at`.
/// Guarantees: each row of the file is one fact, with its customer's sum to the cent, and none is skewed: the record's
/// time is the event's.
#[test]
fn a_loaded_history_keeps_its_time() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = stage();
    let rows = loaded(&stage);
    let facts = "SELECT count(), uniqExact(wallet_id), sum(price_minor), countIf(appended_at != occurred_at),
        min(occurred_at), max(occurred_at) FROM credit_events_final";
    let facts = stage.database.query(facts);
    // from the file alone: awk '{c[$1]=1; split($5,d,"."); s+=d[1]*100+d[2]} END {print NR, length(c), s}'
    assert_eq!(rows, 6_919);
    let expected = "6919\t2357\t24409194\t0\t2020-12-30 00:00:00.000000\t2022-06-28 00:00:00.000000\n";
    assert_eq!(facts, expected);
}

/// Scenario: the same history; the job and another program count for the same launch.
/// Guarantees: the same wallets in the base and the same that bought again, in the week after the launch and in the four
/// before.
#[test]
fn repurchase_of_a_public_history() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = stage();
    loaded(&stage);
    let expected = python::run("repurchase.py", &["cdnow", LAUNCH], "").stdout;
    let expected: Value = serde_json::from_str(&expected).expect("the other program prints JSON");
    let launch = ["--launch", LAUNCH, "--format", "json"];
    let arguments = [&["audit", "repurchase"][..], &stage.at_clickhouse(), &launch, &WINDOW].concat();
    let said = Tally::spawn(&arguments, &[]).end_within(AUDITED);
    let said: Value = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}\n{}", said.stdout, said.stderr));
    let result = &said["results"][0];
    assert_eq!(result["job"], "repurchase");
    let names = ["launch_base", "launch_repurchased", "baseline_base", "baseline_repurchased"];
    let counted: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), result["counters"][name].clone())).collect();
    assert_eq!(json!(counted), expected);
}
