//! What the audit rests on, over the API: tiling, verdicts, offenders, verifications, and one task against the sealed log.

use std::collections::BTreeSet;

use crate::integration::seals::Sealed;
use serde_json::{Value, json};
use tally_dashboards::identity::Role;
use tally_tests::service::Service;
use tally_tests::{ClickHouse, Kafka, Tally, skip_without};

const TOPIC: &str = "00000000-0000-4000-8000-000000000077";

/// What is written of one partition: offsets with a receipt, gaps, and the broker's watermarks.
struct Partition {
    receipts: Vec<i64>,
    gaps: Vec<(i64, i64)>,
    head: Option<(i64, i64)>,
}

impl Partition {
    /// Offsets that are known, those known twice, those below the last known one of which nothing is known, and those still to come,
    /// counted one by one.
    fn counted(&self) -> Value {
        let gaps = self.gaps.iter().flat_map(|(first, next)| *first..*next);
        let all: Vec<i64> = self.receipts.iter().copied().chain(gaps).collect();
        let known: BTreeSet<i64> = all.iter().copied().collect();
        let low = self.head.map_or(0, |(low, _)| low);
        let first = known.first().copied().unwrap_or(low).min(low);
        let next = known.last().map_or(low, |last| last + 1);
        let holes = (first..next).filter(|offset| !known.contains(offset)).count();
        let absent: BTreeSet<i64> = self.gaps.iter().flat_map(|(first, next)| *first..*next).collect();
        let untaken = self.head.map_or(0, |(_, high)| (high - next).max(0));
        json!({
            "first": first, "next": next, "receipts": self.receipts.len(), "absent": absent.len(), "holes": holes,
            "overlaps": all.len() - known.len(), "untaken": untaken,
        })
    }
}

/// Scenario: partitions with holes in the middle and at the beginning, receipts inside gaps, gaps inside gaps, a gap longer than those
/// that follow it, nothing but a head, and nothing but receipts; rows that are there twice.
/// Guarantees: what is said of each is what counting its offsets one by one gives.
#[test]
fn every_partition_is_tiled_as_its_rows_are() {
    let partitions = [
        Partition { receipts: (0..10).collect(), gaps: vec![], head: Some((0, 10)) },
        Partition { receipts: vec![0, 1, 2, 5, 6, 9], gaps: vec![(3, 5)], head: Some((0, 12)) },
        Partition {
            receipts: (20..30).collect(),
            gaps: vec![(22, 28), (23, 24), (27, 31)],
            head: Some((15, 31)),
        },
        Partition {
            receipts: vec![104, 109],
            gaps: vec![(100, 120), (101, 103), (130, 131)],
            head: Some((110, 140)),
        },
        Partition { receipts: vec![], gaps: vec![], head: Some((7, 9)) },
        Partition { receipts: vec![3, 4], gaps: vec![], head: None },
    ];
    let database = ClickHouse::shared().database();
    let at = ["migrate", "--clickhouse", database.url(), "--database", database.name()];
    Tally::spawn(&at, &[]).expect_success(std::time::Duration::from_secs(60));
    for (number, partition) in partitions.iter().enumerate() {
        for _ in 0..2 {
            for offset in &partition.receipts {
                database.query(&format!(
                    "INSERT INTO audit_log (topic, topic_id, partition, offset, disposition) SETTINGS insert_deduplicate = 0 VALUES ('task-events', '{TOPIC}', {number}, {offset}, 'ACCEPTED')"
                ));
            }
        }
        for (first, next) in &partition.gaps {
            database.query(&format!(
                "INSERT INTO gaps VALUES ('task-events', '{TOPIC}', {number}, {first}, {next}, 'ABSENT')"
            ));
        }
        if let Some((low, high)) = partition.head {
            database.query(&format!(
                "INSERT INTO partition_heads VALUES ('task-events', '{TOPIC}', {number}, {low}, {high}, {high}, now64(3), false)"
            ));
        }
    }
    let service = Service::start(&database, &[]);
    let answer = service.get("/api/v1/audit/tiling", &service.token(Role::Moderator, "m")).json();
    let items = answer["items"].as_array().expect("rows");
    assert_eq!(items.len(), partitions.len(), "{answer}");
    for (row, partition) in items.iter().zip(&partitions) {
        for (name, expected) in partition.counted().as_object().expect("figures") {
            assert_eq!(&row[name], expected, "{name} of {row}");
        }
    }
}

