//! Which rows are not those that were sealed: the leaves of the rows laid beside the leaves in the tiles.

use super::leaf::{Key, Kind, Leaf};
use super::log::LaneLog;
use super::report::{Class, Finding};
use super::rows::Leaves;
use super::tree::{Hash, WIDTH};
use super::{Head, SealError};
use clickhouse::Client;
use std::collections::{HashMap, VecDeque};

/// Sealed leaves that are looked ahead for the next row that is known.
const AHEAD_MAX: usize = 64 * WIDTH;
/// Findings after which the comparison ends.
const FINDINGS_MAX: usize = 100;

/// Sealed leaf hashes, read ahead.
struct Sealed<'a> {
    log: &'a LaneLog,
    /// The next tile to read, and the one that ends the comparison.
    tile: u64,
    end: u64,
    ahead: VecDeque<Hash>,
    /// Where each hash that lies ahead stands.
    places: HashMap<Hash, u64>,
    /// Index of the first hash of `ahead`.
    at: u64,
}

impl Sealed<'_> {
    async fn fill(&mut self) -> Result<(), SealError> {
        while self.tile < self.end && self.ahead.len() < AHEAD_MAX {
            for hash in self.log.tile(0, self.tile).await? {
                self.places.insert(hash, self.at + self.ahead.len() as u64);
                self.ahead.push_back(hash);
            }
            self.tile += 1;
        }
        Ok(())
    }

    /// Sealed leaves that no row was found for up to the end, of a tree of that size: its last tile is seldom full.
    fn rest(&self, size: u64) -> u64 {
        (self.end * WIDTH as u64).min(size).saturating_sub(self.at)
    }

    /// Passes over so many hashes and the one after them.
    fn pass(&mut self, skipped: u64) {
        for _ in 0..=skipped {
            if let Some(hash) = self.ahead.pop_front() {
                self.places.remove(&hash);
                self.at += 1;
            }
        }
    }
}

/// The comparison's state between two rows that are known.
struct Comparison<'a> {
    head: &'a Head,
    /// The last row that was known, the offset after it, and whether its letter must follow.
    last: Option<(Key, i64, bool)>,
    strangers: Vec<Leaf>,
    findings: Vec<Finding>,
}

/// Names what differs from tile `first` on; never empty. `from` is the key of the first row of that tile, as the rows
/// give it; `None` where it is the first tile.
pub(super) async fn diff(
    client: &Client,
    log: &LaneLog,
    head: &Head,
    first: u64,
    from: Option<Key>,
) -> Result<Vec<Finding>, SealError> {
    let unnamed = |why: String| {
        vec![Finding::lane(
            Class::Tampered,
            &head.lane,
            format!("the rows do not give the signed root; {why}"),
        )]
    };
    match tiles_are_sealed(log, head, first).await {
        Ok(true) => {}
        Ok(false) => return Ok(unnamed("which rows cannot be said: nor do the tiles".to_owned())),
        Err(error) => return Ok(unnamed(format!("which rows cannot be said: {error}"))),
    }
    let at = first * WIDTH as u64;
    let mut sealed =
        Sealed { log, tile: first, end: log.tiles(), ahead: VecDeque::new(), places: HashMap::new(), at };
    let first_offset = from.map_or(i64::MIN, |key| key.offset);
    let mut leaves = Leaves::open(client, &head.lane, first_offset, head.next).await?;
    let mut comparison = Comparison { head, last: None, strangers: Vec::new(), findings: Vec::new() };
    while let Some(leaf) = leaves.next().await? {
        if from.is_some_and(|key| leaf.key < key) {
            continue;
        }
        sealed.fill().await?;
        match sealed.places.get(&leaf.hash) {
            None => comparison.strangers.push(leaf),
            Some(place) => {
                let skipped = place - sealed.at;
                comparison.resolve(skipped, Some(leaf.key));
                sealed.pass(skipped);
                let next = if leaf.key.kind == Kind::Gap { leaf.key.next } else { leaf.key.offset + 1 };
                comparison.last = Some((leaf.key, next, leaf.dead));
            }
        }
        if comparison.findings.len() + comparison.strangers.len() >= FINDINGS_MAX {
            comparison.resolve(comparison.strangers.len() as u64, None);
            comparison.findings.truncate(FINDINGS_MAX);
            comparison.findings.push(Finding::lane(Class::Tampered, &head.lane, "and more, not listed"));
            return Ok(comparison.findings);
        }
    }
    comparison.resolve(sealed.rest(head.size), None);
    if comparison.findings.is_empty() {
        return Ok(unnamed("they changed while they were read, or stand in another order".to_owned()));
    }
    Ok(comparison.findings)
}

/// Whether the stored tiles from `first` on give the signed root.
async fn tiles_are_sealed(log: &LaneLog, head: &Head, first: u64) -> Result<bool, SealError> {
    let mut tree = log.tree(first * WIDTH as u64).await?;
    let mut full = Vec::new();
    for tile in first..log.tiles() {
        log.tile(0, tile).await?.into_iter().for_each(|hash| tree.push(hash, &mut full));
        full.clear();
    }
    Ok(tree.size() == head.size && tree.root() == head.root)
}

impl Comparison<'_> {
    fn add(&mut self, table: &str, offset: i64, event_id: uuid::Uuid, what: &str) {
        let at = format!("{}/{offset}", self.head.lane);
        self.findings.push(Finding::row(table, at, event_id, what));
    }

    /// Between two known rows stand strangers, and `missing` sealed leaves have no row: as many as can be are rows
    /// that were altered, the rest was inserted or deleted.
    fn resolve(&mut self, missing: u64, next: Option<Key>) {
        let strangers = std::mem::take(&mut self.strangers);
        let altered = usize::try_from(missing).unwrap_or(usize::MAX).min(strangers.len());
        // a stranger whose offset was sealed in another row's place is that row, altered: the order decides
        for (place, leaf) in strangers.iter().enumerate() {
            let what = if place < altered { "was altered" } else { "was inserted" };
            self.add(leaf.key.kind.table(), leaf.key.offset, leaf.event_id, what);
        }
        let deleted = missing - altered as u64;
        if deleted == 0 {
            return;
        }
        let from = match strangers.last() {
            Some(leaf) => Some(leaf.key.offset + 1),
            None => self.last.map(|(_, next, _)| next),
        };
        let whole = next.map(|key| key.offset);
        match (self.last, next) {
            // the letter of a dead receipt that is there
            (Some((key, _, true)), _) if deleted == 1 && strangers.is_empty() => {
                self.add(Kind::Letter.table(), key.offset, uuid::Uuid::nil(), "was deleted");
            }
            // the receipt of a letter that is there
            (_, Some(key)) if deleted == 1 && key.kind == Kind::Letter => {
                self.add(Kind::Record.table(), key.offset, uuid::Uuid::nil(), "was deleted");
            }
            _ => {
                let from = from.map_or("the beginning".to_owned(), |from| format!("offset {from}"));
                let to =
                    whole.map_or(format!("offset {}", self.head.next - 1), |to| format!("offset {}", to - 1));
                let what = format!("{deleted} sealed rows were deleted from {from} to {to}");
                self.findings.push(Finding {
                    table: "audit_log, dead_letters, gaps".to_owned(),
                    ..Finding::lane(Class::Tampered, &self.head.lane, what)
                });
            }
        }
    }
}
