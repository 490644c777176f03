//! One Merkle tree (RFC 6962), held as the right edge of its tiles of 256 hashes.
//!
//! `tlog_tiles` reads and proves hash by hash through a storage index, which suits single proofs and is used for
//! them in `proof.rs`. Building a million leaves wants the plain form: push a leaf, take each tile as it fills.

use sha2::{Digest, Sha256};

/// A SHA-256 hash of the tree.
pub type Hash = [u8; 32];

/// Hashes of a full tile.
pub(super) const WIDTH: usize = 256;
/// Its logarithm: the height of a tile.
pub(super) const HEIGHT: u8 = 8;

/// A tile: level, number within the level, hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub(super) level: u8,
    pub(super) number: u64,
    pub(super) hashes: Vec<Hash>,
}

/// A tree of which only the right edge is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tree {
    size: u64,
    /// The unfinished tile of each level, lowest first; fewer than [`WIDTH`] hashes each.
    edge: Vec<Vec<Hash>>,
}

/// The hash of a leaf over the parts of its data.
pub(super) fn leaf_hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new_with_prefix([0]);
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new_with_prefix([1]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// How many hashes the tile `number` of a level has in a tree of that size; 0 where there is none.
pub(super) fn width(size: u64, level: u8, number: u64) -> usize {
    let hashes = size.checked_shr(u32::from(level) * u32::from(HEIGHT)).unwrap_or(0);
    let before = number.saturating_mul(WIDTH as u64);
    usize::try_from(hashes.saturating_sub(before).min(WIDTH as u64)).unwrap_or(0)
}

impl Tree {
    /// The tree of `size` leaves whose unfinished tiles are `edge`, lowest level first.
    pub(super) fn at(size: u64, edge: Vec<Vec<Hash>>) -> Tree {
        Tree { size, edge }
    }

    /// Level and number of each unfinished tile that a tree of that size has, lowest first. Levels whose last tile
    /// is full have none, but keep their place.
    pub(super) fn edge_of(size: u64) -> Vec<(u8, u64, usize)> {
        let mut edge = Vec::new();
        let mut hashes = size;
        while hashes > 0 {
            let level = u8::try_from(edge.len()).unwrap_or(u8::MAX);
            edge.push((level, hashes >> HEIGHT, usize::try_from(hashes % WIDTH as u64).unwrap_or(0)));
            hashes >>= HEIGHT;
        }
        edge
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf, and hands out each tile that it fills.
    pub(super) fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) {
        self.size += 1;
        let (mut hash, mut level) = (leaf, 0_usize);
        loop {
            if self.edge.len() == level {
                self.edge.push(Vec::with_capacity(WIDTH));
            }
            let tile = &mut self.edge[level];
            tile.push(hash);
            if tile.len() < WIDTH {
                return;
            }
            let hashes = std::mem::replace(tile, Vec::with_capacity(WIDTH));
            hash = subtree(&hashes);
            let depth = u8::try_from(level).unwrap_or(u8::MAX);
            let number = (self.size >> (u32::from(HEIGHT) * (u32::from(depth) + 1))) - 1;
            full.push(Tile { level: depth, number, hashes });
            level += 1;
        }
    }

    /// The unfinished tiles.
    pub(super) fn partial(&self) -> impl Iterator<Item = Tile> + '_ {
        Tree::edge_of(self.size)
            .into_iter()
            .zip(&self.edge)
            .filter(|((.., width), _)| *width > 0)
            .map(|((level, number, _), hashes)| Tile { level, number, hashes: hashes.clone() })
    }

    /// The root; of an empty tree the hash of nothing.
    pub(super) fn root(&self) -> Hash {
        let mut root: Option<Hash> = None;
        for tile in &self.edge {
            // right to left: the smallest complete subtree is the rightmost
            let mut end = tile.len();
            while end > 0 {
                let block = 1 << end.trailing_zeros();
                let left = subtree(&tile[end - block..end]);
                root = Some(root.map_or(left, |right| node_hash(&left, &right)));
                end -= block;
            }
        }
        root.unwrap_or_else(|| Sha256::digest([]).into())
    }
}

/// The root over hashes whose number is a power of two.
fn subtree(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    level.first().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Hash, Tree, leaf_hash, width};
    use std::collections::HashMap;
    use tlog_tiles::{
        Error, Hash as LogHash, HashReader, record_hash, stored_hashes_for_record_hash, tree_hash,
    };

    struct Stored(Vec<LogHash>);

    impl HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<LogHash>, Error> {
            Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).expect("small")]).collect())
        }
    }

    /// Scenario: trees of up to 700 leaves, and one that fills a tile of the second level.
    /// Guarantees: the root of every size is the one that `tlog_tiles` computes from its own storage, and a tree
    /// taken up again from its tiles goes on to the same root.
    #[test]
    fn roots_are_those_of_another_implementation() {
        let mut stored = Stored(Vec::new());
        let (mut tree, mut tiles, mut all) = (Tree::default(), Vec::new(), HashMap::new());
        for n in 0..66_000_u64 {
            let data = n.to_be_bytes();
            let leaf = leaf_hash(&[&data[..3], &data[3..]]);
            assert_eq!(leaf, record_hash(&data).0);
            let more = stored_hashes_for_record_hash(n, LogHash(leaf), &stored).expect("hashes");
            stored.0.extend(more);
            tree.push(leaf, &mut tiles);
            for tile in tiles.drain(..) {
                all.insert((tile.level, tile.number), tile.hashes);
            }
            if !(700..=65_500).contains(&n) {
                assert_eq!(tree.root(), tree_hash(n + 1, &stored).expect("a root").0, "size {}", n + 1);
            }
        }
        for size in [1, 255, 256, 257, 512, 65_535, 65_536, 65_792] {
            let mut edge = Vec::new();
            for (level, number, wide) in Tree::edge_of(size) {
                assert_eq!(wide % 256, width(size, level, number) % 256);
                let hashes: Vec<Hash> = all.get(&(level, number)).cloned().unwrap_or_else(|| {
                    tree.partial()
                        .find(|t| (t.level, t.number) == (level, number))
                        .map_or(Vec::new(), |t| t.hashes)
                });
                edge.push(hashes[..wide].to_vec());
            }
            assert_eq!(
                Tree::at(size, edge).root(),
                tree_hash(size, &stored).expect("a root").0,
                "size {size}"
            );
        }
    }
}
