//! One partition: its leaves computed again from the rows, held against its signed root and its tiles.

use super::diff::diff;
use super::leaf::{Key, Kind, Leaf};
use super::log::{LaneLog, Log};
use super::report::{Class, Finding};
use super::rows::Leaves;
use super::tree::{Hash, Tile, Tree, WIDTH, width};
use super::{Head, SealError, proof};
use clickhouse::Client;
use futures::stream::{self, StreamExt, TryStreamExt};
use uuid::Uuid;

/// Tiles that are fetched at once.
const READS_MAX: usize = 16;

/// An accepted receipt that was held against the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) digest: Hash,
    pub(super) offset: i64,
    pub(super) event_id: Uuid,
}

/// What became of one partition.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Leaves that stand in the signed tree.
    pub(super) leaves: u64,
    pub(super) findings: Vec<Finding>,
    /// Where the map from offsets to tiles is not what the rows give; only a partition that was read whole says so.
    pub(super) map: Vec<Finding>,
    /// Accepted receipts, where they were asked for.
    pub(super) accepted: Vec<Accepted>,
    /// Offsets [from, next) that were looked at.
    pub(super) from: i64,
    pub(super) next: i64,
}

/// The stretch of a partition from a tile on to its end.
struct Stretch<'a> {
    head: &'a Head,
    log: LaneLog,
    tree: Tree,
    full: Vec<Tile>,
    /// Tiles that the rows do not give, lowest level first in each batch.
    differ: Vec<(u8, u64)>,
    missing: Vec<String>,
}

impl Stretch<'_> {
    /// Holds the tiles that filled against the stored ones.
    async fn compare(&mut self) -> Result<(), SealError> {
        let (log, size) = (&self.log, self.head.size);
        let look = |tile: Tile| async move {
            let at = (tile.level, tile.number);
            if width(size, tile.level, tile.number) != tile.hashes.len() {
                return Ok((at, Some(false), String::new())); // the rows give more or fewer leaves
            }
            match log.tile(tile.level, tile.number).await {
                Ok(stored) => Ok((at, Some(stored == tile.hashes), String::new())),
                Err(SealError::Missing(path)) => Ok((at, None, path)),
                Err(SealError::Altered(_)) => Ok((at, Some(false), String::new())),
                Err(error) => Err(error),
            }
        };
        let tiles = std::mem::take(&mut self.full);
        let looked: Vec<_> = stream::iter(tiles).map(look).buffered(READS_MAX).try_collect().await?;
        for (at, same, path) in looked {
            match same {
                Some(true) => {}
                Some(false) => self.differ.push(at),
                None => self.missing.push(path),
            }
        }
        Ok(())
    }
}

/// A key after all others.
const END: Key = Key { offset: i64::MAX, kind: Kind::Gap, next: i64::MAX };

/// Checks a partition from tile `start` on to its end; `keep` keeps the accepted receipts. Where the map leads to `start`
/// and what follows is not what was sealed, the whole partition says whether that is the map's fault.
pub(super) async fn lane(
    client: &Client,
    whole: &Log,
    head: &Head,
    start: u64,
    keep: bool,
) -> Result<Checked, SealError> {
    let log = whole.of(head);
    let (mut tree, mut from) = (Tree::default(), None);
    if start > 0 {
        tree = log.tree(start * WIDTH as u64).await?;
        from = Some(log.first_key(start).await?);
    }
    let before = tree.size();
    let mut checked =
        Checked { from: from.map_or(0, |key| key.offset), next: head.next, ..Checked::default() };
    let mut leaves =
        Leaves::open(client, &head.lane, from.map_or(i64::MIN, |key| key.offset), head.next).await?;
    let mut stretch = Stretch { head, log, tree, full: Vec::new(), differ: Vec::new(), missing: Vec::new() };
    let mut keys = Vec::new(); // of the first row of each tile
    while let Some(leaf) = leaves.next().await? {
        if from.is_some_and(|key| leaf.key < key) {
            continue;
        }
        if stretch.tree.size().is_multiple_of(WIDTH as u64) {
            keys.push(leaf.key);
        }
        stretch.tree.push(leaf.hash, &mut stretch.full);
        if keep {
            checked.accepted.extend(accepted(&leaf));
        }
        if stretch.full.len() >= 4 * READS_MAX {
            stretch.compare().await?;
        }
    }
    let rows = stretch.tree.size() - before;
    let sound = stretch.tree.size() == head.size && stretch.tree.root() == head.root;
    stretch.full.extend(stretch.tree.partial());
    stretch.compare().await?;
    let Stretch { log, differ, missing, .. } = stretch;
    if sound {
        checked.leaves = rows;
        let path = |(level, number): &(u8, u64)| {
            format!("tile {level}/{number} is not what the rows and the signature give")
        };
        checked.findings.extend(differ.iter().map(|at| Finding::lane(Class::Tampered, &head.lane, path(at))));
        checked.findings.extend(missing.into_iter().map(|path| Finding::from(SealError::Missing(path))));
        if start == 0 {
            checked.map = mapped(&log, head, &keys).await?;
        }
    } else if start > 0 {
        checked.findings = blame(client, whole, head).await?;
    } else {
        let first = differ.iter().filter(|(level, _)| *level == 0).map(|(_, number)| *number).min();
        let first = first.unwrap_or(0).min(log.tiles().saturating_sub(1));
        let place = usize::try_from(first).unwrap_or(usize::MAX);
        let from = (first > 0).then(|| keys.get(place).copied().unwrap_or(END));
        checked.findings = diff(client, &log, head, first, from).await?;
    }
    Ok(checked)
}

