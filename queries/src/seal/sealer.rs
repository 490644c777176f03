//! Sealing: each partition's tree is taken up where it ended and extended over the rows that came since; then one
//! checkpoint over all is signed.
//!
//! A tree grows over offsets without a hole: a record whose offset is not the next one, a dead letter without its
//! receipt, or a receipt without its dead letter stops that partition there, and is told.
//!
//! Order, each step of which may be the last before a crash: tiles, heads, the numbered checkpoint (created, never
//! overwritten: of two sealers one wins and the other begins again), `checkpoint`, the hint, the table `seals`.
//! Whatever is repeated writes the same bytes.

use super::checkpoint::{Checkpoint, body, checkpoint, claim, heads_root, heads_text};
use super::keys::{Keys, Signers};
use super::leaf::{Key, Kind, Leaf};
use super::log::{HINT, LaneLog, Log, NEWEST, numbered};
use super::rows::Leaves;
use super::tree::{Tile, Tree, WIDTH};
use super::verify;
use super::{Head, Lane, SealError, cores, history};
use bytes::Bytes;
use clickhouse::Client;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::BTreeMap;

/// Tiles that are written at once.
const WRITES_MAX: usize = 16;
/// Partitions that are read at once.
pub(super) const LANES_MAX: usize = 4;
/// How often another sealer may win before this one gives up.
const ATTEMPTS_MAX: u32 = 10;

/// Why a partition's tree ends before its rows do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// No row says what became of these offsets, [first, next).
    Hole(i64, i64),
    /// The receipt at this offset says dead, and there is no dead letter.
    LetterMissing(i64),
    /// There is a dead letter at this offset, and no receipt that says dead.
    ReceiptMissing(i64),
    /// Its rows name a topic that Kafka does not allow: no broker had them, and a list of heads cannot hold it.
    NoTopic,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stop::Hole(first, next) => write!(f, "no row for offsets {first} to {}", next - 1),
            Stop::LetterMissing(offset) => write!(f, "no dead letter for the receipt at offset {offset}"),
            Stop::ReceiptMissing(offset) => write!(f, "no receipt for the dead letter at offset {offset}"),
            Stop::NoTopic => f.write_str("Kafka allows no topic of that name"),
        }
    }
}

/// What became of one partition.
#[derive(Clone, Debug)]
pub struct LaneSealed {
    /// Which.
    pub lane: Lane,
    /// Leaves that were added.
    pub added: u64,
    /// Why it ended before its rows did.
    pub stop: Option<Stop>,
}

/// What a run of the sealer did.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Its number, from 1.
    pub number: u64,
    /// Whether this run published it.
    pub published: bool,
    /// Every partition.
    pub lanes: Vec<LaneSealed>,
}

/// Reads the newest checkpoint of a log and verifies its signature and heads.
pub(super) async fn newest(log: &Log, keys: &Keys) -> Result<Option<(u64, Checkpoint)>, SealError> {
    let Some((number, note)) = log.newest().await? else { return Ok(None) };
    let path = format!("heads/{}", hex::encode(claim(&note, keys)?.root));
    let heads = log.get(&path).await?.ok_or(SealError::Missing(path))?;
    Ok(Some((number, checkpoint(&note, &heads, keys)?)))
}

