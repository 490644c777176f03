//! Proofs through `tlog_tiles`: which hashes a proof needs is asked first, the tiles are fetched, then it is made.

use super::SealError;
use super::log::LaneLog;
use super::tree::{HEIGHT, Hash, WIDTH};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Mutex;
use tlog_tiles::{Error, Hash as LogHash, HashReader, Tile};

/// Remembers what it was asked for and has nothing.
#[derive(Default)]
struct Asked(Mutex<Vec<u64>>);

impl HashReader for Asked {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<LogHash>, Error> {
        if let Ok(mut asked) = self.0.lock() {
            asked.extend(indexes);
        }
        Err(Error::InvalidTile)
    }
}

struct Fetched(HashMap<u64, LogHash>);

impl HashReader for Fetched {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<LogHash>, Error> {
        indexes.iter().map(|index| self.0.get(index).copied().ok_or(Error::InvalidTile)).collect()
    }
}

type Prove<'a> = &'a (dyn Fn(&dyn Ask) -> Result<Vec<LogHash>, Error> + Sync);

/// A reader that a proof can be asked of.
trait Ask {
    fn record(&self, size: u64, index: u64) -> Result<Vec<LogHash>, Error>;
    fn tree(&self, size: u64, old: u64) -> Result<Vec<LogHash>, Error>;
}

impl<R: HashReader> Ask for R {
    fn record(&self, size: u64, index: u64) -> Result<Vec<LogHash>, Error> {
        tlog_tiles::prove_record(size, index, self)
    }

    fn tree(&self, size: u64, old: u64) -> Result<Vec<LogHash>, Error> {
        tlog_tiles::prove_tree(size, old, self)
    }
}

async fn fetch(log: &LaneLog, prove: Prove<'_>) -> Result<Vec<Hash>, SealError> {
    let asked = Asked::default();
    if let Ok(proof) = prove(&asked) {
        return Ok(proof.into_iter().map(|hash| hash.0).collect()); // it needs nothing
    }
    let indexes = asked.0.into_inner().unwrap_or_default();
    let (mut tiles, mut hashes) = (HashMap::new(), HashMap::new());
    for index in indexes {
        let tile = Tile::from_index(HEIGHT, index);
        let at = (tile.level(), tile.level_index());
        if let Entry::Vacant(place) = tiles.entry(at) {
            place.insert(log.tile(at.0, at.1).await?);
        }
        let wanted = usize::try_from(tile.width()).unwrap_or(WIDTH);
        let bytes = tiles.get(&at).and_then(|hashes| hashes.get(..wanted)).map(<[Hash]>::concat);
        let hash = bytes.and_then(|bytes| tile.hash_at_index(&bytes, index).ok());
        hashes.insert(index, hash.ok_or_else(|| SealError::Missing(tile.path()))?);
    }
    let proof = prove(&Fetched(hashes)).map_err(|e| SealError::malformed(format!("a proof: {e}")))?;
    Ok(proof.into_iter().map(|hash| hash.0).collect())
}

/// The proof that leaf `index` stands in the tree of `size` leaves.
pub(super) async fn inclusion(log: &LaneLog, size: u64, index: u64) -> Result<Vec<Hash>, SealError> {
    fetch(log, &|reader| reader.record(size, index)).await
}

/// The proof that the tree of `size` leaves begins with the tree of `old` leaves.
pub(super) async fn consistency(log: &LaneLog, size: u64, old: u64) -> Result<Vec<Hash>, SealError> {
    fetch(log, &|reader| reader.tree(size, old)).await
}

fn list(proof: &[Hash]) -> Vec<LogHash> {
    proof.iter().map(|hash| LogHash(*hash)).collect()
}

/// Whether a leaf stands at `index` of the tree with this size and root.
pub(super) fn includes(proof: &[Hash], size: u64, root: Hash, index: u64, leaf: Hash) -> bool {
    index < size && tlog_tiles::check_record(&list(proof), size, LogHash(root), index, LogHash(leaf)).is_ok()
}

/// Whether the newer tree begins with the older.
pub(super) fn extends(proof: &[Hash], (size, root): (u64, Hash), (old, old_root): (u64, Hash)) -> bool {
    old <= size && tlog_tiles::check_tree(&list(proof), size, LogHash(root), old, LogHash(old_root)).is_ok()
}

/// The proof that leaf `index` stands in the tree over these few leaves.
pub(super) fn inclusion_among(leaves: &[Hash], index: u64) -> Result<Vec<Hash>, SealError> {
    let mut stored = Fetched(HashMap::new());
    let failed = |e| SealError::malformed(format!("a proof: {e}"));
    for (n, leaf) in (0_u64..).zip(leaves) {
        let hashes = tlog_tiles::stored_hashes_for_record_hash(n, LogHash(*leaf), &stored).map_err(failed)?;
        let base = tlog_tiles::stored_hash_index(0, n);
        stored.0.extend((base..).zip(hashes));
    }
    let proof = tlog_tiles::prove_record(leaves.len() as u64, index, &stored).map_err(failed)?;
    Ok(proof.into_iter().map(|hash| hash.0).collect())
}
