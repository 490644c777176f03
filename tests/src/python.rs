//! Scripts of `tests/python`, run by the interpreter of `.cache/venv`: independent clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::place::{TempFolder, cache, repository};
use crate::process::{Ended, Process};

/// A script that takes longer hangs.
const RUN: Duration = Duration::from_secs(120);

/// The venv's interpreter.
///
/// # Panics
/// When the set-up has not been run.
pub fn interpreter() -> PathBuf {
    let python = cache().join("venv/bin/python");
    assert!(
        python.exists(),
        "the Python clients are not installed: run tests/setup/install.sh (or make test)"
    );
    python
}

/// Runs `tests/python/<script>` with these arguments and this text in a file whose path is added
/// as the last one, unless the text is empty.
///
/// # Panics
/// When it ends with another code than 0, or not within two minutes; with the end of its output.
pub fn run(script: &str, arguments: &[&str], input: &str) -> Ended {
    let folder = TempFolder::new("python");
    let mut command = Command::new(interpreter());
    command
        .arg(repository().join("tests/python").join(script))
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1,localhost");
    if !input.is_empty() {
        let path = folder.path().join("input");
        fs::write(&path, input).expect("the input of a script can be written");
        command.arg(path);
    }
    Process::spawn(script, command, folder.path()).expect_success(RUN)
}

/// Runs schemathesis, which knows nothing but the document of that path, against the service at that address: no 5xx, and no
/// status, media type, header or shape that the document does not have. Returns what it said.
///
/// # Panics
/// When it found something; with what.
pub fn schemathesis(url: &str, document: &Path, token: &str) -> String {
    let document = document.to_str().expect("paths in tests are text");
    run("explore_api.py", &[document, token, ".", url], "").stdout
}

/// Where a record went, by the broker's word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delivered {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The record's field `event_id`, if it has one.
    pub event_id: Option<String>,
}

/// What `produce.py` is to do.
#[derive(Debug, Clone, Copy)]
pub struct Produce<'a> {
    /// `host:port` of the broker.
    pub bootstrap: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The path of the Avro schema.
    pub schema: &'a std::path::Path,
    /// `single-object`, or `confluent:ID` with a schema's id in the registry.
    pub framing: &'a str,
    /// Further arguments, such as `["--key", "wallet_id"]`; see `produce.py --help`.
    pub more: &'a [&'a str],
}

/// Encodes and produces the records with fastavro and confluent-kafka.
///
/// # Panics
/// When the script fails or prints something else than deliveries.
pub fn produce(what: Produce<'_>, records: &[Value]) -> Vec<Delivered> {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    let schema = what.schema.to_str().expect("paths in tests are text");
    let mut arguments = what.more.to_vec();
    arguments.extend([what.bootstrap, what.topic, schema, what.framing]);
    let ended = run("produce.py", &arguments, &lines);
    ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("produce.py prints a delivery per line"))
        .collect()
}
