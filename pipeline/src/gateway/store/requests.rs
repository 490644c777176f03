//! Requests under their keys: each is run by one task at a time, and what became of it is known for good or followed up.

use super::Kept;
use crate::gateway::contract::Endpoint;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A request that comes in.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Begin {
    /// Whose key it is.
    pub(in crate::gateway) caller: String,
    pub(in crate::gateway) key: String,
    pub(in crate::gateway) endpoint: Endpoint,
    /// SHA-256 of the path and the body in its one form.
    pub(in crate::gateway) digest: [u8; 32],
    pub(in crate::gateway) body: Bytes,
    pub(in crate::gateway) trace_id: Option<String>,
    pub(in crate::gateway) role: String,
    pub(in crate::gateway) now_us: i64,
    /// Without it a request that is not known, or not done, is left alone.
    pub(in crate::gateway) may_start: bool,
}

/// The numbers that attempts under a key have had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) struct Numbers {
    /// The latest: of the attempt that was begun last.
    pub(in crate::gateway) latest: i64,
    /// So many of them are calls that were refused without asking the platform.
    pub(in crate::gateway) refused: i64,
}

impl Numbers {
    /// Attempts that were begun.
    pub(in crate::gateway) const fn begun(self) -> i64 {
        self.latest - self.refused
    }
}

/// What is known of a request that is not done.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Known {
    pub(in crate::gateway) id: i64,
    pub(in crate::gateway) caller: String,
    pub(in crate::gateway) key: String,
    pub(in crate::gateway) endpoint: Endpoint,
    pub(in crate::gateway) body: Vec<u8>,
    pub(in crate::gateway) trace_id: Option<String>,
    pub(in crate::gateway) role: String,
    pub(in crate::gateway) numbers: Numbers,
    /// The last attempt is not ended: its process was.
    pub(in crate::gateway) open_since_us: Option<i64>,
    /// An attempt may have reached the platform.
    pub(in crate::gateway) maybe_done: bool,
}

/// What becomes of a request that comes in.
#[derive(Debug)]
pub(in crate::gateway) enum Begun {
    /// It is new, its first attempt is written down, and whoever asked runs it.
    Fresh { id: i64, numbers: Numbers },
    /// It was begun before and is not done; whoever asked runs it.
    Open(Known),
    /// It is done: its answer.
    Done { status: u16, answer: Vec<u8> },
    /// The key was used for another request.
    Conflict,
    /// It was not started, since it may not.
    Left {
        /// Of the attempt that was not made.
        number: i64,
        /// An earlier one may have reached the platform.
        maybe_done: bool,
    },
    /// Whoever ran it stopped without an answer.
    Unfinished,
}

/// How an attempt ended.
#[derive(Debug)]
pub(in crate::gateway) struct End {
    pub(in crate::gateway) id: i64,
    pub(in crate::gateway) events: Vec<Kept>,
    pub(in crate::gateway) then: Then,
    pub(in crate::gateway) now_us: i64,
}

/// How the request goes on.
#[derive(Debug)]
pub(in crate::gateway) enum Then {
    /// It is done for good.
    Answer { status: u16, answer: Vec<u8>, remember: bool },
    /// Whoever runs it tries again; `maybe_done`: the attempt may have reached the platform.
    Retry { maybe_done: bool },
    /// Nobody runs it any more; it is followed up from then on, or where there is no time only if its caller asks again.
    Leave { maybe_done: bool, next_try_us: Option<i64> },
}

/// What the row of a key says.
pub(super) enum Found {
    None,
    Known(Box<Known>),
    Done { status: u16, answer: Vec<u8> },
    Conflict,
}

const COLUMNS: &str =
    "id, caller, key, endpoint, body, trace_id, role, attempts, refused, open_since_us, maybe_done";

