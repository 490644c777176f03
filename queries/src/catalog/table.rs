//! The tables and their columns: what each is called in a job, and how ClickHouse computes it.

use super::snapshot::Snapshot;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, LazyLock};
use tally_schemas::{Kind, Topic, columns};
use uuid::Uuid;

/// How far `occurred_at` may lie from the append time before the append time is taken for it: 5 minutes.
pub(crate) const SKEW_MICROS_MAX: i64 = 300_000_000;

/// Tasks fall into so many buckets by the hash of their id. An export keeps each in files of its own, and jobs about
/// tasks read a few at a time.
pub(crate) const BUCKETS: i64 = 64;
/// The column that says which.
pub(super) const BUCKET: &str = "task_bucket";

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name. Times end in `_us`: microseconds since 1970 UTC.
    pub name: String,
    /// Its type in a job: text, 64-bit integers, truth values, or bytes of a digest.
    pub kind: DataType,
    /// How ClickHouse computes it from the row `t`, cast explicitly.
    pub sql: String,
}

/// Which offsets of a table are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bounded {
    /// Rows of one offset: those below the snapshot's bound.
    Offset,
    /// Ranges of offsets: those that begin below it.
    First,
    /// The delivery ledger, which is bounded by time: rows that began until the snapshot was taken, as they were then. Named are the
    /// columns of the beginning and of the end.
    Time(&'static str, &'static str),
}

/// One table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name in a job.
    pub name: &'static str,
    /// The deduplicated view that it is read from.
    from: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
    bounded: Bounded,
    /// The expression whose hash spreads its rows over partitions; empty for tables that are read in one piece.
    pub(super) spread: &'static str,
    /// Whether an export keeps a folder a bucket, instead of one file.
    pub(super) bucketed: bool,
}

impl Table {
    /// Its columns as Arrow has them. All may be absent: a scan does not promise what ClickHouse does not.
    pub fn schema(&self) -> SchemaRef {
        let field = |column: &Column| Field::new(&column.name, column.kind.clone(), true);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The condition that keeps what came after the snapshot out. Ids and numbers of our own, no text from outside. A topic is one
    /// comparison, against the bound of its partition: one a partition costs ClickHouse more than all else of a short query.
    pub(super) fn bound(&self, snapshot: &Snapshot) -> String {
        let offset = match self.bounded {
            Bounded::Time(begun, _) => {
                return format!("toUnixTimestamp64Milli(t.{begun}) <= {}", snapshot.taken_ms);
            }
            Bounded::Offset => "t.offset",
            Bounded::First => "t.first",
        };
        let mut topics: BTreeMap<Uuid, (Vec<String>, Vec<String>)> = BTreeMap::new();
        for bound in &snapshot.bounds {
            let (partitions, next) = topics.entry(bound.topic_id).or_default();
            partitions.push(bound.partition.to_string());
            next.push(bound.next.to_string());
        }
        let topic = |(id, (partitions, next)): (&Uuid, &(Vec<String>, Vec<String>))| {
            let (partitions, next) = (partitions.join(", "), next.join(", "));
            format!("t.topic_id = '{id}' AND {offset} < transform(t.partition, [{partitions}], [{next}], 0)")
        };
        match topics.is_empty() {
            true => "0".to_owned(),
            false => format!("({})", topics.iter().map(topic).collect::<Vec<_>>().join(" OR ")),
        }
    }

    /// The table up to the snapshot's bound, as a ClickHouse query of the columns that are `named`. ClickHouse looks at every column of a
    /// table anew wherever a query has its name: of a table of forty that costs more than the rows of a day.
    pub(crate) fn query(&self, snapshot: &Snapshot, named: impl Fn(&str) -> bool) -> String {
        let mut columns = String::new();
        for Column { name, sql, .. } in self.columns.iter().filter(|column| named(&column.name)) {
            let comma = if columns.is_empty() { "" } else { ", " };
            let _ = write!(columns, "{comma}{sql} AS {name}"); // writing to a String cannot fail
        }
        format!("SELECT {columns} FROM {} AS t WHERE {}", self.from(snapshot), self.bound(snapshot))
    }

    /// The query for facts and dead letters beyond the bound, and whether each was appended more than an hour ago; at most
    /// so many that a verdict is certain. It reads whole columns: facts are not in the order of offsets, and letters are few.
    pub(super) fn beyond(&self, snapshot: &Snapshot) -> Option<String> {
        (self.bounded == Bounded::Offset && self.name != "audit_log").then(|| {
            let (from, bound) = (self.from, self.bound(snapshot));
            format!(
                "SELECT toString(t.topic_id) AS id, t.partition AS partition, t.offset AS offset, \
                t.appended_at < now64(3) - INTERVAL 1 HOUR AS waiting FROM {from} AS t WHERE NOT {bound} LIMIT 100000"
            )
        })
    }

    /// The view it is read from; of rows that end in time, as they were when the snapshot was taken.
    pub(super) fn from(&self, snapshot: &Snapshot) -> String {
        match self.bounded {
            Bounded::Time(_, ended) => format!(
                "(SELECT * REPLACE (if(toUnixTimestamp64Milli({ended}) > {}, NULL, {ended}) AS {ended}) FROM {})",
                snapshot.taken_ms, self.from
            ),
            _ => self.from.to_owned(),
        }
    }
}

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    let mut all: Vec<Table> = Topic::ALL.map(facts).into();
    all.extend([audit_log(), dead_letters(), gaps(), feed_deliveries(), feed_resumes()]);
    all
});

