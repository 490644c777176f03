//! From a line of JSON to a message: encoded, framed, keyed, and held against the rules of its contract.

use super::RecordTime;
use anyhow::Context;
use serde::Serialize;
use serde_json::Value as Json;
use std::cell::RefCell;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::time::{SystemTime, UNIX_EPOCH};
use tally_schemas::{Checker, Contract, Encoder, FieldError, WriterId, frame_confluent, frame_single_object};

/// Longest line that is read; Kafka's own default bound of a message is 1 MB.
const LINE_BYTES_MAX: u64 = 4 << 20;

/// A line that is no event of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refused {
    /// Counted from 1.
    pub(super) line: u64,
    /// The field; empty where the line itself is to blame.
    pub(super) field: String,
    /// What was found and what was expected.
    pub(super) problem: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { line, field, problem } = self;
        let colon = if field.is_empty() { "" } else { ": " };
        write!(f, "line {line}: {field}{colon}{problem}")
    }
}

/// Which schema id stands in front of an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Frame {
    /// The contract's fingerprint.
    SingleObject,
    /// The registry's id.
    Confluent(u32),
}

/// An event ready to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) line: u64,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// The record's timestamp in milliseconds; `None` is the time of sending.
    pub(super) record_at_ms: Option<i64>,
}

/// Makes events of one contract.
pub(super) struct Preparer {
    encoder: Encoder<'static>,
    frame: Frame,
    record_time: RecordTime,
    checker: RefCell<Checker>,
}

impl Preparer {
    pub(super) fn new(
        contract: &'static Contract,
        frame: Frame,
        value_bytes_max: usize,
        record_time: RecordTime,
    ) -> anyhow::Result<Preparer> {
        let encoder = Encoder::new(contract).context("planning the contract's fields")?;
        let mut checker = Checker::new(contract.topic, value_bytes_max);
        if let Frame::Confluent(id) = frame {
            checker.know(contract.topic, WriterId::Confluent(id), &contract.json);
        }
        Ok(Preparer { encoder, frame, record_time, checker: RefCell::new(checker) })
    }

    pub(super) fn contract(&self) -> &'static Contract {
        self.encoder.contract()
    }

    /// The event of a line; `None` for a blank one.
    pub(super) fn prepare(&self, line: u64, text: &[u8]) -> Result<Option<Prepared>, Refused> {
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let refuse = |FieldError { path, problem }| Refused { line, field: path, problem };
        let event: Json = serde_json::from_slice(text).map_err(|e| not_json(line, &e))?;
        let body = self.encoder.encode(&event).map_err(refuse)?;
        let contract = self.contract();
        let value = match self.frame {
            Frame::SingleObject => frame_single_object(contract, &body),
            Frame::Confluent(id) => frame_confluent(id, &body),
        };
        let now_ms = now_ms();
        let record_at_ms = match self.record_time {
            RecordTime::Now => None,
            RecordTime::OccurredAt => {
                let occurred_at = self.encoder.micros(&event, "occurred_at").map_err(refuse)?;
                Some(occurred_at.div_euclid(1_000).min(now_ms))
            }
        };
        self.hold_against_rules(&value, record_at_ms.unwrap_or(now_ms)).map_err(refuse)?;
        let key_field = contract.topic.key_field();
        match event.get(key_field).and_then(Json::as_str) {
            Some(key) if !key.is_empty() => {
                Ok(Some(Prepared { line, key: key.to_owned(), value, record_at_ms }))
            }
            _ => {
                let problem = "absent or empty; it is the Kafka key".to_owned();
                Err(Refused { line, field: key_field.to_owned(), problem })
            }
        }
    }

    /// What the contract's rules have against an event that encodes: what the route would say of it in a record of
    /// that time, milliseconds.
    fn hold_against_rules(&self, framed: &[u8], record_at_ms: i64) -> Result<(), FieldError> {
        let judged = self.checker.borrow_mut().check(framed, record_at_ms);
        judged.map_err(|fault| FieldError { path: fault.path, problem: fault.sentence })
    }
}

/// Milliseconds since 1970 UTC, by this machine's clock.
pub(super) fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    i64::try_from(now).unwrap_or(i64::MAX)
}

fn not_json(line: u64, error: &serde_json::Error) -> Refused {
    let problem = format!("not one JSON value: stopped at column {}", error.column());
    Refused { line, field: String::new(), problem }
}

/// The lines of a stream, numbered, none longer than a bound.
pub(super) struct Lines {
    reader: Box<dyn BufRead>,
    number: u64,
    line: Vec<u8>,
}

impl Lines {
    pub(super) fn new(reader: Box<dyn BufRead>) -> Lines {
        Lines { reader, number: 0, line: Vec::new() }
    }

    /// The next line, or why it cannot be an event.
    #[expect(clippy::type_complexity, reason = "a line may end the stream, fail, or be refused")]
    pub(super) fn next(&mut self) -> io::Result<Option<(u64, Result<&[u8], Refused>)>> {
        if !self.read()? {
            return Ok(None);
        }
        self.number += 1;
        if (self.line.len() as u64) <= LINE_BYTES_MAX {
            return Ok(Some((self.number, Ok(&self.line))));
        }
        while !self.line.ends_with(b"\n") && self.read()? {}
        let problem = format!("longer than {LINE_BYTES_MAX} bytes");
        Ok(Some((self.number, Err(Refused { line: self.number, field: String::new(), problem }))))
    }

    /// Reads up to the next line's end or one byte past the bound; false at the end of the stream.
    fn read(&mut self) -> io::Result<bool> {
        self.line.clear();
        Ok(self.reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut self.line)? > 0)
    }
}