fn known(row: &Row<'_>) -> rusqlite::Result<Known> {
    let endpoint: String = row.get(3)?;
    Ok(Known {
        id: row.get(0)?,
        caller: row.get(1)?,
        key: row.get(2)?,
        endpoint: Endpoint::of_symbol(&endpoint).ok_or(rusqlite::Error::InvalidQuery)?,
        body: row.get(4)?,
        trace_id: row.get(5)?,
        role: row.get(6)?,
        numbers: Numbers { latest: row.get(7)?, refused: row.get(8)? },
        open_since_us: row.get(9)?,
        maybe_done: row.get(10)?,
    })
}

pub(super) fn find(connection: &Connection, begin: &Begin) -> rusqlite::Result<Found> {
    if !begin.endpoint.moves_money() {
        return Ok(Found::None); // its key is a name that nobody else has
    }
    let sql = "SELECT digest, status, answer FROM answers WHERE caller = ? AND key = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![begin.caller, begin.key], |row| {
        let digest: Vec<u8> = row.get(0)?;
        Ok(match digest == begin.digest {
            true => Found::Done { status: row.get(1)?, answer: row.get(2)? },
            false => Found::Conflict,
        })
    });
    if let Some(found) = found.optional()? {
        return Ok(found);
    }
    let sql = by_key();
    let mut statement = connection.prepare_cached(&sql)?;
    let found = statement.query_row(params![begin.caller, begin.key], |row| {
        let digest: Vec<u8> = row.get(11)?;
        Ok(match digest == begin.digest {
            true => Found::Known(Box::new(known(row)?)),
            false => Found::Conflict,
        })
    });
    Ok(found.optional()?.unwrap_or(Found::None))
}

/// As the index of keys says it, so that it is used.
const MOVES_CREDITS: &str = "endpoint IN ('CREDITS_CHARGE', 'CREDITS_REFUND')";

fn by_key() -> String {
    format!("SELECT {COLUMNS}, digest FROM requests WHERE {MOVES_CREDITS} AND caller = ? AND key = ?")
}

/// The number of the next request: none is given twice while the process lives.
pub(super) fn next_id(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) + 1 FROM requests", [], |row| row.get(0))
}

/// Writes the request with its first attempt under way.
pub(super) fn insert(connection: &Connection, id: i64, begin: &Begin) -> rusqlite::Result<Numbers> {
    let refused = match begin.endpoint.moves_money() {
        true => forget_refusals(connection, &begin.caller, &begin.key)?,
        false => 0, // its key is drawn for this call
    };
    let numbers = Numbers { latest: refused + 1, refused };
    let sql = "INSERT INTO requests (id, caller, key, endpoint, digest, body, trace_id, role, attempts, refused, open_since_us, \
               created_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut statement = connection.prepare_cached(sql)?;
    let written = statement.execute(params![
        id,
        begin.caller,
        begin.key,
        begin.endpoint.symbol(),
        begin.digest,
        begin.body.as_ref(),
        begin.trace_id,
        begin.role,
        numbers.latest,
        numbers.refused,
        begin.now_us,
        begin.now_us,
    ]);
    written.map(|_| numbers)
}

/// One more attempt begins; its number is one that no call had which was refused meanwhile.
pub(super) fn again(connection: &Connection, id: i64, now_us: i64) -> rusqlite::Result<Option<Numbers>> {
    let sql = "SELECT caller, key FROM requests WHERE id = ?";
    let whose =
        connection.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((caller, key)): Option<(String, String)> = whose else { return Ok(None) };
    let refused = forget_refusals(connection, &caller, &key)?;
    let sql = "UPDATE requests SET attempts = attempts + 1 + ?1, refused = refused + ?1, open_since_us = ?2, next_try_us = NULL, \
               left_us = NULL WHERE id = ?3 RETURNING attempts, refused";
    let mut statement = connection.prepare_cached(sql)?;
    let numbers = |row: &Row<'_>| Ok(Numbers { latest: row.get(0)?, refused: row.get(1)? });
    statement.query_row(params![refused, now_us, id], numbers).optional()
}

