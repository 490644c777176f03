//! A store written by hand: facts, their receipts, coordinates and digests, kept together or torn apart on purpose.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tally_tests::{ClickHouse, Database, Tally};

/// One run of `tally`, in a debug build beside other work.
pub(super) const RUN: Duration = Duration::from_secs(120);

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
/// 2026-03-02T00:00:00Z, by `date -u -d 2026-03-02 +%s`.
pub(super) const T0: i64 = 1_772_409_600 * SECOND;
/// The day that begins with it.
pub(super) const FIRST_DAY: [&str; 4] = ["--from", "2026-03-02", "--to", "2026-03-03"];

/// Which table of facts, under which topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    Credit,
    License,
    Task,
    Moderation,
}

impl Table {
    const fn names(self) -> (&'static str, &'static str, u32) {
        match self {
            Table::Credit => ("credit_events", "credit-events", 101),
            Table::License => ("license_events", "license-events", 102),
            Table::Task => ("task_events", "task-events", 103),
            Table::Moderation => ("moderation_events", "moderation-events", 104),
        }
    }
}

/// One record: an event with its place in Kafka. What becomes of it in the store is said apart.
#[derive(Clone, Debug)]
pub(super) struct Record {
    table: Table,
    fields: Map<String, Value>,
    at: i64,
    appended: Option<i64>,
    id: Option<u32>,
    digest: u32,
    topic_id: Option<u32>,
    offset: Option<i64>,
    fact: bool,
    receipt: bool,
    letter: Option<&'static str>,
    letter_kept: bool,
    bytes: Option<u32>,
}

impl Record {
    fn new(table: Table, kind: &str, at: i64, fields: Value) -> Record {
        let Value::Object(mut all) = fields else { panic!("fields are an object") };
        for (name, value) in [
            ("kind", kind),
            ("source", "by-hand"),
            ("policy_tag", "GENERAL_USE"),
            ("actor_id", "somebody"),
            ("actor_role", "SERVICE"),
        ] {
            all.entry(name).or_insert_with(|| value.into());
        }
        Record {
            table,
            fields: all,
            at,
            appended: None,
            id: None,
            digest: 0,
            topic_id: None,
            offset: None,
            fact: true,
            receipt: true,
            letter: None,
            letter_kept: true,
            bytes: None,
        }
    }

    pub(super) fn task(task: &str, kind: &str, version: i64, at: i64) -> Record {
        let fields =
            json!({"task_id": task, "state_version": version, "queue": "NORMAL", "audience": "CUSTOMER"});
        Record::new(Table::Task, kind, at, fields)
    }

    pub(super) fn credit(kind: &str, at: i64, fields: Value) -> Record {
        Record::new(Table::Credit, kind, at, fields).with("audience", "CUSTOMER")
    }

    pub(super) fn license(kind: &str, at: i64, fields: Value) -> Record {
        Record::new(Table::License, kind, at, fields)
    }