/// Seals what can be sealed, once. `keys` verify what was sealed before; `now_micros` is written into the table
/// `seals` and nowhere else.
///
/// # Errors
/// See [`SealError`]; an altered log is never extended.
pub async fn seal(
    client: &Client,
    log: &Log,
    signers: &Signers,
    keys: &Keys,
    now_micros: i64,
) -> Result<Sealed, SealError> {
    if signers.origin() != keys.origin() {
        return Err(SealError::Key(format!("keys of two logs, {} and {}", signers.origin(), keys.origin())));
    }
    for _ in 0..ATTEMPTS_MAX {
        let before = newest(log, keys).await?;
        let number = before.as_ref().map_or(0, |(number, _)| *number);
        let before = before.map(|(_, checkpoint)| checkpoint);
        if let Some(before) = &before {
            log.point_at(number, &before.note).await?;
            history::remember(client, before, now_micros).await?;
        }
        let (heads, lanes) = extend(client, log, before.as_ref()).await?;
        let unsigned = before.as_ref().is_none_or(|b| signers.names().iter().any(|n| !b.signers.contains(n)));
        if heads.is_empty() || (!unsigned && lanes.iter().all(|lane| lane.added == 0)) {
            return Ok(Sealed { checkpoint: before, number, published: false, lanes });
        }
        match continued(client, log, &heads, keys).await {
            Ok(()) => {}
            // another sealer may have gone on meanwhile
            Err(_) if newest(log, keys).await?.map_or(0, |(newer, _)| newer) != number => continue,
            Err(error) => return Err(error),
        }
        let text = heads_text(&heads);
        let note = signers.sign(&body(signers.origin(), &heads)?)?;
        // read as everyone will read it, before it is there for good
        let checkpoint = checkpoint(&note, text.as_bytes(), &Keys::parse(signers.public())?)?;
        log.keep(&format!("heads/{}", hex::encode(heads_root(&heads))), Bytes::from(text)).await?;
        if log.create(&numbered(number + 1), Bytes::from(note.clone())).await? {
            log.overwrite(NEWEST, Bytes::from(note.clone())).await?;
            log.overwrite(HINT, Bytes::from((number + 1).to_string())).await?;
            history::remember(client, &checkpoint, now_micros).await?;
            return Ok(Sealed { checkpoint: Some(checkpoint), number: number + 1, published: true, lanes });
        }
    }
    Err(SealError::Contended(ATTEMPTS_MAX))
}

/// Refuses heads that do not continue what ClickHouse remembers of this log: to sign them would be to sign over what was
/// altered, after the log was begun anew or brought back from an old copy. Where nothing was altered they do continue it.
async fn continued(client: &Client, log: &Log, heads: &[Head], keys: &Keys) -> Result<(), SealError> {
    let remembered = history::remembered(client, keys.origin()).await?;
    match verify::continues(log, heads, &remembered, keys).await.first() {
        None => Ok(()),
        Some(finding) => Err(SealError::Altered(format!(
            "rows or tiles are no longer what was sealed, and are not sealed over; `tally verify` names them ({finding})"
        ))),
    }
}

/// Extends every partition's tree; gives the heads in their order.
async fn extend(
    client: &Client,
    log: &Log,
    before: Option<&Checkpoint>,
) -> Result<(Vec<Head>, Vec<LaneSealed>), SealError> {
    let mut heads: BTreeMap<_, Head> = BTreeMap::new();
    for head in before.iter().flat_map(|checkpoint| &checkpoint.heads) {
        heads.insert((head.lane.topic_id, head.lane.partition), head.clone());
    }
    let mut lanes = history::lanes(client).await?;
    for lane in &mut lanes {
        // a sealed partition keeps the name it was sealed under
        if let Some(head) = heads.get(&(lane.topic_id, lane.partition)) {
            lane.topic.clone_from(&head.lane.topic);
        }
    }
    let (lanes, nowhere): (Vec<Lane>, Vec<Lane>) = lanes.into_iter().partition(Lane::is_of_kafka);
    let one = |lane: Lane| {
        let head = heads.get(&(lane.topic_id, lane.partition)).cloned();
        let (client, log) = (client.clone(), log.clone());
        cores::end(cores::begin(async move { extend_lane(&client, &log, lane, head).await }))
    };
    let done: Vec<(Option<Head>, LaneSealed)> =
        stream::iter(lanes).map(one).buffered(LANES_MAX).try_collect().await?;
    let mut sealed = Vec::new();
    for (head, lane) in done {
        heads.extend(head.map(|head| ((head.lane.topic_id, head.lane.partition), head)));
        sealed.push(lane);
    }
    sealed.extend(nowhere.into_iter().map(|lane| LaneSealed { lane, added: 0, stop: Some(Stop::NoTopic) }));
    let mut heads: Vec<Head> = heads.into_values().collect();
    heads.sort();
    Ok((heads, sealed))
}

/// A partition's tree while it grows.
struct Growth {
    log: LaneLog,
    tree: Tree,
    next: i64,
    appended_at_ms: i64,
    /// A receipt that says dead: it enters the tree with its letter.
    held: Option<Leaf>,
    full: Vec<Tile>,
    /// First keys of the tiles of the unfinished group.
    keys: Vec<Key>,
}

