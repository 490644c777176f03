//! Flows, each a row: a state, what belongs to it, and when something is to be done.

use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// Flows that are swept at once: each has some thousand bytes, and calls wait for the commit.
pub(super) const SWEPT_MAX: usize = 200;

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
    /// Since when it is under way: it neither waits for a command or a time nor has it ended.
    pub(in crate::gateway) busy_us: Option<i64>,
    /// When it ended.
    pub(in crate::gateway) ended_us: Option<i64>,
}

const COLUMNS: &str = "id, kind, caller, state, version, data, due_us, updated_us, busy_us, ended_us";

/// How many flows of each kind are in each state: counted once, then kept beside the rows.
#[derive(Debug)]
pub(super) struct Census {
    counts: BTreeMap<(String, String), i64>,
    /// What the operations that are not committed change.
    moves: Vec<((String, String), i64)>,
}

impl Census {
    /// Counts them.
    pub(super) fn take(connection: &Connection) -> rusqlite::Result<Census> {
        let sql = "SELECT kind, state, count(*) FROM flows GROUP BY kind, state";
        let mut statement = connection.prepare(sql)?;
        let counted = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
        Ok(Census { counts: counted.collect::<Result<_, _>>()?, moves: Vec::new() })
    }

    /// A flow of that kind has left one state, if it had one, for another, if it stays.
    pub(super) fn moved(&mut self, kind: &str, from: Option<&str>, to: Option<&str>) {
        if from != to {
            let change = |state: &str, by| ((kind.to_owned(), state.to_owned()), by);
            self.moves.extend(from.map(|state| change(state, -1)));
            self.moves.extend(to.map(|state| change(state, 1)));
        }
    }

    /// The operations are committed.
    pub(super) fn committed(&mut self) {
        for (of, by) in self.moves.drain(..) {
            *self.counts.entry(of).or_default() += by;
        }
        self.counts.retain(|_, count| *count != 0);
    }

    /// They are not.
    pub(super) fn rolled_back(&mut self) {
        self.moves.clear();
    }

    /// Kind, state and number, of committed operations.
    pub(super) fn states(&self) -> Vec<(String, String, i64)> {
        let state = |((kind, state), count): (&(String, String), &i64)| (kind.clone(), state.clone(), *count);
        self.counts.iter().map(state).collect()
    }
}

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
        busy_us: row.get(8)?,
        ended_us: row.get(9)?,
    })
}

pub(super) fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<FlowRow>> {
    let sql = format!("SELECT {COLUMNS} FROM flows WHERE id = ?");
    connection.prepare_cached(&sql)?.query_row([id], flow).optional()
}

/// Writes the next version; `false` where the version before it is not the one that is there.
pub(super) fn put(connection: &Connection, row: &FlowRow, census: &mut Census) -> rusqlite::Result<bool> {
    let sql = "SELECT state FROM flows WHERE id = ? AND version = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let before =
        statement.query_row(params![row.id, row.version - 1], |row| row.get::<_, String>(0)).optional()?;
    let values = params![
        row.kind,
        row.caller,
        row.state,
        row.version,
        row.data,
        row.due_us,
        row.updated_us,
        row.busy_us,
        row.ended_us,
        row.id,
    ];
    let sql = match row.version {
        1 => {
            "INSERT OR IGNORE INTO flows (kind, caller, state, version, data, due_us, updated_us, busy_us, ended_us, id) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        _ => {
            "UPDATE flows SET kind = ?1, caller = ?2, state = ?3, version = ?4, data = ?5, due_us = ?6, updated_us = ?7, \
             busy_us = ?8, ended_us = ?9 WHERE id = ?10 AND version = ?4 - 1"
        }
    };
    let written = connection.prepare_cached(sql)?.execute(values)? == 1;
    if written {
        census.moved(&row.kind, before.as_deref(), Some(&row.state));
    }
    Ok(written)
}

/// Those whose time has come; then those that are under way and are due later than `latest_us`, which no pause reaches: the clock has
/// gone back.
pub(super) fn due(
    connection: &Connection,
    (now_us, latest_us): (i64, i64),
    max: usize,
) -> rusqlite::Result<Vec<FlowRow>> {
    let sql = format!("SELECT {COLUMNS} FROM flows WHERE due_us <= ? ORDER BY due_us LIMIT ?");
    let ahead = format!(
        "SELECT {COLUMNS} FROM flows INDEXED BY flows_ahead WHERE busy_us IS NOT NULL AND due_us > ? LIMIT ?"
    );
    let mut found: Vec<FlowRow> = Vec::new();
    for (sql, bound_us) in [(sql, now_us), (ahead, latest_us)] {
        let mut statement = connection.prepare_cached(&sql)?;
        let rest = i64::try_from(max - found.len()).unwrap_or(i64::MAX);
        for row in statement.query_map(params![bound_us, rest], flow)? {
            found.push(row?);
        }
    }
    Ok(found)
}

/// Since when the one that has been under way for longest is; 0 where none is.
pub(super) fn oldest_busy_us(connection: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(min(busy_us), 0) FROM flows WHERE busy_us IS NOT NULL";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// Forgets [`SWEPT_MAX`] flows that ended before that; gives how many.
pub(super) fn sweep(connection: &Connection, before_us: i64, census: &mut Census) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM flows WHERE id IN (SELECT id FROM flows WHERE ended_us < ? ORDER BY ended_us LIMIT ?) \
               RETURNING kind, state";
    let mut statement = connection.prepare_cached(sql)?;
    let max = i64::try_from(SWEPT_MAX).unwrap_or(i64::MAX);
    let mut swept = 0;
    for gone in statement
        .query_map(params![before_us, max], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?
    {
        let (kind, state) = gone?;
        census.moved(&kind, Some(&state), None);
        swept += 1;
    }
    Ok(swept)
}