/// What is wrong with a partition of which a part did not check: its rows and tiles, read whole without the map.
///
/// # Errors
/// [`SealError::Map`] where nothing is: then the map, by which the part was found, leads astray.
async fn blame(client: &Client, log: &Log, head: &Head) -> Result<Vec<Finding>, SealError> {
    let whole = Box::pin(lane(client, log, head, 0, false)).await?;
    if whole.findings.is_empty() {
        return Err(SealError::Map(format!("{}/{}/first", head.lane.topic_id, head.lane.partition)));
    }
    Ok(whole.findings)
}

/// Holds the map from offsets to tiles against the keys that the rows give.
async fn mapped(log: &LaneLog, head: &Head, keys: &[Key]) -> Result<Vec<Finding>, SealError> {
    let mut findings = Vec::new();
    for (number, own) in (0..).zip(keys.chunks(WIDTH)) {
        match log.first_keys(number).await {
            Ok(stored) if stored == own => {}
            Ok(_) | Err(SealError::Map(_)) => {
                let text = format!("the log is altered: the map {} is not that of the rows", log.map(number));
                findings.push(Finding::lane(Class::Tampered, &head.lane, text));
            }
            Err(error @ SealError::Missing(_)) => findings.push(error.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(findings)
}

fn accepted(leaf: &Leaf) -> Option<Accepted> {
    let record = leaf.key.kind == Kind::Record && !leaf.dead;
    record.then_some(Accepted { digest: leaf.digest, offset: leaf.key.offset, event_id: leaf.event_id })
}

/// Checks one leaf by its inclusion proof, and with it the other leaves of its tile.
pub(super) async fn sample(
    client: &Client,
    whole: &Log,
    head: &Head,
    index: u64,
) -> Result<Checked, SealError> {
    let log = whole.of(head);
    let tile = index / WIDTH as u64;
    let from = log.first_key(tile).await?;
    let end = if tile + 1 < log.tiles() { Some(log.first_key(tile + 1).await?) } else { None };
    let next = end.map_or(head.next, |key| key.offset.saturating_add(1));
    let mut checked = Checked { from: from.offset, next, ..Checked::default() };
    let mut leaves = Leaves::open(client, &head.lane, from.offset, next.min(head.next)).await?;
    let mut hashes = Vec::with_capacity(WIDTH);
    while let Some(leaf) = leaves.next().await? {
        if leaf.key >= from && end.is_none_or(|end| leaf.key < end) {
            hashes.push(leaf.hash);
            checked.accepted.extend(accepted(&leaf));
        }
    }
    let place = usize::try_from(index % WIDTH as u64).unwrap_or(WIDTH);
    let proof = proof::inclusion(&log, head.size, index).await?;
    let included =
        hashes.get(place).is_some_and(|leaf| proof::includes(&proof, head.size, head.root, index, *leaf));
    if included && log.tile(0, tile).await? == hashes {
        checked.leaves = hashes.len() as u64;
    } else {
        checked.findings = blame(client, whole, head).await?;
    }
    Ok(checked)
}

/// Whether the newer log holds what the older heads say.
pub(super) async fn extends(log: &Log, newer: &[Head], older: &[Head], what: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for old in older {
        let rolled_back = |text: String| Finding::lane(Class::Tampered, &old.lane, text);
        let same = |head: &&Head| {
            (head.lane.topic_id, head.lane.partition) == (old.lane.topic_id, old.lane.partition)
        };
        let Some(new) = newer.iter().find(same) else {
            findings.push(rolled_back(format!("stands in {what} and is gone from the log")));
            continue;
        };
        if new.size < old.size {
            let (new, old) = (new.size, old.size);
            findings.push(rolled_back(format!("truncated tip: {what} has {old} leaves, the log has {new}")));
            continue;
        }
        match proof::consistency(&log.of(new), new.size, old.size).await {
            Ok(proof) if proof::extends(&proof, (new.size, new.root), (old.size, old.root)) => {}
            Ok(_) => findings.push(rolled_back(format!("is not a continuation of {what}"))),
            Err(error) => findings.push(error.into()),
        }
    }
    findings
}