async fn extend_lane(
    client: &Client,
    log: &Log,
    lane: Lane,
    before: Option<Head>,
) -> Result<(Option<Head>, LaneSealed), SealError> {
    let mut growth = Growth::open(log, &lane, before.as_ref()).await?;
    let from = before.as_ref().map_or(0, |head| head.next);
    let mut leaves = Leaves::open(client, &lane, from, i64::MAX).await?;
    if before.is_none() {
        growth.next = leaves.peek().map_or(0, |key| key.offset);
    }
    let mut stop = None;
    while let Some(leaf) = leaves.next().await? {
        stop = growth.admit(leaf);
        if stop.is_some() {
            break;
        }
        growth.flush(false).await?;
    }
    let stop = stop.or_else(|| growth.held.as_ref().map(|leaf| Stop::LetterMissing(leaf.key.offset)));
    let added = growth.tree.size() - before.as_ref().map_or(0, |head| head.size);
    let mut head = None;
    if added > 0 {
        growth.flush(true).await?;
        let Growth { tree, next, appended_at_ms, .. } = growth;
        head = Some(Head { lane: lane.clone(), next, size: tree.size(), appended_at_ms, root: tree.root() });
    }
    Ok((head, LaneSealed { lane, added, stop }))
}

impl Growth {
    async fn open(log: &Log, lane: &Lane, before: Option<&Head>) -> Result<Growth, SealError> {
        let size = before.map_or(0, |head| head.size);
        let log = log.lane(lane, size);
        let (mut tree, mut keys) = (Tree::default(), Vec::new());
        if let Some(head) = before {
            tree = log.tree(size).await?;
            if tree.root() != head.root {
                return Err(SealError::Altered(format!("the tiles of {lane} do not give its signed root")));
            }
            if !log.tiles().is_multiple_of(WIDTH as u64) {
                keys = log.first_keys(log.tiles() / WIDTH as u64).await?;
            }
        }
        let (next, appended_at_ms) = before.map_or((0, 0), |head| (head.next, head.appended_at_ms));
        Ok(Growth { log, tree, next, appended_at_ms, held: None, full: Vec::new(), keys })
    }

    /// Takes a leaf into the tree, or says why it cannot.
    fn admit(&mut self, leaf: Leaf) -> Option<Stop> {
        let Key { offset, kind, next } = leaf.key;
        if kind == Kind::Letter {
            let Some(record) = self.held.take_if(|record| record.key.offset == offset) else {
                return Some(
                    self.held.as_ref().map_or(Stop::ReceiptMissing(offset), |record| {
                        Stop::LetterMissing(record.key.offset)
                    }),
                );
            };
            self.push(&record);
            self.push(&leaf);
            return None;
        }
        if let Some(record) = &self.held {
            return Some(Stop::LetterMissing(record.key.offset));
        }
        if offset > self.next {
            return Some(Stop::Hole(self.next, offset));
        }
        match kind {
            Kind::Record if leaf.dead => self.held = Some(leaf),
            _ => {
                self.next = self.next.max(if kind == Kind::Gap { next } else { offset + 1 });
                self.push(&leaf);
            }
        }
        None
    }

    fn push(&mut self, leaf: &Leaf) {
        if self.tree.size().is_multiple_of(WIDTH as u64) {
            self.keys.push(leaf.key);
        }
        if leaf.key.kind != Kind::Gap {
            self.next = self.next.max(leaf.key.offset + 1);
        }
        self.appended_at_ms = self.appended_at_ms.max(leaf.appended_at_ms);
        self.tree.push(leaf.hash, &mut self.full);
    }

    /// Writes full tiles once there are some, and at the `end` the unfinished ones too.
    async fn flush(&mut self, end: bool) -> Result<(), SealError> {
        if end {
            self.full.extend(self.tree.partial());
        }
        if self.keys.len() > WIDTH || (end && !self.keys.is_empty()) || self.full.len() >= 4 * WRITES_MAX {
            let started = self.tree.size().div_ceil(WIDTH as u64); // tiles, the last one perhaps unfinished
            let mut group = (started - self.keys.len() as u64) / WIDTH as u64;
            while self.keys.len() > WIDTH || (end && !self.keys.is_empty()) {
                let rest = self.keys.split_off(self.keys.len().min(WIDTH));
                self.log.write_first_keys(group, &self.keys).await?;
                self.keys = rest;
                group += 1;
            }
            let log = &self.log;
            let write = |tile: Tile| async move { log.write(&tile).await };
            stream::iter(std::mem::take(&mut self.full))
                .map(write)
                .buffer_unordered(WRITES_MAX)
                .try_collect::<()>()
                .await?;
        }
        Ok(())
    }
}
