//! Where tiles, heads and checkpoints lie: a directory or an object store.
//!
//! | object | holds |
//! | --- | --- |
//! | `checkpoint` | the newest signed checkpoint, for clients of C2SP tlog-tiles; a convenience, never believed here |
//! | `checkpoints/SEQ` | the SEQth signed checkpoint, written once: who creates it has sealed, all others look again |
//! | `checkpoints/hint` | a SEQ that existed |
//! | `heads/ROOT` | the partition heads that a checkpoint of that root signs |
//! | `TOPIC_ID/PARTITION/tile/L/NNN[.p/W]` | the tiles of a partition, as C2SP tlog-tiles names them |
//! | `TOPIC_ID/PARTITION/first/NNN[.p/W]` | the key of the first leaf of each tile: a map from offsets, not trusted |
//!
//! Every object but `checkpoint` and the hint is a function of the sealed rows (and a checkpoint of the keys), so
//! sealers that race write the same bytes. One that finds other bytes stops.

use super::SealError;
use super::leaf::{KEY_BYTES, Key};
use super::tree::{Hash, Tile, Tree, WIDTH, width};
use super::{Head, Lane};
use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};
use std::sync::Arc;

/// A log in a directory or an object store.
#[derive(Clone, Debug)]
pub struct Log {
    store: Arc<dyn ObjectStore>,
}

