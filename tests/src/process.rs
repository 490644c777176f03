//! A child process: its output in files, its end bounded.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::guard;
use crate::wait::eventually;

/// How much of a log a failed test shows.
const SHOWN_BYTES_MAX: usize = 4_000;

/// How a process ended, with all it wrote.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

/// A running child process. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` in a process group of its own, its output appended to `<name>.out` and
    /// `<name>.err` in `logs`, its input empty.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn spawn(name: &str, mut command: Command, logs: &Path) -> Process {
        let stdout = logs.join(format!("{name}.out"));
        let stderr = logs.join(format!("{name}.err"));
        command.stdin(Stdio::null()).stdout(append(&stdout)).stderr(append(&stderr)).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| {
            panic!(
                "{name}: {:?} cannot be started ({error}): run tests/setup/install.sh",
                command.get_program()
            )
        });
        guard::watch(child.id());
        Process { name: name.to_owned(), child, stdout, stderr, ended: None }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.try_wait().is_none()
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours can be waited for");
            if self.ended.is_some() {
                guard::release(self.child.id());
            }
        }
        self.ended
    }

    /// `SIGKILL`, and waits for the end: afterwards its files and port are free.
    pub fn sigkill(&mut self) {
        if self.try_wait().is_none() {
            self.signal(Signal::KILL);
            eventually(Duration::from_secs(10), "the end of a killed process", || self.try_wait());
        }
    }

    /// `SIGTERM`; does not wait.
    pub fn sigterm(&mut self) {
        if self.try_wait().is_none() {
            self.signal(Signal::TERM);
        }
    }

    /// `SIGSTOP`: the process stands still, its connections stay open.
    pub fn pause(&mut self) {
        self.signal(Signal::STOP);
    }

    /// `SIGCONT`, after [`Process::pause`].
    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// How it ended, or `None` when it is still running after `timeout`.
    pub fn wait_with_timeout(&mut self, timeout: Duration) -> Option<ExitStatus> {
        let start = std::time::Instant::now();
        loop {
            let late = start.elapsed() >= timeout;
            if let Some(status) = self.try_wait() {
                return Some(status);
            }
            if late {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it did until its end.
    ///
    /// # Panics
    /// When it is still running after `timeout`; with the end of its logs.
    pub fn end_within(&mut self, timeout: Duration) -> Ended {
        let Some(status) = self.wait_with_timeout(timeout) else {
            panic!("{} is still running after {timeout:?}\n{}", self.name, self.log_tail())
        };
        Ended { status, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// What it did until its end, with exit code 0.
    ///
    /// # Panics
    /// When it ended otherwise or not within `timeout`; with the end of its logs.
    pub fn expect_success(&mut self, timeout: Duration) -> Ended {
        self.expect_code(0, timeout)
    }

    /// What it did until its end, with this exit code.
    ///
    /// # Panics
    /// When it ended otherwise or not within `timeout`; with the end of its logs.
    pub fn expect_code(&mut self, code: i32, timeout: Duration) -> Ended {
        let ended = self.end_within(timeout);
        assert!(
            ended.status.code() == Some(code),
            "{} ended with {:?} (signal {:?}) instead of {code}\n{}",
            self.name,
            ended.status.code(),
            ended.status.signal(),
            self.log_tail()
        );
        ended
    }

    /// What it has written to its standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.stdout)
    }

    /// What it has written to its standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.stderr)
    }

    /// The end of both logs, for the message of a failure.
    pub fn log_tail(&self) -> String {
        format!(
            "--- {name}, standard output\n{}\n--- {name}, standard error\n{}\n---",
            tail(&self.stdout()),
            tail(&self.stderr()),
            name = self.name
        )
    }

    /// Sends a signal to a child that has not been reaped, so that the id is still its.
    fn signal(&mut self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id fits");
        let pid = Pid::from_raw(id).expect("a process id is positive");
        // It may have ended just now, unreaped: such a signal goes nowhere and is no error.
        _ = kill_process(pid, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            _ = self.child.kill();
            guard::release(self.child.id());
            _ = self.child.wait();
        }
    }
}

fn append(path: &Path) -> File {
    File::options().create(true).append(true).open(path).expect("a log file can be opened in its folder")
}

/// Processes may write anything; a test that reads their output wants text all the same.
fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(SHOWN_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