/// Scenario: a platform's events are sealed and verified; one finished task is asked for, before and after a field of one of its facts
/// was altered, by an admin, a moderator and a buyer; then everything is verified again.
/// Guarantees: nothing was verified before it was; a task whose records are all sealed is verified, the altered record alone is named
/// after, a moderator does not learn of charges, a buyer is refused; what `tally verify` says stands in the list.
#[test]
fn a_task_is_held_against_the_sealed_log() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("task-evidence", "3000");
    sealed.seal("log");
    let database = &sealed.stage.database;
    let service =
        Service::start(database, &["--seals", &sealed.path("log"), "--seal-keys", &sealed.path("key.pub")]);
    let (admin, moderator) = (service.token(Role::Admin, "ops"), service.token(Role::Moderator, "m"));
    let verifications = || service.get("/api/v1/audit/verifications", &moderator).json()["items"].clone();
    assert_eq!(verifications(), json!([]));
    sealed.verify("log", 0, &[]);
    let known = verifications();
    assert_eq!((&known[0]["verdict"], &known[0]["scope"]), (&json!("VERIFIED"), &json!("all")), "{known}");

    let finished = "SELECT task_id FROM task_events_final WHERE task_id IN (SELECT task_id FROM credit_events_final WHERE kind = 'CHARGED') \
        AND task_id NOT IN (SELECT assumeNotNull(key) FROM dead_letters_final WHERE key IS NOT NULL) GROUP BY task_id HAVING countIf(kind = 'SUCCEEDED') = 1 ORDER BY task_id LIMIT 1";
    let task = database.query(finished).trim().to_owned();
    assert!(!task.is_empty(), "no task is finished: {}", sealed.stage.reasons());
    let path = format!("/api/v1/tasks/{task}/evidence");
    let evidence = service.get(&path, &admin).json();
    let receipts = format!("SELECT count() FROM audit_log_final WHERE task_id = '{task}'");
    let records = evidence["records"].as_array().expect("records").clone();
    assert_eq!(records.len().to_string(), database.query(&receipts).trim());
    assert_eq!(evidence["verdict"], "verified", "{evidence}");
    assert!(records.iter().all(|record| record["state"] == "sealed" && record["facts"] == 1), "{evidence}");

    let masked = service.get(&path, &moderator).json();
    let charges = |of: &Value| {
        of["records"].as_array().expect("records").iter().filter(|record| record["kind"] == "CHARGED").count()
    };
    assert_eq!((charges(&evidence), charges(&masked)), (1, 0), "{masked}");
    assert_eq!(masked["verdict"], "verified");
    assert_eq!(service.get(&path, &service.token(Role::Buyer, "b")).status, 403);
    assert_eq!(service.get("/api/v1/tasks/no-such-task/evidence", &admin).status, 404);

    sealed.change(&format!(
        "ALTER TABLE task_events UPDATE actor_id = 'somebody' WHERE task_id = '{task}' AND kind = 'SUCCEEDED'"
    ));
    let altered = service.get(&path, &admin).json();
    assert_eq!(altered["verdict"], "altered", "{altered}");
    let named: Vec<&Value> = altered["records"]
        .as_array()
        .expect("records")
        .iter()
        .filter(|record| record["state"] == "altered")
        .collect();
    assert!(named.len() == 1 && named[0]["kind"] == "SUCCEEDED", "{altered}");
    sealed.verify("log", 1, &[]);
    assert_eq!(verifications()[0]["verdict"], "TAMPERED");
}