/// Every table.
pub fn tables() -> &'static [Table] {
    &TABLES
}

fn column(name: &str, kind: DataType, sql: String) -> Column {
    Column { name: name.to_owned(), kind, sql }
}

fn text(name: &str) -> Column {
    column(name, DataType::Utf8, format!("toString(t.{name})"))
}

fn integer(name: &str) -> Column {
    column(name, DataType::Int64, format!("toInt64(t.{name})"))
}

/// A time under a name that says its unit: `occurred_at` becomes `occurred_us`.
fn time(name: &str, decimals: u8) -> Column {
    let to = if decimals == 3 { "toUnixTimestamp64Milli" } else { "toUnixTimestamp64Micro" };
    let scale = if decimals == 3 { " * 1000" } else { "" };
    let short = name.strip_suffix("_at").unwrap_or(name);
    column(&format!("{short}_us"), DataType::Int64, format!("{to}(t.{name}){scale}"))
}

fn digest(name: &str) -> Column {
    column(name, DataType::FixedSizeBinary(32), format!("t.{name}"))
}

/// A 64-bit hash of what makes an event this one: source, id and content. The same in facts and receipts; sums of it wrap.
fn id_hash() -> Column {
    let sql = "reinterpretAsInt64(cityHash64(toString(t.source), t.event_id, t.digest))";
    column("id_hash", DataType::Int64, sql.to_owned())
}

/// A 64-bit hash of a task's id, the same in facts and receipts: cheaper to group by than the id.
fn task_hash() -> Column {
    column("task_hash", DataType::Int64, "reinterpretAsInt64(cityHash64(t.task_id))".to_owned())
}

fn coordinates() -> Vec<Column> {
    vec![text("topic"), text("topic_id"), integer("partition"), integer("offset"), time("appended_at", 3)]
}

/// Event time: `occurred_at` unless it is far from the append time, and whether it was.
fn event_time() -> [Column; 2] {
    let occurred = "toUnixTimestamp64Micro(t.occurred_at)";
    let appended = "(toUnixTimestamp64Milli(t.appended_at) * 1000)";
    let near = format!("abs({occurred} - {appended}) <= {SKEW_MICROS_MAX}");
    let event = format!("if({near}, {occurred}, {appended})");
    [
        column("event_us", DataType::Int64, event),
        column("skewed", DataType::Boolean, format!("CAST(NOT ({near}) AS Bool)")),
    ]
}

/// The bucket of a row's task; rows without one are spread by another expression.
fn bucket(task: &str, otherwise: &str) -> Column {
    let sql = format!("toInt64(cityHash64(if({task} = '', {otherwise}, {task})) % {BUCKETS})");
    column(BUCKET, DataType::Int64, sql)
}

fn facts(topic: Topic) -> Table {
    let of = |c: &tally_schemas::Column| match &c.kind {
        Kind::Text | Kind::Uuid | Kind::Enum(_) => text(&c.name),
        Kind::Long | Kind::Int => integer(&c.name),
        Kind::Boolean => column(&c.name, DataType::Boolean, format!("t.{}", c.name)),
        Kind::Timestamp => time(&c.name, 6),
    };
    let mut all: Vec<Column> = columns(topic).iter().map(of).collect();
    all.extend(event_time());
    all.extend(coordinates());
    all.extend([digest("digest"), id_hash()]);
    if topic == Topic::Task {
        // the tag's number in the dictionary, which is cheaper to compare than its name
        let sql = "toInt64(CAST(t.policy_tag AS Int8))".to_owned();
        all.extend([column("policy_code", DataType::Int64, sql), task_hash()]);
    }
    all.push(bucket("t.task_id", "toString(t.event_id)"));
    let from = match topic {
        Topic::Credit => "credit_events_final",
        Topic::License => "license_events_final",
        Topic::Task => "task_events_final",
        Topic::Moderation => "moderation_events_final",
    };
    let spread = match topic {
        Topic::Credit | Topic::Task => "t.task_id",
        Topic::License => "t.license_id",
        Topic::Moderation => "t.case_id",
    };
    let bounded = Bounded::Offset;
    Table { name: topic.table(), from, columns: all, bounded, spread, bucketed: true }
}

