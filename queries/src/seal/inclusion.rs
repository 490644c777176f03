//! Single rows held against the signed trees: what a proof needs, and what somebody sees who looks at one task.

use super::checkpoint::{Checkpoint, Head};
use super::facts::{self, Facts, Which};
use super::keys::Keys;
use super::leaf::{Key, Kind, Leaf, leaf};
use super::log::{LaneLog, Log};
use super::rows::{Leaves, row};
use super::sealer::newest;
use super::tree::{Hash, WIDTH};
use super::{Lane, SealError, proof};
use crate::QueryError;
use clickhouse::Client;
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;
use tally_schemas::sha256;
use uuid::Uuid;

/// Rows that are looked at at once.
const PLACES_AT_ONCE_MAX: usize = 4;
/// A key before all others.
const BEGINNING: Key = Key { offset: i64::MIN, kind: Kind::Record, next: 0 };

/// Where a record lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Place {
    /// Topic identity.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// How the signed trees stand to a record's rows as they are now.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Holding {
    /// The receipt stands in the tree, and what it attests gives the digest in it: the fact's content, or the dead letter's leaf.
    Sealed {
        /// Place of the receipt's leaf in its partition's tree.
        index: u64,
        /// Hash of that leaf, hex.
        leaf: String,
    },
    /// The newest checkpoint ends before it.
    Unsealed,
    /// The rows are not those that were sealed.
    Altered {
        /// What differs.
        what: String,
    },
    /// It could not be looked at.
    Unchecked {
        /// Why.
        what: String,
    },
}

/// What the newest checkpoint says of some records.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// Known keys that signed it.
    pub signers: Vec<String>,
    /// Leaves of all its partitions.
    pub leaves: u64,
    /// Of each record that was asked for, in their order.
    pub holdings: Vec<Holding>,
    /// Partitions that have not as many rows as were sealed, each with both numbers: some are gone, or were added.
    pub uneven: Vec<String>,
}

/// Holds the rows of single records against the newest checkpoint; `None` where nothing is sealed. Of an accepted record these are its
/// receipt and its fact, of a dead one its receipt and its letter. Rows that are gone cannot be asked for: so every partition's are counted.
///
/// # Errors
/// Where log or signature cannot be read, or rows cannot be counted. What is wrong with one record is said of that record.
pub async fn hold(
    client: &Client,
    log: &Log,
    keys: &Keys,
    places: &[Place],
) -> Result<Option<Held>, SealError> {
    let Some((_, checkpoint)) = newest(log, keys).await? else { return Ok(None) };
    let places = places.to_vec(); // owned: a borrowed item would tie the stream to one lifetime
    let each = stream::iter(places).map(|place| holding(client, log, &checkpoint, place));
    let holdings = each.buffered(PLACES_AT_ONCE_MAX).collect().await;
    let leaves = super::checkpoint::leaves(&checkpoint.heads);
    let counts = stream::iter(checkpoint.heads).map(|head| unevenness(client, head));
    let uneven: Vec<Option<String>> = counts.buffered(PLACES_AT_ONCE_MAX).try_collect().await?;
    let uneven = uneven.into_iter().flatten().collect();
    Ok(Some(Held { signers: checkpoint.signers, leaves, holdings, uneven }))
}

/// What to say of a partition that has not as many rows as were sealed.
async fn unevenness(client: &Client, head: Head) -> Result<Option<String>, SealError> {
    let Head { lane, next, size, .. } = head;
    let rows = leaves_before(client, &lane, next).await?;
    Ok((rows != size).then(|| format!("{lane} has {rows} rows where {size} were sealed")))
}

async fn holding(client: &Client, log: &Log, checkpoint: &Checkpoint, place: Place) -> Holding {
    let here = |head: &&Head| (head.lane.topic_id, head.lane.partition) == (place.topic_id, place.partition);
    let head = checkpoint.heads.iter().find(here).filter(|head| place.offset < head.next);
    let Some(head) = head else { return Holding::Unsealed };
    match stands(client, log, head, place.offset).await {
        Ok((index, hash)) => Holding::Sealed { index, leaf: hex::encode(hash) },
        Err(SealError::Altered(what)) => Holding::Altered { what },
        Err(error) => {
            let found = super::Finding::from(error);
            Holding::Unchecked { what: found.what }
        }
    }
}