/// A call is refused without asking the platform; the number of the attempt that is not made, behind the `latest` under its key.
pub(super) fn refuse(connection: &Connection, begin: &Begin, latest: i64) -> rusqlite::Result<i64> {
    if !begin.endpoint.moves_money() {
        return Ok(latest + 1); // its key is drawn for this call
    }
    let sql = "INSERT INTO refusals (caller, key, times, at_us) VALUES (?, ?, 1, ?) \
               ON CONFLICT (caller, key) DO UPDATE SET times = times + 1, at_us = excluded.at_us RETURNING times";
    let values = params![begin.caller, begin.key, begin.now_us];
    let times: i64 = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(latest + times)
}

/// How often the key was refused since its last attempt: from now on the attempts count that.
fn forget_refusals(connection: &Connection, caller: &str, key: &str) -> rusqlite::Result<i64> {
    let sql = "SELECT times FROM refusals WHERE caller = ? AND key = ?";
    let times = connection.prepare_cached(sql)?.query_row([caller, key], |row| row.get(0)).optional()?;
    if times.is_some() {
        let sql = "DELETE FROM refusals WHERE caller = ? AND key = ?";
        connection.prepare_cached(sql)?.execute([caller, key])?;
    }
    Ok(times.unwrap_or(0))
}

pub(super) fn end(connection: &Connection, end: &End) -> rusqlite::Result<()> {
    match &end.then {
        Then::Answer { status, answer, remember } => {
            if *remember {
                let sql = "INSERT OR REPLACE INTO answers (caller, key, digest, status, answer, done_us) \
                           SELECT caller, key, digest, ?, ?, ? FROM requests WHERE id = ?";
                let values = params![status, answer, end.now_us, end.id];
                connection.prepare_cached(sql)?.execute(values)?;
            }
            connection.prepare_cached("DELETE FROM requests WHERE id = ?")?.execute([end.id])?;
        }
        Then::Retry { maybe_done } => {
            let sql =
                "UPDATE requests SET open_since_us = NULL, maybe_done = max(maybe_done, ?) WHERE id = ?";
            connection.prepare_cached(sql)?.execute(params![maybe_done, end.id])?;
        }
        Then::Leave { maybe_done, next_try_us } => {
            let over = next_try_us.is_none().then_some(end.now_us);
            let sql = "UPDATE requests SET open_since_us = NULL, maybe_done = max(maybe_done, ?), next_try_us = ?, left_us = ? \
                       WHERE id = ?";
            connection.prepare_cached(sql)?.execute(params![maybe_done, next_try_us, over, end.id])?;
        }
    }
    Ok(())
}

/// Whoever ran it was dropped in the middle: it is followed up at once, unless there is nothing to find out.
pub(super) fn abandon(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let sql = format!("UPDATE requests SET next_try_us = 0 WHERE id = ? AND {UNKNOWN}");
    connection.prepare_cached(&sql)?.execute([id]).map(|_| ())
}

fn to_follow() -> String {
    format!(
        "SELECT {COLUMNS} FROM requests WHERE next_try_us > ? AND next_try_us <= ? ORDER BY next_try_us LIMIT ?"
    )
}

/// Requests whose time has come, the oldest first; then those that are due later than `latest_us`, which no pause reaches: the clock
/// has gone back. One that is left alone for good is not among them.
pub(super) fn due(
    connection: &Connection,
    (now_us, latest_us): (i64, i64),
    max: usize,
) -> rusqlite::Result<Vec<Known>> {
    let mut statement = connection.prepare_cached(&to_follow())?;
    let mut found: Vec<Known> = Vec::new();
    for (above_us, to_us) in [(i64::MIN, now_us), (latest_us, i64::MAX - 1)] {
        let rest = i64::try_from(max - found.len()).unwrap_or(i64::MAX);
        for row in statement.query_map(params![above_us, to_us, rest], known)? {
            found.push(row?);
        }
    }
    Ok(found)
}