    pub(super) fn case(case: &str, kind: &str, at: i64) -> Record {
        Record::new(Table::Moderation, kind, at, json!({"case_id": case, "risk_level": "LOW"}))
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Record {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Appended then, and not when it occurred.
    pub(super) fn appended(mut self, at: i64) -> Record {
        self.appended = Some(at);
        self
    }

    /// Under this event id and digest instead of its own.
    pub(super) fn event(mut self, id: u32, digest: u32) -> Record {
        (self.id, self.digest) = (Some(id), digest);
        self
    }

    /// In another topic identity, at that offset.
    pub(super) fn placed(mut self, topic_id: u32, offset: i64) -> Record {
        (self.topic_id, self.offset) = (Some(topic_id), Some(offset));
        self
    }

    pub(super) fn without_fact(mut self) -> Record {
        self.fact = false;
        self
    }

    pub(super) fn without_receipt(mut self) -> Record {
        self.receipt = false;
        self
    }

    /// Refused for that reason: a dead letter keyed by its task, and a receipt that says so.
    pub(super) fn dead(mut self, reason: &'static str) -> Record {
        (self.fact, self.letter) = (false, Some(reason));
        self
    }

    /// Its dead letter is gone.
    pub(super) fn without_letter(mut self) -> Record {
        self.letter_kept = false;
        self
    }

    /// Also a dead letter, though it was accepted.
    pub(super) fn buried_alive(mut self) -> Record {
        self.letter = Some("body");
        self
    }

    /// With these bytes: a replay has those of its dead letter.
    pub(super) fn bytes(mut self, bytes: u32) -> Record {
        self.bytes = Some(bytes);
        self
    }
}

/// A database of a test's own with Tally's tables.
pub(super) struct Ledger {
    pub(super) database: Database<'static>,
    rows: BTreeMap<&'static str, String>,
    next: BTreeMap<(&'static str, u32), i64>,
    heads: BTreeMap<u32, (i64, i64, bool)>,
    ids: Cell<u32>,
}

impl Ledger {
    pub(super) fn new() -> Ledger {
        let database = ClickHouse::shared().database();
        let at = ["--clickhouse", database.url(), "--database", database.name()];
        Tally::spawn(&[&["migrate"][..], &at].concat(), &[]).expect_success(RUN);
        Ledger {
            database,
            rows: BTreeMap::new(),
            next: BTreeMap::new(),
            heads: BTreeMap::new(),
            ids: Cell::new(1),
        }
    }

    /// Writes a record down: fact, receipt, dead letter, as it says.
    pub(super) fn put(&mut self, record: Record) {
        let (table, topic, own_topic_id) = record.table.names();
        let topic_id = record.topic_id.unwrap_or(own_topic_id);
        let next = self.next.entry((topic, topic_id)).or_default();
        let offset = record.offset.unwrap_or(*next);
        *next = (*next).max(offset + 1);
        self.ids.set(self.ids.get() + 1);
        let id = record.id.unwrap_or(1_000_000 + self.ids.get());
        let appended = record.appended.unwrap_or(record.at);
        let place = json!({"topic": topic, "topic_id": uuid(topic_id), "partition": 0, "offset": offset,
            "appended_at": decimal(appended, 3)});
        let content = text(10_000_000 * u64::from(id) + u64::from(record.digest));
        let bytes = text(u64::from(record.bytes.unwrap_or(id)) + (1 << 60));
        let identity = json!({"event_id": uuid(id), "digest": content, "occurred_at": decimal(record.at, 6)});
        if record.fact {
            // the earliest append wins
            let rank = json!({"rank": u64::MAX - u64::try_from(appended + offset).expect("after 1970")});
            self.row(table, &[&place, &identity, &Value::Object(record.fields.clone()), &rank]);
        }
        if let Some(reason) = record.letter.filter(|_| record.letter_kept) {
            let key = record.fields.get("task_id").cloned().unwrap_or_default();
            let why = json!({"reason": reason, "raw_sha256": bytes, "key": key, "value": "?", "schema": ""});
            self.row("dead_letters", &[&place, &why]);
        }
        if record.receipt {
            let dead = record.letter.is_some() && !record.fact;
            let state = json!({"disposition": if dead { "DEAD" } else { "ACCEPTED" }, "raw_sha256": bytes});
            let mut said = record.fields;
            said.retain(|name, _| KEPT.contains(&name.as_str()));
            if dead {
                self.row("audit_log", &[&place, &state, &json!({"reason": record.letter})]);
            } else {
                self.row("audit_log", &[&place, &state, &identity, &Value::Object(said)]);
            }
        }
    }

    pub(super) fn put_all(&mut self, records: impl IntoIterator<Item = Record>) {
        records.into_iter().for_each(|record| self.put(record));
    }

    /// A recorded gap of a topic identity of task events.
    pub(super) fn gap(&mut self, topic_id: u32, first: i64, next: i64, kind: &str) {
        let row = json!({"topic": "task-events", "topic_id": uuid(topic_id), "partition": 0, "first": first,
            "next": next, "kind": kind});
        self.row("gaps", &[&row]);
    }

    /// What the broker retained of a topic identity of task events, and whether it is gone.
    pub(super) fn head(&mut self, topic_id: u32, low: i64, high: i64, ended: bool) {
        self.heads.insert(topic_id, (low, high, ended));
    }

    /// A row as it is, in any table.
    pub(super) fn row(&mut self, table: &'static str, parts: &[&Value]) {
        let fields = parts.iter().filter_map(|part| part.as_object()).flatten();
        let row: Map<String, Value> = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        let rows = self.rows.entry(table).or_default();
        writeln!(rows, "{}", Value::Object(row)).expect("text grows");
    }

    /// Puts everything into ClickHouse. Every topic has ended: nothing follows, and windows are closed.
    pub(super) fn ended(&mut self) {
        self.flush(None);
    }

    /// Puts everything into ClickHouse. Topics go on; all that was appended before `seen` is here.
    pub(super) fn seen_at(&mut self, seen: i64) {
        self.flush(Some(seen));
    }

    fn flush(&mut self, seen: Option<i64>) {
        for ((topic, id), next) in self.next.clone() {
            if id >= 100 {
                self.write_head(topic, id, (0, next, seen.is_none()), seen.unwrap_or(T0));
            }
        }
        for (id, head) in self.heads.clone() {
            self.write_head("task-events", id, head, seen.unwrap_or(T0));
        }
        for (table, rows) in std::mem::take(&mut self.rows) {
            self.database.query(&format!("INSERT INTO {table} FORMAT JSONEachRow\n{rows}"));
        }
    }

    fn write_head(&mut self, topic: &str, id: u32, (low, high, ended): (i64, i64, bool), seen: i64) {
        let row = json!({"topic": topic, "topic_id": uuid(id), "partition": 0, "low": low, "high": high,
            "taken": high, "seen_at": decimal(seen, 3), "ended": ended});
        self.row("partition_heads", &[&row]);
    }

    /// `--clickhouse` and `--database`.
    pub(super) fn at(&self) -> [&str; 4] {
        ["--clickhouse", self.database.url(), "--database", self.database.name()]
    }

    /// Runs a job on this store, without recording what it says.
    pub(super) fn audit(&self, job: &str, more: &[&str]) -> Said {
        said(&[&["audit", job][..], &self.at(), &["--no-record"], more].concat())
    }
}

/// What a receipt says of an event.
const KEPT: [&str; 9] = [
    "source",
    "kind",
    "policy_tag",
    "actor_id",
    "actor_role",
    "task_id",
    "wallet_id",
    "license_id",
    "case_id",
];

/// The answer of one run with one job.
pub(in crate::integration) struct Said {
    pub(super) code: Option<i32>,
    pub(super) results: Vec<Value>,
    pub(super) stderr: String,
}

/// Runs `tally` and reads the JSON that it prints.
pub(in crate::integration) fn said(arguments: &[&str]) -> Said {
    let arguments = [arguments, &["--format", "json"]].concat();
    let ended = Tally::spawn(&arguments, &[]).end_within(RUN);
    let results = serde_json::from_str::<Value>(&ended.stdout).ok();
    let results = results.and_then(|said| said["results"].as_array().cloned()).unwrap_or_default();
    Said { code: ended.status.code(), results, stderr: ended.stderr }
}

impl Said {
    pub(super) fn result(&self) -> &Value {
        assert_eq!(self.results.len(), 1, "one job, one result\n{}", self.stderr);
        &self.results[0]
    }

    /// Holds verdict and exit code to these.
    #[track_caller]
    pub(in crate::integration) fn says(&self, verdict: &str, code: i32) -> &Said {
        let result = self.result();
        assert_eq!(result["verdict"], verdict, "{}\n{:#}", result["sentence"], result["cross_check"]);
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        if verdict != "ERROR" {
            assert_eq!(result["cross_check"]["agrees"], true, "{:#}", result["cross_check"]);
        }
        self
    }

    /// Holds every counter that is not 0 to these, and the numbers of all others to 0.
    #[track_caller]
    pub(in crate::integration) fn counts(&self, expected: &[(&str, i64)]) -> &Said {
        let expected: BTreeMap<String, i64> =
            expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let mut counters = self.counters();
        if !expected.contains_key("buckets") {
            counters.remove("buckets"); // how tasks are spread over them is the store's hash
        }
        assert_eq!(counters, expected);
        self
    }

    /// Counters that are not 0.
    pub(super) fn counters(&self) -> BTreeMap<String, i64> {
        let counters = self.result()["counters"].as_object().expect("counters");
        let counters =
            counters.iter().map(|(name, count)| (name.clone(), count.as_i64().expect("an integer")));
        counters.filter(|(_, count)| *count != 0).collect()
    }

    /// Holds the offenders to these, by id and rule.
    #[track_caller]
    pub(super) fn names(&self, expected: &[(&str, &str)]) -> &Said {
        let result = self.result();
        let found = result["offenders"].as_array().expect("offenders").iter();
        let text = |one: &Value, name: &str| one[name].as_str().expect("text").to_owned();
        let found: Vec<(String, String)> = found.map(|one| (text(one, "id"), text(one, "why"))).collect();
        let expected: Vec<(String, String)> =
            expected.iter().map(|(id, why)| ((*id).to_owned(), (*why).to_owned())).collect();
        // a report names the first ten, by id
        assert_eq!(found, expected[..expected.len().min(10)]);
        assert_eq!(result["offenders_total"], expected.len(), "{:#}", result["offenders"]);
        self
    }

    /// The measure of that name and group.
    pub(super) fn measure(&self, name: &str, group: &str) -> &Value {
        let measures = self.result()["measures"].as_array().expect("measures");
        let found = measures.iter().find(|one| one["name"] == name && one["group"] == group);
        found.unwrap_or_else(|| panic!("no {name} of {group} in {measures:#?}"))
    }
}

/// A UUID by number.
pub(super) fn uuid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// 32 bytes by number.
fn text(number: u64) -> String {
    format!("{number:032}")
}

/// A moment as ClickHouse reads it: seconds since 1970 with so many decimals.
pub(super) fn decimal(us: i64, decimals: usize) -> String {
    let fraction = format!("{:06}", us.rem_euclid(SECOND));
    format!("{}.{}", us.div_euclid(SECOND), &fraction[..decimals])
}
