//! Events on their way to Kafka.

use rusqlite::{Connection, OptionalExtension, params};
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

pub(super) fn take(
    connection: &Connection,
    contract: Topic,
    after: i64,
    max: usize,
) -> rusqlite::Result<Vec<Waiting>> {
    let sql = "SELECT seq, key, value FROM outbox WHERE contract = ? AND seq > ? ORDER BY seq LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![contract.name(), after, max], |row| {
        let event = Kept { contract, key: row.get(1)?, value: row.get(2)? };
        Ok(Waiting { seq: row.get(0)?, event })
    })?;
    rows.collect()
}

/// Deletes them; gives how many were there.
pub(super) fn acknowledged(connection: &Connection, contract: Topic, seqs: &[i64]) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("DELETE FROM outbox WHERE contract = ? AND seq = ?")?;
    let mut deleted = 0;
    for seq in seqs {
        deleted += statement.execute(params![contract.name(), seq])? as u64;
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
    let sql = "SELECT created_us FROM outbox WHERE contract = ? ORDER BY seq LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut oldest = None;
    for contract in Topic::ALL {
        let first: Option<i64> = statement.query_row([contract.name()], |row| row.get(0)).optional()?;
        oldest = oldest.min(first).or(oldest).or(first);
    }
    Ok(oldest.unwrap_or(0))
}
