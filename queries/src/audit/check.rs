//! The second opinion: the same counters by another text, computed by ClickHouse from its own tables where they are the
//! source, or by a second plan where files are.

use super::figures::Counters;
use super::job::{Job, Text};
use super::result::Difference;
use crate::catalog::{Constant, Constants, Head, Snapshot, answer, tables};
use clickhouse::Client;
use datafusion::common::Result;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Asks ClickHouse itself. Its text sees the tables as the jobs see them: same names, same columns, same bound.
pub(super) async fn by_clickhouse(
    client: &Client,
    snapshot: &Snapshot,
    job: &Job,
    parameters: &[(&str, Constant)],
) -> Result<Counters> {
    let (sql, constants) = render(snapshot, job.check, job.once, parameters);
    Counters::read(&answer(client, &sql, &constants).await?)
}

/// Differences of every counter that the check computed, in the groups of either; one that only one of them has is 0 for
/// the other.
pub(super) fn compare(ours: &Counters, theirs: &Counters) -> Vec<Difference> {
    let column = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let checked: BTreeSet<String> = theirs.0.keys().map(|name| column(name)).collect();
    let ours = ours.0.iter().filter(|(name, _)| checked.contains(&column(name)));
    Difference::between(&ours.map(|(name, count)| (name.clone(), *count)).collect(), &theirs.0)
}

/// The text in ClickHouse's words: tables, then the texts that it reads, as common table expressions before its own, and
/// `$name` as `{name:Type}`.
fn render(
    snapshot: &Snapshot,
    text: Text,
    once: &[Text],
    parameters: &[(&str, Constant)],
) -> (String, Constants) {
    let read: Vec<Text> = once.iter().copied().filter(|other| text.mentions(other.stem())).collect();
    let named = |name: &str| text.mentions(name) || read.iter().any(|other| other.mentions(name));
    let mut sql = String::from("WITH heads AS (");
    sql.push_str(&heads(snapshot));
    sql.push(')');
    for table in tables().iter().filter(|table| named(table.name)) {
        let _ = write!(sql, ", {} AS ({})", table.name, table.query(snapshot, named)); // writing to a String cannot fail
    }
    for other in &read {
        let _ = write!(sql, ", {} AS ({})", other.stem(), bare(*other));
    }
    let body = bare(text);
    let own = body.strip_prefix("WITH "); // a text with expressions of its own goes on where these end
    sql.push_str(if own.is_some() { ", " } else { " " });
    sql.push_str(own.unwrap_or(&body));
    bind(sql, parameters)
}

/// A text without its comments.
fn bare(text: Text) -> String {
    let lines: Vec<&str> = text.sql.lines().filter(|line| !line.starts_with("--")).collect();
    lines.join("\n").trim_start().to_owned()
}

/// Each `$name` of a text as a bound parameter with its type.
fn bind(mut sql: String, parameters: &[(&str, Constant)]) -> (String, Constants) {
    let mut constants = Constants::new();
    for (name, constant) in parameters {
        let kind = match constant {
            Constant::Text(_) => "String",
            Constant::Integer(_) => "Int64",
        };
        if sql.contains(&format!("${name}")) {
            sql = sql.replace(&format!("${name}"), &format!("{{{name}:{kind}}}"));
            constants.push(((*name).to_owned(), constant.clone()));
        }
    }
    (sql, constants)
}

/// The looks at partitions as a table, named once however many they are: ids and numbers of our own, no text from outside.
fn heads(snapshot: &Snapshot) -> String {
    let row = |head: &Head| {
        let (id, partition, low, high, ended) =
            (head.topic_id, head.partition, head.low, head.high, i64::from(head.ended));
        format!(", ('{id}', {partition}, {low}, {high}, {ended})")
    };
    let rows: String = snapshot.heads.iter().map(row).collect();
    let columns = "topic_id String, partition Int64, low Int64, high Int64, ended Int64";
    // a table of no values is none: there is one row, which is left out
    format!("SELECT * FROM values('{columns}', ('', 0, 0, 0, 0){rows}) WHERE topic_id <> ''")
}

#[cfg(test)]
mod tests {
    use super::super::figures::Counters;
    use super::{Constant, Text, compare, render};
    use crate::catalog::Snapshot;

    fn counters(all: &[(&str, i64)]) -> Counters {
        Counters(all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
    }

    /// Scenario: the second opinion differs, has a counter more, lacks one in every group, and lacks a whole group.
    /// Guarantees: all are differences but what it computes in no group.
    #[test]
    fn differences() {
        let (ours, theirs) = (counters(&[("A/a", 1), ("A/b", 2), ("B/a", 3)]), counters(&[("A/a", 1)]));
        let found: Vec<_> =
            compare(&ours, &theirs).iter().map(|d| (d.figure.clone(), d.before, d.after)).collect();
        assert_eq!(found, [("B/a".to_owned(), 3, 0)]);
        let ours = counters(&[("a", 1), ("b", 2), ("c", 3)]);
        let found = compare(&ours, &counters(&[("a", 1), ("b", 5), ("d", 4), ("e", 0)]));
        let found: Vec<_> = found.iter().map(|d| (d.figure.as_str(), d.before, d.after)).collect();
        assert_eq!(found, [("b", 2, 5), ("d", 0, 4)]);
    }

    /// Scenario: a text with its own expressions and a parameter used twice.
    /// Guarantees: only tables that it names come before them; the parameter is bound once, typed.
    #[test]
    fn rendering() {
        let sql = "-- says why\nWITH x AS (SELECT task_id FROM task_events WHERE event_us < $to_us)\nSELECT $to_us FROM x";
        let parameters = [("to_us", Constant::Integer(5)), ("unused", Constant::Integer(6))];
        let text = Text { name: "own.sql", sql };
        let (sql, constants) = render(&Snapshot::default(), text, &[], &parameters);
        assert!(sql.starts_with("WITH heads AS (SELECT * FROM values('topic_id String"), "{sql}");
        assert!(sql.contains(", task_events AS (SELECT "), "{sql}");
        assert!(!sql.contains("credit_events"), "{sql}");
        assert!(sql.ends_with(", x AS (SELECT task_id FROM task_events WHERE event_us < {to_us:Int64})\nSELECT {to_us:Int64} FROM x"), "{sql}");
        assert_eq!(constants, [("to_us".to_owned(), Constant::Integer(5))]);
    }

    /// Scenario: a text that reads one of two texts computed once; that one reads a table and a parameter.
    /// Guarantees: the table, then the text under its file's name, then the reader; the other text is left out.
    #[test]
    fn texts_that_others_read() {
        let seen = Text {
            name: "job/seen.sql",
            sql: "-- why\nSELECT task_id FROM task_events WHERE event_us < $to_us",
        };
        let other = Text { name: "job/other.sql", sql: "SELECT task_id FROM credit_events" };
        let text = Text { name: "job/check.sql", sql: "SELECT count(*) AS tasks FROM seen" };
        let parameters = [("to_us", Constant::Integer(5))];
        let (sql, constants) = render(&Snapshot::default(), text, &[seen, other], &parameters);
        let table = sql.find(", task_events AS (SELECT ").expect("the table");
        let seen = sql.find(", seen AS (SELECT task_id FROM task_events WHERE event_us < {to_us:Int64})");
        assert!(table < seen.expect("the text"), "{sql}");
        assert!(
            sql.ends_with(") SELECT count(*) AS tasks FROM seen") && !sql.contains("credit_events"),
            "{sql}"
        );
        assert_eq!(constants.len(), 1);
    }
}
