//! Where things are: the repository, its cache, temporary folders, free ports, fresh names.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::guard;

/// Below the range from which Linux takes ports for outgoing connections (32768 and up): a
/// server that is killed and started again must find its port still free.
const PORTS: RangeInclusive<u16> = 15_000..=32_000;

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the repository")
}

/// Where `tests/setup/install.sh` puts what it fetches.
pub fn cache() -> PathBuf {
    repository().join(".cache")
}

/// A folder that is deleted with its value, or by the guard when the test process was killed.
/// Kept when `TALLY_KEEP` is set.
#[derive(Debug)]
pub struct TempFolder {
    folder: TempDir,
}

impl TempFolder {
    /// Creates `tally-test-<name>-…` in the system's folder for temporary files.
    ///
    /// # Panics
    /// When it cannot be created.
    pub fn new(name: &str) -> TempFolder {
        let mut folder = tempfile::Builder::new()
            .prefix(&format!("{}{name}-", guard::FOLDER_PREFIX))
            .tempdir()
            .expect("a temporary folder can be created (is TMPDIR writable?)");
        if std::env::var_os("TALLY_KEEP").is_some() {
            folder.disable_cleanup(true);
        } else {
            guard::delete_at_end(folder.path());
        }
        TempFolder { folder }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A loopback port on which nobody listens. Another process may take it before it is used:
/// whoever starts a server on it tries again with another.
///
/// # Panics
/// When a thousand ports in a row are taken.
pub fn free_port() -> u16 {
    let span = u32::from(PORTS.end() - PORTS.start()) + 1;
    (0..1000)
        .map(|_| PORTS.start() + u16::try_from(scattered() % span).expect("the span fits a port"))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free loopback port (are thousands of servers running?)")
}

/// `<prefix>-<suffix>` with a suffix that no other call, process or run has used: for topics,
/// groups and databases on servers that outlive a test.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let seconds = since_epoch().0;
    format!("{prefix}-{seconds:x}-{:x}-{count}", process::id())
}

/// A number that differs between calls and between processes that start together.
fn scattered() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let (_, nanos) = since_epoch();
    // Knuth's multiplicative hash: neighbours land far apart.
    (process::id() ^ nanos.rotate_left(7)).wrapping_add(count).wrapping_mul(2_654_435_761) >> 8
}

fn since_epoch() -> (u64, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs(), now.subsec_nanos())
}
