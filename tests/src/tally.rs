//! The binary under test, as a user runs it.

use std::env;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::place::{TempFolder, repository};
use crate::process::Process;

/// A running `tally`. Its process's methods are its own; dropped, it is killed.
#[derive(Debug)]
pub struct Tally {
    process: Process,
    // After the process, so that it is deleted after the kill.
    folder: TempFolder,
}

impl Tally {
    /// The binary: `TALLY_BIN`, or the one of the profile that the tests were built with, brought
    /// up to date first (once per test process; nothing to do takes a fraction of a second).
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn binary() -> &'static Path {
        static BINARY: LazyLock<PathBuf> = LazyLock::new(|| match env::var_os("TALLY_BIN") {
            Some(path) => PathBuf::from(path),
            None => build("tally", &[]),
        });
        &BINARY
    }

    /// The same with crash points: see `sinks/src/fault.rs`.
    ///
    /// # Panics
    /// When it cannot be built.
    pub fn binary_with_faults() -> &'static Path {
        static BINARY: LazyLock<PathBuf> = LazyLock::new(|| build("tally-faults", &["--features", "faults"]));
        &BINARY
    }

    /// Starts `tally <arguments>` with these variables added to an environment from which every
    /// `TALLY_…` of the developer's shell is removed, in an empty working folder.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(arguments: &[&str], variables: &[(&str, &str)]) -> Tally {
        Tally::spawn_program(Tally::binary(), arguments, variables)
    }

    /// The same, of the binary with crash points.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn_with_faults(arguments: &[&str], variables: &[(&str, &str)]) -> Tally {
        Tally::spawn_program(Tally::binary_with_faults(), arguments, variables)
    }

    fn spawn_program(program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Tally {
        let folder = TempFolder::new("tally");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder.path());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("TALLY_") {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().copied());
        let process = Process::spawn("tally", command, folder.path());
        Tally { process, folder }
    }

    /// Its working folder, which holds its output too (`tally.out`, `tally.err`).
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Deref for Tally {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Tally {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Cargo names the binaries of its own package to a test, but not those of others: so the path is
/// derived from the test's, `<target>/<profile>/deps/integration-…`.
fn build(binary: &str, more: &[&str]) -> PathBuf {
    let profile = profile();
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let what = ["--quiet", "--package", "tally-pipeline", "--bin", binary, "--profile", name];
    let built = cargo("build").args(what).args(more).output().expect("cargo can be run");
    assert!(built.status.success(), "{binary} cannot be built\n{}", String::from_utf8_lossy(&built.stderr));
    profile.join(binary)
}

/// A command of Cargo's on this workspace, in the target folder of this test.
///
/// # Panics
/// When the test does not run from one.
pub fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What Cargo tells this test about its own package would make build scripts run again, here and then there.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_")) {
        if !["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_BUILD_JOBS"].iter().any(|kept| name == *kept) {
            cargo.env_remove(name);
        }
    }
    let profile = profile();
    let target = profile.parent().expect("a profile's folder lies in the target folder");
    cargo.args([command, "--target-dir"]).arg(target).current_dir(repository()).stdin(Stdio::null());
    cargo
}

/// The folder of this test's profile.
fn profile() -> PathBuf {
    let test = env::current_exe().expect("a process knows its executable");
    let profile = test.ancestors().find(|folder| folder.ends_with("deps")).and_then(Path::parent);
    profile.expect("tests run from target/<profile>/deps (else set TALLY_BIN)").to_owned()
}