impl Log {
    /// Opens the log at a directory or a URL such as `s3://bucket/prefix`, whose credentials stand in the
    /// environment as the object store's own tools name them. `create` makes a directory that is not there.
    ///
    /// # Errors
    /// A URL that names no store, a directory that is not there.
    pub fn open(at: &str, create: bool) -> Result<Log, SealError> {
        let failed = |source| SealError::Store { path: at.to_owned(), source };
        if at.contains("://") {
            let url = url::Url::parse(at).map_err(SealError::malformed)?;
            let options = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
            let (store, path) = object_store::parse_url_opts(&url, options).map_err(failed)?;
            return Ok(Log { store: Arc::new(PrefixStore::new(store, path)) });
        }
        if create {
            std::fs::create_dir_all(at).map_err(|e| SealError::malformed(format!("{at}: {e}")))?;
        }
        let store = LocalFileSystem::new_with_prefix(at).map_err(failed)?;
        Ok(Log { store: Arc::new(store) })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Option<Bytes>, SealError> {
        let failed = |source| SealError::Store { path: path.to_owned(), source };
        match self.store.get(&Path::from(path)).await {
            Ok(object) => object.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Creates an object; false if there is one already.
    pub(super) async fn create(&self, path: &str, bytes: Bytes) -> Result<bool, SealError> {
        let (at, payload) = (Path::from(path), PutPayload::from_bytes(bytes));
        match self.store.put_opts(&at, payload, PutMode::Create.into()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(SealError::Store { path: path.to_owned(), source }),
        }
    }

    /// Creates an object whose bytes are given by its name: another content is an alteration.
    pub(super) async fn keep(&self, path: &str, bytes: Bytes) -> Result<(), SealError> {
        if self.create(path, bytes.clone()).await? || self.get(path).await?.is_some_and(|old| old == bytes) {
            return Ok(());
        }
        Err(SealError::Altered(format!("{path} holds other bytes than these rows give")))
    }

    pub(super) async fn overwrite(&self, path: &str, bytes: Bytes) -> Result<(), SealError> {
        let put = self.store.put(&Path::from(path), PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|source| SealError::Store { path: path.to_owned(), source })
    }

    /// Number and bytes of the newest checkpoint; numbers count from 1 without a hole.
    pub(super) async fn newest(&self) -> Result<Option<(u64, Bytes)>, SealError> {
        let hint =
            self.get(HINT).await?.and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse::<u64>().ok());
        let (mut found, mut step) = (None, 1);
        let mut low = hint.unwrap_or(0);
        if low > 0 {
            found = self.get(&numbered(low)).await?.map(|bytes| (low, bytes));
            if found.is_none() {
                low = 0; // the hint lies: look from the beginning
            }
        }
        // doubling steps while there is something, then halving ones
        let mut growing = true;
        while step > 0 {
            match self.get(&numbered(low + step)).await? {
                Some(bytes) => {
                    low += step;
                    found = Some((low, bytes));
                    step = if growing { step * 2 } else { step / 2 };
                }
                None => {
                    growing = false;
                    step /= 2;
                }
            }
        }
        Ok(found)
    }

    /// Brings `checkpoint` up to the newest, after a crash between the two; whatever else it holds stays, to be found.
    pub(super) async fn point_at(&self, number: u64, note: &[u8]) -> Result<(), SealError> {
        let pointer = self.get(NEWEST).await?;
        let before = match number {
            ..=1 => None,
            _ => self.get(&numbered(number - 1)).await?,
        };
        if pointer == before {
            self.overwrite(NEWEST, Bytes::copy_from_slice(note)).await?;
        }
        Ok(())
    }

    pub(super) fn lane(&self, lane: &Lane, size: u64) -> LaneLog {
        LaneLog { log: self.clone(), prefix: format!("{}/{}", lane.topic_id, lane.partition), size }
    }

    /// The log of a sealed partition.
    pub(super) fn of(&self, head: &Head) -> LaneLog {
        self.lane(&head.lane, head.size)
    }
}

pub(super) const HINT: &str = "checkpoints/hint";
pub(super) const NEWEST: &str = "checkpoint";

pub(super) fn numbered(number: u64) -> String {
    format!("checkpoints/{}", spread(number))
}

/// A number in groups of three digits, as tlog-tiles writes it: `x001/x234/067`.
fn spread(number: u64) -> String {
    let mut text = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

fn tile_path(kind: &str, number: u64, width: usize) -> String {
    match width {
        WIDTH => format!("{kind}/{}", spread(number)),
        _ => format!("{kind}/{}.p/{width}", spread(number)),
    }
}

/// The tiles of one partition's tree of a given size.
#[derive(Clone, Debug)]
pub(super) struct LaneLog {
    log: Log,
    prefix: String,
    size: u64,
}

impl LaneLog {
    pub(super) fn path(&self, tile: &Tile) -> String {
        tile_path(&format!("{}/tile/{}", self.prefix, tile.level), tile.number, tile.hashes.len())
    }

    pub(super) async fn write(&self, tile: &Tile) -> Result<(), SealError> {
        self.log.keep(&self.path(tile), Bytes::from(tile.hashes.concat())).await
    }

    /// What is stored of a tile of this tree.
    ///
    /// # Errors
    /// A tile that is missing or of the wrong length.
    pub(super) async fn tile(&self, level: u8, number: u64) -> Result<Vec<Hash>, SealError> {
        let width = width(self.size, level, number);
        let bytes = self.object(&format!("tile/{level}"), number, width, 32).await?;
        Ok(bytes.chunks_exact(32).filter_map(|hash| hash.try_into().ok()).collect())
    }

    async fn object(&self, kind: &str, number: u64, width: usize, unit: usize) -> Result<Bytes, SealError> {
        let path = tile_path(&format!("{}/{kind}", self.prefix), number, width);
        let mut found = self.log.get(&path).await?;
        if found.is_none() && width < WIDTH {
            // a later tree may have filled it
            found = self.log.get(&tile_path(&format!("{}/{kind}", self.prefix), number, WIDTH)).await?;
        }
        let Some(bytes) = found else { return Err(SealError::Missing(path)) };
        let whole = bytes.len() % unit == 0 && bytes.len() >= width * unit;
        if !whole {
            return Err(SealError::Altered(format!("{path} has {} bytes", bytes.len())));
        }
        Ok(bytes.slice(..width * unit))
    }

    /// The tree of the first `size` leaves, taken up from its tiles. The caller holds its root against a signed one.
    pub(super) async fn tree(&self, size: u64) -> Result<Tree, SealError> {
        let mut edge = Vec::new();
        for (level, number, wide) in Tree::edge_of(size) {
            let mut hashes = Vec::with_capacity(WIDTH);
            if wide > 0 {
                hashes = self.tile(level, number).await?;
                hashes.truncate(wide);
            }
            edge.push(hashes);
        }
        Ok(Tree::at(size, edge))
    }

    /// Number of tiles at the lowest level, the last of which may be unfinished.
    pub(super) fn tiles(&self) -> u64 {
        self.size.div_ceil(WIDTH as u64)
    }

    /// The keys of the first leaves of 256 tiles from tile `256 * number` on.
    pub(super) async fn first_keys(&self, number: u64) -> Result<Vec<Key>, SealError> {
        let bytes = match self.object("first", number, width(self.tiles(), 0, number), KEY_BYTES).await {
            Err(SealError::Altered(_)) => return Err(SealError::Map(self.map(number))),
            read => read?,
        };
        let keys: Option<Vec<Key>> = bytes.chunks_exact(KEY_BYTES).map(Key::decode).collect();
        keys.ok_or_else(|| SealError::Map(self.map(number)))
    }

    /// The path of that part of the map.
    pub(super) fn map(&self, number: u64) -> String {
        tile_path(&format!("{}/first", self.prefix), number, width(self.tiles(), 0, number))
    }

    /// The key of the first leaf of a tile.
    pub(super) async fn first_key(&self, tile: u64) -> Result<Key, SealError> {
        let keys = self.first_keys(tile / WIDTH as u64).await?;
        let place = usize::try_from(tile % WIDTH as u64).unwrap_or(WIDTH);
        keys.get(place).copied().ok_or_else(|| SealError::Missing(format!("{}/first of {tile}", self.prefix)))
    }

    pub(super) async fn write_first_keys(&self, number: u64, keys: &[Key]) -> Result<(), SealError> {
        let bytes: Vec<u8> = keys.iter().flat_map(|key| key.encode()).collect();
        let path = tile_path(&format!("{}/first", self.prefix), number, keys.len());
        self.log.keep(&path, Bytes::from(bytes)).await
    }

    /// The last tile whose first leaf is not after `key`, and that leaf's key; the first tile if all are.
    pub(super) async fn tile_of(&self, key: Key) -> Result<(u64, Key), SealError> {
        let (mut low, mut high) = (0, self.tiles());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.first_key(middle).await? <= key { low = middle } else { high = middle }
        }
        Ok((low, self.first_key(low).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::{Log, numbered};
    use bytes::Bytes;

    /// Scenario: no checkpoint, then 1 to 40 of them, found with a right, an old, a lying and no hint.
    /// Guarantees: the newest is found; a second creation of a number is refused; kept bytes do not change.
    #[tokio::test]
    async fn the_newest_checkpoint_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = Log::open(folder.path().to_str().expect("text"), true).expect("a log");
        assert!(log.newest().await.expect("an answer").is_none());
        for number in 1..=40_u64 {
            let bytes = Bytes::from(number.to_string());
            assert!(log.create(&numbered(number), bytes.clone()).await.expect("created"));
            assert!(!log.create(&numbered(number), Bytes::from_static(b"x")).await.expect("refused"));
            for hint in [None, Some(number), Some(number / 2), Some(number + 7)] {
                let hint = hint.map_or(String::new(), |hint| hint.to_string());
                log.overwrite(super::HINT, Bytes::from(hint)).await.expect("written");
                assert_eq!(log.newest().await.expect("an answer"), Some((number, bytes.clone())));
            }
        }
        assert!(log.keep(&numbered(40), Bytes::from_static(b"40")).await.is_ok());
        assert!(log.keep(&numbered(40), Bytes::from_static(b"41")).await.is_err());
        assert_eq!(super::spread(1_234_067), "x001/x234/067");
    }
}
