//! kcat: raw bytes in, raw bytes out, through a client that is not ours.

use std::fs;
use std::process::{Command, Output};

use crate::place::TempFolder;

/// A record as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key; `None` for a null one.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` for a null one (a tombstone).
    pub value: Option<Vec<u8>>,
}

/// Produces one record of exactly these bytes, line ends and all. A key must be text.
///
/// # Panics
/// When kcat cannot be run or does not deliver.
pub fn produce(bootstrap: &str, topic: &str, partition: i32, key: Option<&str>, value: &[u8]) {
    let folder = TempFolder::new("kcat");
    // From a file: kcat takes one whole as one record, while its standard input is lines to it.
    let path = folder.path().join("value");
    fs::write(&path, value).expect("the value can be written");
    let mut kcat = kcat(bootstrap);
    kcat.args(["-P", "-t", topic, "-p", &partition.to_string(), "-X", "acks=all"]);
    if let Some(key) = key {
        kcat.args(["-k", key]);
    }
    run(kcat.arg(path), "produce");
}

/// All records of the topic that were there when it was called, aborted ones included, by
/// partition and offset.
///
/// # Panics
/// When kcat cannot be run or the topic cannot be read.
pub fn consume(bootstrap: &str, topic: &str) -> Vec<Record> {
    let mut kcat = kcat(bootstrap);
    kcat.args(["-C", "-t", topic, "-o", "beginning", "-e", "-X", "isolation.level=read_uncommitted"]);
    let output = run(kcat.args(["-f", "%p %o %T %K %S %k%s"]), "consume");
    let mut rest = output.stdout.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        records.push(record(&mut rest));
    }
    records.sort_by_key(|record| (record.partition, record.offset));
    records
}

/// Reads one record off the front: five numbers, then key and value by their sizes.
fn record(rest: &mut &[u8]) -> Record {
    let partition = number(rest);
    let offset = number(rest);
    let timestamp_ms = number(rest);
    let key_size = number(rest);
    let value_size = number(rest);
    Record {
        partition: i32::try_from(partition).expect("a partition is a small number"),
        offset,
        timestamp_ms,
        key: bytes(rest, key_size),
        value: bytes(rest, value_size),
    }
}

fn number(rest: &mut &[u8]) -> i64 {
    let end = rest.iter().position(|byte| *byte == b' ').expect("kcat prints a blank after each number");
    let (digits, after) = rest.split_at(end);
    *rest = &after[1..];
    str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .expect("kcat prints numbers where asked")
}

/// kcat prints -1 for the size of null.
fn bytes(rest: &mut &[u8], size: i64) -> Option<Vec<u8>> {
    let (taken, after) = rest.split_at(usize::try_from(size).ok()?);
    *rest = after;
    Some(taken.to_vec())
}

fn kcat(bootstrap: &str) -> Command {
    let mut kcat = Command::new("kcat");
    kcat.args(["-q", "-b", bootstrap]);
    // Bounds its own waiting: an unreachable broker must not hang a test.
    kcat.args(["-m", "20", "-X", "message.timeout.ms=20000"]);
    kcat
}

fn run(kcat: &mut Command, what: &str) -> Output {
    let output = kcat.output().expect("kcat can be run (tests/setup/install.sh installs it)");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat did not {what}: {}\n{complaint}", output.status);
    output
}
