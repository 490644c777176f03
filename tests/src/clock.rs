//! The time of day of a process, which a test may set while it runs. What counts durations (`CLOCK_MONOTONIC`) goes on as it does
//! everywhere. A library of a few functions (`clock.c`) is loaded before the C library's: libfaketime does not know the conditions of
//! C11 by which librdkafka's threads wait, and a process under it stands still.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::place::TempFolder;

/// A clock that processes were started with.
#[derive(Debug)]
pub struct Clock {
    path: PathBuf,
    file: File,
}

impl Clock {
    /// One that is right, and keeps its file in that folder.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn new(folder: &Path) -> Clock {
        let path = folder.join("clock");
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
        let clock = Clock { path, file: file.expect("the clock's file can be written") };
        clock.set(0);
        clock
    }

    /// From now on it is that many seconds fast, or slow.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the clock can be set");
    }

    /// What a process is started with to go by it.
    pub fn variables(&self) -> [(&str, &str); 2] {
        let text = |path: &'static Path| path.to_str().expect("paths in tests are text");
        let path = self.path.to_str().expect("paths in tests are text");
        [("LD_PRELOAD", text(&LIBRARY.1)), ("TALLY_TEST_CLOCK", path)]
    }
}

/// The library, made once a test process, and the folder that holds it.
static LIBRARY: LazyLock<(TempFolder, PathBuf)> = LazyLock::new(|| {
    let folder = TempFolder::new("clock");
    let (source, library) = (folder.path().join("clock.c"), folder.path().join("clock.so"));
    std::fs::write(&source, include_str!("clock.c")).expect("a source can be written");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output();
    let made = made.expect("a C compiler: run tests/setup/install.sh (or make test)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (folder, library)
});
