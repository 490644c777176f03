//! Events on their way to Kafka.

use rusqlite::{Connection, params};
use tally_schemas::Topic;

/// An event as it will be published: bytes are made once, so that every attempt to publish sends the same.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::gateway) struct Kept {
    pub(in crate::gateway) contract: Topic,
    pub(in crate::gateway) key: String,
    pub(in crate::gateway) value: Vec<u8>,
}

/// An event that waits, with its place in the order.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::gateway) struct Waiting {
    pub(in crate::gateway) seq: i64,
    pub(in crate::gateway) event: Kept,
}

/// The number behind the last one that was given: numbers are never given twice while the process lives, and an event that was
/// acknowledged is gone.
pub(super) fn next_seq(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(seq), 0) + 1 FROM outbox", [], |row| row.get(0))
}

pub(super) fn keep(
    connection: &Connection,
    seq: &mut i64,
    events: &[Kept],
    now_us: i64,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO outbox (seq, contract, key, value, created_us) VALUES (?, ?, ?, ?, ?)";
    let mut statement = connection.prepare_cached(sql)?;
    for event in events {
        statement.execute(params![*seq, event.contract.name(), event.key, event.value, now_us])?;
        *seq += 1;
    }
    Ok(())
}

pub(super) fn take(connection: &Connection, after: i64, max: usize) -> rusqlite::Result<Vec<Waiting>> {
    let sql = "SELECT seq, contract, key, value FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![after, i64::try_from(max).unwrap_or(i64::MAX)], |row| {
        let contract: String = row.get(1)?;
        let contract = Topic::ALL.into_iter().find(|topic| topic.name() == contract);
        let contract = contract.ok_or(rusqlite::Error::InvalidQuery)?;
        let event = Kept { contract, key: row.get(2)?, value: row.get(3)? };
        Ok(Waiting { seq: row.get(0)?, event })
    })?;
    rows.collect()
}

/// Deletes them; gives how many were there.
pub(super) fn acknowledged(connection: &Connection, seqs: &[i64]) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("DELETE FROM outbox WHERE seq = ?")?;
    let mut deleted = 0;
    for seq in seqs {
        deleted += statement.execute([seq])? as u64;
    }
    Ok(deleted)
}

/// How many wait.
pub(super) fn depth(connection: &Connection) -> rusqlite::Result<u64> {
    let count: i64 = connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// When the oldest that waits was written; 0 where none waits.
pub(super) fn oldest_us(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce((SELECT created_us FROM outbox ORDER BY seq LIMIT 1), 0)";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}
