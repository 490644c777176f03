//! The committed examples of `schemas/examples`, and what ClickHouse must say of them: written without
//! Tally's own reader.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};
use tally_schemas::Topic;

use crate::place::repository;

/// An event that can be encoded and still breaks a rule.
#[derive(Debug, Clone, Deserialize)]
pub struct Invalid {
    /// The event.
    pub event: Value,
    /// Why it is refused.
    pub reason: String,
    /// The field.
    pub path: String,
}

/// The valid examples of a contract.
pub fn valid(contract: Topic) -> Vec<Value> {
    read(contract, "valid")
}

/// The invalid examples of a contract.
pub fn invalid(contract: Topic) -> Vec<Invalid> {
    read(contract, "invalid")
}

/// The path of a version's schema.
pub fn schema(contract: Topic, version: u32) -> PathBuf {
    repository().join(format!("schemas/avro/{}.v{version}.avsc", contract.name()))
}

/// The newest version of a contract.
pub fn newest(contract: Topic) -> u32 {
    (1..)
        .take_while(|version| schema(contract, *version).exists())
        .last()
        .expect("every contract has version 1")
}

/// `number` events like the first valid one of a contract, each with an id of its own; `field` tells them
/// apart in words too.
pub fn many(contract: Topic, number: usize) -> Vec<Value> {
    let first = valid(contract).into_iter().next().expect("every contract has an example");
    let one = |number| {
        let mut event = first.clone();
        event["event_id"] = id(number).into();
        event["trace_id"] = format!("trace-{number}").into();
        event
    };
    (0..number).map(one).collect()
}

/// A UUID of version 7 with this number in it.
pub fn id(number: usize) -> String {
    format!("01955b49-9638-7000-8000-{number:012x}")
}

fn read<T: serde::de::DeserializeOwned>(contract: Topic, folder: &str) -> Vec<T> {
    let folder = repository().join("schemas/examples").join(contract.name()).join(folder);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("a folder can be listed").path()).collect();
    paths.sort();
    let parse = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("an example can be read");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    paths.iter().map(parse).collect()
}

/// Holds a row, as ClickHouse gives it in JSONEachRow, against the event: every column of the contract, the
/// absent ones included.
///
/// # Panics
/// At the first column that differs.
pub fn assert_row(row: &Map<String, Value>, event: &Value, contract: Topic) {
    let text = fs::read_to_string(schema(contract, newest(contract))).expect("a contract can be read");
    let contract: Value = serde_json::from_str(&text).expect("a contract is JSON");
    for field in contract["fields"].as_array().expect("a record has fields") {
        let name = field["name"].as_str().expect("a field has a name");
        let found = row.get(name).unwrap_or_else(|| panic!("no column {name}"));
        let expected = expected(field, event.get(name));
        assert_eq!(*found, expected, "{name} of {}", event["event_id"]);
    }
}

/// What the column holds: an absent text or symbol is empty, an absent number, time or truth value is null.
fn expected(field: &Value, value: Option<&Value>) -> Value {
    let value = value.filter(|value| !value.is_null()).or_else(|| field.get("default"));
    let kind = match &field["type"] {
        Value::Array(branches) => {
            branches.iter().find(|branch| *branch != "null").expect("a union has a type")
        }
        plain => plain,
    };
    let is_time = kind["logicalType"] == "timestamp-micros";
    match value {
        Some(Value::String(time)) if is_time => clickhouse_time(time).into(),
        None | Some(Value::Null) if *kind == "string" || kind["type"] == "enum" => "".into(),
        None => Value::Null,
        Some(value) => value.clone(),
    }
}

/// `2025-03-03T09:15:04.120Z` as a DateTime64(6) prints.
fn clickhouse_time(time: &str) -> String {
    let (seconds, fraction) =
        time.trim_end_matches('Z').split_once('.').unwrap_or((time.trim_end_matches('Z'), ""));
    format!("{}.{fraction:0<6}", seconds.replace('T', " "))
}