/// Scenario: a sealed platform; of one finished task a charge is planted, then a fact is copied under another day, then its last charge is
/// deleted with its receipt; each time the task is asked for, and the first two are taken away again.
/// Guarantees: none of the three is a yes: the planted fact is named as one without a receipt, the copied one as altered, and of the
/// deleted one the partition is named that has a row less than was sealed; without the planted and the copied row the task is verified again.
#[test]
fn a_task_with_planted_copied_or_deleted_rows_is_not_verified() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("task-planted", "3000");
    sealed.seal("log");
    let database = &sealed.stage.database;
    let service =
        Service::start(database, &["--seals", &sealed.path("log"), "--seal-keys", &sealed.path("key.pub")]);
    let admin = service.token(Role::Admin, "ops");
    let charged = "SELECT task_id FROM credit_events_final WHERE kind = 'CHARGED' AND task_id NOT IN (SELECT assumeNotNull(key) FROM dead_letters_final WHERE key IS NOT NULL) \
        GROUP BY task_id HAVING count() = 1 ORDER BY task_id LIMIT 1";
    let task = database.query(charged).trim().to_owned();
    assert!(!task.is_empty(), "no task was charged: {}", sealed.stage.reasons());
    let of_it = format!("task_id = '{task}' AND kind = 'CHARGED'");
    let ask = || service.get(&format!("/api/v1/tasks/{task}/evidence"), &admin).json();
    let odd = |evidence: &Value| -> Vec<Value> {
        let records = evidence["records"].as_array().expect("records").iter();
        records.filter(|record| record["state"] != "sealed").cloned().collect()
    };
    assert_eq!(ask()["verdict"], "verified", "{}", ask());

    let copy = |replaced: &str| {
        sealed.change(&format!(
            "INSERT INTO credit_events SELECT * REPLACE ({replaced}) FROM credit_events FINAL WHERE {of_it}"
        ));
    };
    copy("toUUID('00000000-0000-4000-8000-0000000000ff') AS event_id");
    let planted = ask();
    assert_eq!(planted["verdict"], "altered", "{planted}");
    let named = odd(&planted);
    assert!(named.len() == 1 && named[0]["disposition"] == "NONE", "{planted}");
    assert_eq!(named[0]["event_id"], "00000000-0000-4000-8000-0000000000ff");
    sealed
        .change("DELETE FROM credit_events WHERE event_id = toUUID('00000000-0000-4000-8000-0000000000ff')");
    assert_eq!(ask()["verdict"], "verified", "{}", ask());

    copy("occurred_at - toIntervalDay(1) AS occurred_at");
    let copied = ask();
    assert_eq!(copied["verdict"], "altered", "{copied}");
    let named = odd(&copied);
    assert!(named.len() == 1 && named[0]["facts"] == 2 && named[0]["kind"] == "CHARGED", "{copied}");
    sealed.change(&format!(
        "DELETE FROM credit_events WHERE {of_it} AND occurred_at < (SELECT max(occurred_at) FROM credit_events WHERE {of_it})"
    ));
    assert_eq!(ask()["verdict"], "verified", "{}", ask());

    let place =
        database.query(&format!("SELECT toString(partition) FROM audit_log_final WHERE {of_it} LIMIT 1"));
    sealed.change(&format!("DELETE FROM credit_events WHERE {of_it}"));
    sealed.change(&format!("DELETE FROM audit_log WHERE {of_it}"));
    let deleted = ask();
    assert_eq!(deleted["verdict"], "unchecked", "{deleted}");
    let uneven = deleted["uneven"].as_array().expect("partitions");
    let said = format!("credit-events/{} has ", place.trim());
    assert!(uneven.len() == 1 && uneven[0].as_str().is_some_and(|text| text.contains(&said)), "{deleted}");
}

/// Scenario: a task with more than a thousand events, of which one that is shown has no receipt; and its page.
/// Guarantees: that event alone is said to have no receipt; the page says that there are more events, and sums up nothing.
#[test]
fn the_page_of_a_long_task_accuses_nobody_and_sums_up_nothing() {
    let database = super::platform::platform();
    database.query(
        "INSERT INTO credit_events (event_id, occurred_at, appended_at, source, task_id, user_id, wallet_id, kind, amount_micros, topic, offset) \
         SELECT toUUID(concat('00000000-0000-7000-8000-', leftPad(toString(number + 700000), 12, '0'))), toDateTime64('2026-06-01 15:00:00', 6, 'UTC') + toIntervalSecond(number), \
             toDateTime64('2026-06-01 15:00:00', 3, 'UTC') + toIntervalSecond(number), 'billing', 't-ann', 'ann', 'w-ann', 'CHARGED', 1, 'credit-events', 1000 + number FROM numbers(1100)",
    );
    database.query(
        "INSERT INTO audit_log (topic, topic_id, partition, offset, appended_at, disposition, event_id, source, digest, task_id) \
         SELECT topic, topic_id, partition, offset, appended_at, 'ACCEPTED', event_id, source, digest, task_id \
         FROM credit_events WHERE task_id = 't-ann' AND offset != 1500",
    );
    for (table, number) in
        [("task_events", 1_000_000), ("license_events", 2_000_000), ("moderation_events", 3_000_000)]
    {
        database.query(&format!(
            "INSERT INTO audit_log (topic, topic_id, partition, offset, appended_at, disposition, event_id, source, digest, task_id) \
             SELECT topic, topic_id, partition, offset + {number}, appended_at, 'ACCEPTED', event_id, source, digest, task_id FROM {table} WHERE task_id = 't-ann'"
        ));
    }
    let service = Service::start(&database, &[]);
    let cookie = format!("__Host-tally={}", service.token(Role::Admin, "olga"));
    let page = service.get_with("/task/t-ann", "", &[("cookie", &cookie)]);
    assert_eq!(page.status, 200, "{}", page.body);
    assert_eq!(page.body.matches("no receipt").count(), 1, "{}", page.body);
    assert!(
        page.body.contains("It has more events than are here") && !page.body.contains("charged <strong>")
    );
}