/// An attempt was under way, or may have reached the platform, or the row of a call that is not remembered was left behind.
const UNKNOWN: &str =
    "(open_since_us IS NOT NULL OR maybe_done OR endpoint NOT IN ('CREDITS_CHARGE', 'CREDITS_REFUND'))";

/// After a start nobody runs anything: what was under way when the process died is followed up at once, and what stood between two
/// attempts that did nothing is left, to be asked for again or forgotten.
pub(super) fn orphan(connection: &Connection, now_us: i64) -> rusqlite::Result<usize> {
    let left = format!("UPDATE requests SET left_us = ? WHERE NOT {UNKNOWN} AND left_us IS NULL");
    connection.execute(&left, [now_us])?;
    connection.execute(&format!("UPDATE requests SET next_try_us = 0 WHERE {UNKNOWN}"), [])
}

/// How many may have been done and have no answer, whether an attempt is under way or not, and when the oldest of them came (0 where
/// there is none).
pub(super) fn unresolved(connection: &Connection) -> rusqlite::Result<(u64, i64)> {
    let sql = "SELECT count(*), coalesce(min(created_us), 0) FROM requests WHERE maybe_done";
    let (count, oldest_us): (i64, i64) =
        connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((u64::try_from(count).unwrap_or(0), oldest_us))
}

/// Forgets a thousand keys that were answered, left, or refused before that; gives how many.
pub(super) fn sweep(connection: &Connection, before_us: i64) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM answers WHERE (caller, key) IN \
               (SELECT caller, key FROM answers WHERE done_us < ? ORDER BY done_us LIMIT 1000)";
    let answered = connection.prepare_cached(sql)?.execute([before_us])?;
    let sql = "DELETE FROM refusals WHERE (caller, key) IN \
               (SELECT caller, key FROM refusals WHERE at_us < ? ORDER BY at_us LIMIT 1000)";
    let refused = connection.prepare_cached(sql)?.execute([before_us])?;
    let sql = "DELETE FROM requests WHERE left_us < ?";
    Ok(answered + refused + connection.prepare_cached(sql)?.execute([before_us])?)
}

#[cfg(test)]
mod tests {
    use super::super::{Durability, StoreConfig, open};
    use crate::gateway::contract::Endpoint;

    /// Scenario: SQLite is asked how it finds a key, and how it finds what is to be followed up; each call is looked for where those
    /// that move credits are listed.
    /// Guarantees: both are found by an index (without one each call would read all that are under way), and what moves credits has
    /// its key in it, whatever calls there will be.
    #[test]
    fn what_each_call_asks_is_found_by_an_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let (durability, folder) = (Durability::Process, folder.path().to_owned());
        let config = StoreConfig { folder, durability, outbox_events_max: 1, keys_kept_us: 1 };
        let opened = open::open(&config).expect("opened");
        for (sql, index) in
            [(super::by_key(), "requests_of_callers"), (super::to_follow(), "requests_to_follow")]
        {
            let mut plan = opened.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
            plan.raw_bind_parameter(1, 1).expect("bound");
            plan.raw_bind_parameter(2, 1).expect("bound");
            let steps: Vec<String> =
                plan.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>().expect("steps");
            assert!(steps.iter().any(|step| step.contains(index)), "{sql}: {steps:?}");
        }
        let sql = "SELECT sql FROM sqlite_master WHERE name = 'requests_of_callers'";
        let index: String = opened.connection.query_row(sql, [], |row| row.get(0)).expect("the index");
        for list in [super::MOVES_CREDITS, super::UNKNOWN, &index] {
            for endpoint in Endpoint::ALL {
                let listed = list.contains(&format!("'{}'", endpoint.symbol()));
                assert_eq!(listed, endpoint.moves_money(), "{endpoint:?} in {list}");
            }
        }
    }
}