/// Index and hash of the receipt's leaf, if everything that belongs to the record is as it was sealed.
async fn stands(client: &Client, log: &Log, head: &Head, offset: i64) -> Result<(u64, Hash), SealError> {
    let lane = &head.lane;
    let gone = |what: &str| SealError::Altered(format!("the {what} of {lane}/{offset} is not there"));
    let receipt = row(client, Kind::Record, lane, offset).await?;
    if receipt.is_empty() {
        return Err(gone("receipt"));
    }
    let sealed = leaf(Kind::Record, &receipt)?;
    let (index, _) = placed(client, log, head, &sealed).await?;
    if sealed.dead {
        let letter = row(client, Kind::Letter, lane, offset).await?;
        if letter.is_empty() {
            return Err(gone("dead letter"));
        }
        placed(client, log, head, &leaf(Kind::Letter, &letter)?).await?;
    } else if sha256(&content(client, lane, offset, &sealed.digest).await?) != sealed.digest {
        return Err(SealError::Altered(format!(
            "the content of the fact of {lane}/{offset} does not give its digest"
        )));
    }
    Ok((index, sealed.hash))
}

/// Where a leaf stands in its partition's signed tree, and its path to the root.
pub(super) async fn placed(
    client: &Client,
    log: &Log,
    head: &Head,
    sealed: &Leaf,
) -> Result<(u64, Vec<Hash>), SealError> {
    let (log, lane) = (log.of(head), &head.lane);
    let (tile, first) = log.tile_of(sealed.key).await?;
    let within = leaves_between(client, lane, first, sealed.key).await?;
    let index = tile * WIDTH as u64 + within;
    if within < WIDTH as u64
        && let Some(path) = included(&log, head, index, sealed.hash).await?
    {
        return Ok((index, path));
    }
    // rows and signature may be sound all the same: the map led here, and it is not trusted. ClickHouse counts, since there may be
    // millions before it, and as many such leaves as a task has records
    let offset = sealed.key.offset;
    let beside = leaves_between(client, lane, Key { offset, ..BEGINNING }, sealed.key).await?;
    let counted = leaves_before(client, lane, offset).await? + beside;
    Err(match included(&log, head, counted, sealed.hash).await? {
        Some(_) => SealError::Map(log.map(tile / WIDTH as u64)),
        None => {
            let what = if sealed.key.kind == Kind::Letter { "dead letter" } else { "receipt" };
            SealError::Altered(format!("the {what} at {lane}/{} is not what was sealed", sealed.key.offset))
        }
    })
}

/// How many rows of a partition have keys in [from, to), up to a tile's width: more are read for nobody, since the map may say anything.
async fn leaves_between(client: &Client, lane: &Lane, from: Key, to: Key) -> Result<u64, SealError> {
    let mut leaves = Leaves::open(client, lane, from.offset, to.offset.saturating_add(1)).await?;
    let mut count = 0;
    while count < WIDTH as u64
        && let Some(leaf) = leaves.next().await?
    {
        count += u64::from(leaf.key >= from && leaf.key < to);
    }
    Ok(count)
}

/// How many rows of a partition begin before an offset, as ClickHouse counts them.
async fn leaves_before(client: &Client, lane: &Lane, next: i64) -> Result<u64, SealError> {
    let question = client.query(include_str!("../../sql/seal_size.sql"));
    let question = question.param("topic_id", lane.topic_id.to_string()).param("partition", lane.partition);
    let rows = question.param("next", next).fetch_one::<u64>().await;
    rows.map_err(|source| SealError::Query(QueryError::new("counting sealed rows", source)))
}

/// The path of a leaf to the partition's signed root, if it stands at that index.
async fn included(
    log: &LaneLog,
    head: &Head,
    index: u64,
    leaf: Hash,
) -> Result<Option<Vec<Hash>>, SealError> {
    if index >= head.size {
        return Ok(None);
    }
    let path = proof::inclusion(log, head.size, index).await?;
    Ok(proof::includes(&path, head.size, head.root, index, leaf).then_some(path))
}

/// The content of the fact of a receipt.
pub(super) async fn content(
    client: &Client,
    lane: &Lane,
    offset: i64,
    digest: &Hash,
) -> Result<Vec<u8>, SealError> {
    let contract = facts::contract(&lane.topic);
    let contract = contract.ok_or_else(|| SealError::malformed(format!("no contract for {}", lane.topic)))?;
    let which = Which::Receipts { lane: lane.clone(), from: offset, next: offset + 1 };
    let (mut facts, mut found) = (Facts::open(client, contract, &which)?, None);
    while let Some(batch) = facts.next().await? {
        found = found.or_else(|| batch.content_of(digest));
    }
    found.ok_or_else(|| SealError::Altered(format!("the fact of {lane}/{offset} is not there")))
}