/// Scenario: a task whose one event was refused; then its bytes are accepted on another topic, and then on its own.
/// Guarantees: the page calls the task incomplete until the last, and the letter settled after, as the audit does.
#[test]
fn a_letter_whose_bytes_were_accepted_is_open_no_more() {
    let database = super::platform::platform();
    let service = Service::start(&database, &[]);
    let cookie = format!("__Host-tally={}", service.token(Role::Admin, "olga"));
    let is_open = || {
        let page = service.get_with("/task/t-ann", "", &[("cookie", &cookie)]);
        assert_eq!(page.status, 200, "{}", page.body);
        let (open, settled) =
            (page.body.contains("it is incomplete until"), page.body.contains("Each is settled"));
        assert_ne!(open, settled, "{}", page.body);
        open
    };
    assert!(is_open());
    for (topic, remains) in [("credit-events", true), ("task-events", false)] {
        database.query(&format!(
            "INSERT INTO audit_log (topic, topic_id, partition, offset, disposition, raw_sha256) \
             SELECT '{topic}', topic_id, partition, offset + 1, 'ACCEPTED', raw_sha256 FROM dead_letters WHERE key = 't-ann'"
        ));
        assert_eq!(is_open(), remains, "{topic}");
    }
}

/// A result whole, as a job writes it, with offenders of that job.
fn result(id: &str, job: &str, offenders: &Value) -> Value {
    json!({
        "result_id": id, "job": job, "verdict": "FAIL", "sentence": "by hand", "numerator": 1, "denominator": 2, "known_at_us": 1_780_380_000_000_000_i64,
        "window": { "from_us": 0, "to_us": 1, "state": "CLOSED", "watermark_us": 2 }, "measures": [], "counters": {}, "offenders": offenders,
        "offenders_total": 1, "input": { "source": "clickhouse", "rows_read": 1,
            "bounds": [{ "topic": "eu.task-events", "topic_id": TOPIC, "partition": 0, "next": 9 }] },
        "sql_sha256": {}, "cross_check": { "by": "nobody", "agrees": true, "differences": [] },
        "versions": { "tally": "0", "datafusion": "0", "clickhouse": "0" }, "duration_ms": 1, "restates": null,
    })
}

/// Scenario: results of several jobs with offenders of each kind, and one that is no whole result; each job's results over time.
/// Guarantees: each offender leads to the page behind it, and to none where there is none; of each job the latest result comes first.
#[test]
fn offenders_lead_to_their_pages() {
    let database = super::platform::platform();
    let place = format!("{TOPIC}/3/7");
    let cases = [
        ("completeness", "task 1/2", "dead_lettered", "task", json!("/task/task%201%2F2")),
        ("accuracy", "t-ann", "misses", "task", json!("/task/t-ann")),
        ("sla", "k-ann", "overdue", "case", json!("/case/k-ann")),
        ("balances", "w-ann", "differing", "wallet", Value::Null),
        ("stability", "0199", "errors", "event", Value::Null),
        ("offsets", &place, "both_ways", "record", json!(format!("/dead/{place}"))),
        ("offsets", &place, "holes", "record", Value::Null),
    ];
    for (number, (job, id, why, ..)) in cases.iter().enumerate() {
        let result_id = format!("00000000-0000-4000-8000-00000000070{number}");
        let offenders = json!([{ "id": id, "why": why, "detail": "d" }]);
        let report = result(&result_id, job, &offenders).to_string();
        database.query(&format!(
            "INSERT INTO job_results (job, window_from, window_to, known_at, result_id, verdict, report) VALUES ('{job}', 0, 1, '2026-06-02 05:00:0{number}', '{result_id}', 'FAIL', '{report}')"
        ));
    }
    let service = Service::start(&database, &[]);
    let token = service.token(Role::Moderator, "m");
    for (number, (job, id, why, is, page)) in cases.iter().enumerate() {
        let path = format!("/api/v1/audit/results/00000000-0000-4000-8000-00000000070{number}/offenders");
        let found = service.get(&path, &token).json()["items"].clone();
        let expected = json!([{ "id": id, "why": why, "detail": "d", "is": is, "page": page }]);
        assert_eq!(found, expected, "{job}");
    }
    let verdicts = service.get("/api/v1/audit/verdicts", &token).json();
    let rows = verdicts["items"].as_array().expect("rows");
    let jobs: Vec<&str> = rows.iter().filter_map(|row| row["job"].as_str()).collect();
    let expected = [
        "accuracy",
        "balances",
        "completeness",
        "completeness",
        "completeness",
        "offsets",
        "offsets",
        "sla",
        "stability",
    ];
    assert_eq!(jobs, expected, "{verdicts}");
    let known: Vec<&str> = rows
        .iter()
        .filter(|row| row["job"] == "completeness")
        .filter_map(|row| row["verdict"].as_str())
        .collect();
    assert_eq!(known, ["FAIL", "PASS", "FAIL"], "the latest first");
    // a row that is no whole result, as an older version may have left it
    assert_eq!(
        service.get("/api/v1/audit/results/00000000-0000-4000-8000-000000000501/offenders", &token).status,
        404
    );
}
