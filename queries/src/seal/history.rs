//! The table `seals`: the signed checkpoints once more, beside the rows, so that a log that was rolled back is seen.

use super::checkpoint::{Checkpoint, Head, heads_from, heads_text, leaves};
use super::{Lane, SealError};
use crate::QueryError;
use crate::insert::acknowledged;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

#[derive(Row, Serialize)]
struct Seal<'a> {
    origin: &'a str,
    leaves: u64,
    root: [u8; 32],
    key_name: &'a str,
    sealed_at: i64,
    checkpoint: &'a str,
    heads: &'a str,
}

/// A checkpoint as the table has it, unverified.
#[derive(Row, Deserialize)]
pub(super) struct Remembered {
    pub(super) leaves: u64,
    pub(super) checkpoint: String,
    pub(super) heads: String,
}

#[derive(Row, Deserialize)]
struct LaneRow {
    topic: String,
    topic_id: String,
    partition: i32,
}

fn failed(source: clickhouse::error::Error) -> SealError {
    SealError::Query(QueryError::new("seals", source))
}

/// Writes a checkpoint into the table, unless it is there. `now_micros` is when.
pub(super) async fn remember(
    client: &Client,
    checkpoint: &Checkpoint,
    now_micros: i64,
) -> Result<(), SealError> {
    let (heads, note) = (heads_text(&checkpoint.heads), String::from_utf8_lossy(&checkpoint.note));
    let ask = client
        .query("SELECT count() FROM seals WHERE origin = {origin:String} AND checkpoint = {note:String}");
    let ask = ask.param("origin", &checkpoint.origin).param("note", &*note);
    if ask.fetch_one::<u64>().await.map_err(failed)? > 0 {
        return Ok(());
    }
    let row = Seal {
        origin: &checkpoint.origin,
        leaves: leaves(&checkpoint.heads),
        root: super::checkpoint::heads_root(&checkpoint.heads),
        key_name: &checkpoint.signers.join(" "),
        sealed_at: now_micros,
        checkpoint: &note,
        heads: &heads,
    };
    let mut insert = acknowledged(client.insert::<Seal<'_>>("seals").await.map_err(failed)?);
    insert.write(&row).await.map_err(failed)?;
    insert.end().await.map_err(failed)
}

/// How many of the latest checkpoints a log must continue.
const REMEMBERED_MAX: u64 = 100;

/// The latest checkpoints that the table has under that name, those of most leaves first; every root of a size once, so
/// that two histories of one size both appear.
pub(super) async fn remembered(client: &Client, origin: &str) -> Result<Vec<Remembered>, SealError> {
    let sql = "SELECT leaves, checkpoint, heads FROM seals FINAL WHERE origin = {origin:String}
        ORDER BY leaves DESC, sealed_at DESC LIMIT 1 BY leaves, root LIMIT {limit:UInt64}";
    let ask = client.query(sql).param("origin", origin).param("limit", REMEMBERED_MAX);
    ask.fetch_all().await.map_err(failed)
}

/// Logs whose newest checkpoint is asked for.
const LOGS_MAX: u64 = 16;

/// The heads of the newest checkpoint of each log that the table knows, as the table says them: no signature is verified here.
/// A list that cannot be read is none.
pub(crate) async fn newest_heads(client: &Client) -> Result<Vec<Vec<Head>>, QueryError> {
    let sql = "SELECT heads FROM seals FINAL ORDER BY leaves DESC, sealed_at DESC LIMIT 1 BY origin LIMIT {limit:UInt64}";
    let lists = client.query(sql).param("limit", LOGS_MAX).fetch_all::<String>().await;
    let lists = lists.map_err(|source| QueryError::new("seals", source))?;
    Ok(lists.iter().filter_map(|list| heads_from(list.as_bytes())).collect())
}

/// Every partition of which there are rows.
pub(super) async fn lanes(client: &Client) -> Result<Vec<Lane>, SealError> {
    let rows = client.query(include_str!("../../sql/seal_lanes.sql")).fetch_all::<LaneRow>().await;
    let lane = |LaneRow { topic, topic_id, partition }| {
        Ok(Lane { topic, topic_id: topic_id.parse().map_err(SealError::malformed)?, partition })
    };
    rows.map_err(failed)?.into_iter().map(lane).collect()
}