fn audit_log() -> Table {
    let mut all = coordinates();
    all.extend(["disposition", "reason", "schema"].map(text));
    all.extend([integer("raw_bytes"), digest("raw_sha256"), digest("digest"), id_hash(), text("event_id")]);
    all.push(time("occurred_at", 6));
    // of a dead letter only the append time is known
    let [event, skewed] = event_time();
    let dead = "t.disposition = 'DEAD'";
    let event_sql = format!("if({dead}, toUnixTimestamp64Milli(t.appended_at) * 1000, {})", event.sql);
    let skewed_sql = format!("CAST(t.disposition = 'ACCEPTED' AND {} AS Bool)", skewed.sql);
    all.extend([Column { sql: event_sql, ..event }, Column { sql: skewed_sql, ..skewed }]);
    all.extend(["source", "kind", "policy_tag", "actor_id", "actor_role", "task_id", "wallet_id"].map(text));
    all.extend(["user_id", "creator_id", "license_id", "template_id", "case_id"].map(text));
    all.extend([task_hash(), bucket("t.task_id", "toString(t.offset)")]);
    let (from, spread) = ("audit_log_final", "t.offset");
    Table { name: "audit_log", from, columns: all, bounded: Bounded::Offset, spread, bucketed: true }
}

fn dead_letters() -> Table {
    let mut all = coordinates();
    all.extend(["reason", "path", "sentence", "schema"].map(text));
    // the key as text where it is text: services key their records by wallet, licence, task and case
    let key = "if(isNull(t.key) OR NOT isValidUTF8(assumeNotNull(t.key)), '', assumeNotNull(t.key))";
    all.push(column("key", DataType::Utf8, key.to_owned()));
    all.push(digest("raw_sha256"));
    all.push(integer("replay_attempt"));
    all.push(bucket(key, "toString(t.offset)"));
    let from = "dead_letters_final";
    Table { name: "dead_letters", from, columns: all, bounded: Bounded::Offset, spread: "", bucketed: false }
}

fn gaps() -> Table {
    let all = vec![text("topic"), text("topic_id"), integer("partition"), integer("first"), integer("next")];
    let columns = all.into_iter().chain([text("kind")]).collect();
    Table { name: "gaps", from: "gaps_final", columns, bounded: Bounded::First, spread: "", bucketed: false }
}

fn feed_deliveries() -> Table {
    let mut all = vec![text("subject"), text("session"), text("event_id"), text("type")];
    all.extend([time("appended_at", 3), time("sent_at", 3), time("acked_at", 3)]);
    let (from, bounded) = ("feed_deliveries_final", Bounded::Time("sent_at", "acked_at"));
    Table { name: "feed_deliveries", from, columns: all, bounded, spread: "", bucketed: false }
}

fn feed_resumes() -> Table {
    let columns = vec![
        text("subject"),
        text("session"),
        time("accepted_at", 3),
        time("recovered_at", 3),
        text("outcome"),
    ];
    let (from, bounded) = ("feed_resumes_final", Bounded::Time("accepted_at", "recovered_at"));
    Table { name: "feed_resumes", from, columns, bounded, spread: "", bucketed: false }
}

#[cfg(test)]
mod tests {
    use super::{Snapshot, tables};
    use crate::audit::result::InputBound;
    use uuid::Uuid;

    /// Scenario: a snapshot of nothing, and one of a partition.
    /// Guarantees: nothing is read of the first, and only offsets below the bound of the second.
    #[test]
    fn bounds_keep_out_what_came_later() {
        let log = tables().iter().find(|t| t.name == "audit_log").expect("the table");
        assert!(log.query(&Snapshot::default(), |_| true).ends_with(" WHERE 0"));
        let topic_id = Uuid::from_u128(7);
        let bound = |partition, next| InputBound { topic: "task-events".into(), topic_id, partition, next };
        let snapshot = Snapshot { bounds: vec![bound(2, 9), bound(0, 7)], ..Snapshot::default() };
        let expected = format!(
            " WHERE (t.topic_id = '{topic_id}' AND t.offset < transform(t.partition, [2, 0], [9, 7], 0))"
        );
        assert!(log.query(&snapshot, |_| true).ends_with(&expected));
    }
}
