//! Skipping a test by name when a real server is not to be had.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::thread;

use crate::place::cache;

/// Why a real server cannot be started here, as `tests/setup/install.sh` left word.
#[derive(Debug, Clone)]
pub struct Missing(pub(crate) String);

/// Whether a test has to skip, because `need` cannot be met; says so by the test's name, past
/// the harness's capture, so that a run which skipped cannot look like one that did not.
///
/// ```text
/// if skip_without(Kafka::installed()) { return }
/// ```
///
/// # Panics
/// Instead of skipping, when `TALLY_SKIP_NOTHING` is set: for a CI that has everything.
pub fn skip_without(need: Result<(), Missing>) -> bool {
    let Err(Missing(why)) = need else { return false };
    let current = thread::current();
    let test = current.name().unwrap_or("a test");
    assert!(
        env::var_os("TALLY_SKIP_NOTHING").is_none(),
        "TALLY_SKIP_NOTHING is set, but {test} lacks its server: {why}"
    );
    // Not a macro: those are captured, and shown for failed tests only.
    _ = writeln!(io::stderr(), "skipped: {test} ({why})");
    true
}

/// Whether `.cache/<name>` holds its jars.
///
/// # Panics
/// When nobody has run the set-up: falling back in silence would test less than it seems.
pub(crate) fn installed(name: &str) -> Result<(), Missing> {
    let home = cache().join(name);
    if home.join("libs").is_dir() {
        return Ok(());
    }
    match fs::read_to_string(home.join("unavailable")) {
        Ok(why) => Err(Missing(why.trim().to_owned())),
        Err(_) => panic!("{name} is not installed: run tests/setup/install.sh (or make test)"),
    }
}
