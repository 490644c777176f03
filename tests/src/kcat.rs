//! kcat: raw bytes in, raw bytes out, through a client that is not ours.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

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
    produce_with(bootstrap, (topic, partition), key, &[], value);
}

/// The same with headers, each `name=value`. A value of no bytes is a null one, a tombstone.
///
/// # Panics
/// When kcat cannot be run or does not deliver.
pub fn produce_with(
    bootstrap: &str,
    (topic, partition): (&str, i32),
    key: Option<&str>,
    headers: &[&str],
    value: &[u8],
) {
    let folder = TempFolder::new("kcat");
    // From a file: kcat takes one whole as one record, while its standard input is lines to it.
    let path = folder.path().join("value");
    fs::write(&path, value).expect("the value can be written");
    let mut kcat = kcat(bootstrap);
    kcat.args(["-P", "-t", topic, "-p", &partition.to_string(), "-X", "acks=all"]);
    if let Some(key) = key {
        kcat.args(["-k", key]);
    }
    for header in headers {
        kcat.args(["-H", header]);
    }
    if value.is_empty() {
        // An empty file is no record to kcat, an empty line is one.
        fs::write(&path, "\n").expect("the value can be written");
        kcat.args(["-Z", "-l"]);
    }
    run(kcat.arg(path), "produce");
}

/// The headers of every record of the topic, by partition and offset. Values must be text.
///
/// # Panics
/// When kcat cannot be run or the topic cannot be read.
pub fn headers(bootstrap: &str, topic: &str) -> BTreeMap<(i64, i64), Vec<(String, String)>> {
    let mut kcat = kcat(bootstrap);
    kcat.args(["-C", "-t", topic, "-o", "beginning", "-e", "-J"]);
    let output = run(&mut kcat, "consume");
    // Payloads are bytes, which kcat puts into its JSON as they are.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let place = |record: &Value, name: &str| record[name].as_i64().expect("kcat prints numbers where asked");
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let flat: Vec<String> = serde_json::from_value(record["headers"].clone()).unwrap_or_default();
        let pairs = flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        all.insert((place(&record, "partition"), place(&record, "offset")), pairs);
    }
    all
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
