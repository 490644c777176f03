//! The second opinion: the same counters by another text, computed by ClickHouse from its own tables where they are the
//! source, or by a second plan where files are.

use super::figures::Counters;
use super::job::Text;
use super::result::Difference;
use crate::catalog::{Constant, Constants, Snapshot, answer, tables};
use clickhouse::Client;
use datafusion::common::Result;
use std::fmt::Write;

/// Asks ClickHouse itself. Its text sees the tables as the jobs see them: same names, same columns, same bound.
pub(super) async fn by_clickhouse(
    client: &Client,
    snapshot: &Snapshot,
    text: Text,
    parameters: &[(&str, Constant)],
) -> Result<Counters> {
    let (sql, constants) = render(snapshot, text.sql, parameters);
    Counters::read(&answer(client, &sql, &constants).await?)
}

/// Differences of every counter that the check computed; a counter that it has and we have not is a difference, too,
/// unless it is 0.
pub(super) fn compare(ours: &Counters, theirs: &Counters) -> Vec<Difference> {
    let differs = theirs.0.iter().filter_map(|(name, theirs)| {
        let ours = ours.0.get(name).copied().unwrap_or(0);
        (ours != *theirs).then(|| Difference { figure: name.clone(), before: ours, after: *theirs })
    });
    differs.collect()
}

/// The text in ClickHouse's words: tables as common table expressions before its own, `$name` as `{name:Type}`.
fn render(snapshot: &Snapshot, sql: &str, parameters: &[(&str, Constant)]) -> (String, Constants) {
    let mut body: String = sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    let mut constants = Constants::new();
    for (name, constant) in parameters {
        let kind = match constant {
            Constant::Text(_) => "String",
            Constant::Integer(_) => "Int64",
        };
        if body.contains(&format!("${name}")) {
            body = body.replace(&format!("${name}"), &format!("{{{name}:{kind}}}"));
            constants.push(((*name).to_owned(), constant.clone()));
        }
    }
    let mut with = String::from("WITH heads AS (");
    with.push_str(&heads(snapshot));
    with.push(')');
    for table in tables().iter().filter(|table| mentions(&body, table.name)) {
        let _ = write!(with, ", {} AS ({})", table.name, table.query(snapshot)); // writing to a String cannot fail
    }
    let body = body.trim_start();
    let rest = body.strip_prefix("WITH ").map_or_else(|| format!(" {body}"), |rest| format!(", {rest}"));
    (with + &rest, constants)
}

fn mentions(text: &str, table: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == table)
}

/// The looks at partitions as a table: ids and numbers of our own, no text from outside.
fn heads(snapshot: &Snapshot) -> String {
    let mut all = String::from(
        "SELECT '' AS topic_id, toInt64(0) AS partition, toInt64(0) AS low, toInt64(0) AS high, toInt64(0) AS ended WHERE 0",
    );
    for head in &snapshot.heads {
        let (id, partition, low, high, ended) =
            (head.topic_id, head.partition, head.low, head.high, i64::from(head.ended));
        let one = format!(
            " UNION ALL SELECT '{id}', toInt64({partition}), toInt64({low}), toInt64({high}), toInt64({ended})"
        );
        all.push_str(&one);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::figures::Counters;
    use super::{Constant, compare, render};
    use crate::catalog::Snapshot;

    fn counters(all: &[(&str, i64)]) -> Counters {
        Counters(all.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect())
    }

    /// Scenario: the second opinion differs, has a counter more, and lacks one.
    /// Guarantees: the first two are differences; what it did not compute is none.
    #[test]
    fn differences() {
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
        let (sql, constants) = render(&Snapshot::default(), sql, &parameters);
        assert!(sql.starts_with("WITH heads AS (SELECT '' AS topic_id"), "{sql}");
        assert!(sql.contains(", task_events AS (SELECT "), "{sql}");
        assert!(!sql.contains("credit_events"), "{sql}");
        assert!(sql.ends_with(", x AS (SELECT task_id FROM task_events WHERE event_us < {to_us:Int64})\nSELECT {to_us:Int64} FROM x"), "{sql}");
        assert_eq!(constants, [("to_us".to_owned(), Constant::Integer(5))]);
    }
}
