//! The clock of a process, which a test may set while it runs: libfaketime, where it is installed. What counts durations
//! (`CLOCK_MONOTONIC`) goes on as it does everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::need::Missing;

/// A clock that processes were started with.
#[derive(Debug)]
pub struct Clock {
    library: String,
    file: PathBuf,
}

impl Clock {
    /// Whether there is a library for it; for [`crate::skip_without`].
    ///
    /// # Errors
    /// Says what is missing.
    pub fn installed() -> Result<(), Missing> {
        library().map(|_| ())
    }

    /// One that is right, and keeps its file in that folder; `None` where there is no library for it.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn new(folder: &Path) -> Option<Clock> {
        let clock = Clock { library: library().ok()?, file: folder.join("clock") };
        clock.set(0);
        Some(clock)
    }

    /// From now on (a second later at most) it is that many seconds fast, or slow.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, seconds: i64) {
        // as a whole: who reads meanwhile must not see half of it
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{seconds:+}\n")).expect("the clock can be written");
        fs::rename(&next, &self.file).expect("the clock can be set");
    }

    /// What a process is started with to go by it.
    pub fn variables(&self) -> [(&str, &str); 5] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().expect("paths in tests are text")),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DISABLE_SHM", "1"),
        ]
    }
}

/// As its own command loads it.
fn library() -> Result<String, Missing> {
    let shown = Command::new("faketime").args(["-f", "+0", "sh", "-c", "printf %s \"$LD_PRELOAD\""]).output();
    match shown {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        _ => Err(Missing("faketime is not installed: run tests/setup/install.sh (or make test)".to_owned())),
    }
}
