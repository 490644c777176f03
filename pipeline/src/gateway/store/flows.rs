//! Flows, each a row: a state, what belongs to it, and when something is to be done.

use rusqlite::{Connection, OptionalExtension, Row, params};

/// A flow as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::gateway) struct FlowRow {
    pub(in crate::gateway) id: String,
    pub(in crate::gateway) kind: String,
    /// Who began it; nobody else sees it.
    pub(in crate::gateway) caller: String,
    pub(in crate::gateway) state: String,
    /// 1 when it begins; rises by one with each step.
    pub(in crate::gateway) version: i64,
    /// The rest of it, JSON.
    pub(in crate::gateway) data: Vec<u8>,
    /// When something is to be done; nothing where it waits for a command, or has ended.
    pub(in crate::gateway) due_us: Option<i64>,
    pub(in crate::gateway) updated_us: i64,
}

const COLUMNS: &str = "id, kind, caller, state, version, data, due_us, updated_us";

fn flow(row: &Row<'_>) -> rusqlite::Result<FlowRow> {
    Ok(FlowRow {
        id: row.get(0)?,
        kind: row.get(1)?,
        caller: row.get(2)?,
        state: row.get(3)?,
        version: row.get(4)?,
        data: row.get(5)?,
        due_us: row.get(6)?,
        updated_us: row.get(7)?,
    })
}

pub(super) fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<FlowRow>> {
    let sql = format!("SELECT {COLUMNS} FROM flows WHERE id = ?");
    connection.prepare_cached(&sql)?.query_row([id], flow).optional()
}

/// Writes the next version; `false` where the version before it is not the one that is there.
pub(super) fn put(connection: &Connection, row: &FlowRow) -> rusqlite::Result<bool> {
    let values =
        params![row.kind, row.caller, row.state, row.version, row.data, row.due_us, row.updated_us, row.id,];
    let sql = match row.version {
        1 => {
            "INSERT OR IGNORE INTO flows (kind, caller, state, version, data, due_us, updated_us, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        }
        _ => {
            "UPDATE flows SET kind = ?1, caller = ?2, state = ?3, version = ?4, data = ?5, due_us = ?6, updated_us = ?7 \
              WHERE id = ?8 AND version = ?4 - 1"
        }
    };
    Ok(connection.prepare_cached(sql)?.execute(values)? == 1)
}

pub(super) fn due(connection: &Connection, now_us: i64, max: usize) -> rusqlite::Result<Vec<FlowRow>> {
    let sql = format!("SELECT {COLUMNS} FROM flows WHERE due_us <= ? ORDER BY due_us LIMIT ?");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map(params![now_us, i64::try_from(max).unwrap_or(i64::MAX)], flow)?.collect()
}

pub(super) fn states(connection: &Connection) -> rusqlite::Result<Vec<(String, String, i64)>> {
    let sql = "SELECT kind, state, count(*) FROM flows GROUP BY kind, state ORDER BY kind, state";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
}
