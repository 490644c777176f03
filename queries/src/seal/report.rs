//! What a verification found, and which exit code that is.

use super::witness::Witnessed;
use super::{Lane, SealError};
use serde::Serialize;
use uuid::Uuid;

/// How bad a finding is, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Rows, log or signature are not what was sealed: exit code 1.
    Tampered,
    /// Something could not be looked at: exit code 3.
    Unchecked,
    /// Not everything is sealed, or not lately, or there was nothing: exit code 2.
    Incomplete,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad.
    pub class: Class,
    /// The table it is about; empty for the log itself.
    pub table: String,
    /// `topic/partition/offset`, as far as known.
    pub at: String,
    /// The event, where known.
    pub event_id: Option<Uuid>,
    /// What is wrong.
    pub what: String,
}

/// Findings that are kept; more are counted.
const KEPT_MAX: usize = 100;

/// What a verification found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The checkpoint that the rows were held against, as its signed note; empty if there is none.
    pub checkpoint: String,
    /// Names and ids of the known keys that signed it.
    pub signers: Vec<String>,
    /// Leaves that were computed again and stand in a signed tree.
    pub leaves: u64,
    /// Facts whose content was digested again.
    pub facts: u64,
    /// Rows beyond the checkpoint.
    pub unsealed: u64,
    /// What was held against the bytes in Kafka, where that was asked for.
    pub kafka: Option<Witnessed>,
    /// The first findings, worst first.
    pub findings: Vec<Finding>,
    /// Findings that are not listed.
    pub more: u64,
    worst: Option<Class>,
}

impl Finding {
    /// A finding about a table or view as a whole.
    pub fn of_table(class: Class, table: &str, what: impl Into<String>) -> Finding {
        Finding { table: table.to_owned(), ..Finding::log(class, what) }
    }

    /// A finding about the log, or about all there is.
    pub fn log(class: Class, what: impl Into<String>) -> Finding {
        Finding { class, table: String::new(), at: String::new(), event_id: None, what: what.into() }
    }

    pub(super) fn lane(class: Class, lane: &Lane, what: impl Into<String>) -> Finding {
        Finding { at: lane.to_string(), ..Finding::log(class, what) }
    }

    pub(super) fn row(table: &str, at: String, event_id: Uuid, what: &str) -> Finding {
        let event_id = (!event_id.is_nil()).then_some(event_id);
        Finding { class: Class::Tampered, table: table.to_owned(), at, event_id, what: what.to_owned() }
    }
}

impl From<SealError> for Finding {
    fn from(error: SealError) -> Finding {
        let class = match error {
            SealError::Altered(_) => Class::Tampered,
            SealError::Query(_)
            | SealError::Store { .. }
            | SealError::Missing(_)
            | SealError::Map(_)
            | SealError::UnknownKey(_)
            | SealError::Key(_)
            | SealError::Malformed(_)
            | SealError::Witness(_)
            | SealError::Contended(_) => Class::Unchecked,
        };
        let mut what = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(error) = source {
            what.push_str(": ");
            what.push_str(&error.to_string());
            source = error.source();
        }
        Finding::log(class, what)
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let class = match self.class {
            Class::Tampered => "tampered",
            Class::Unchecked => "could not check",
            Class::Incomplete => "incomplete",
        };
        write!(f, "{class}:")?;
        for part in [&self.table, &self.at].into_iter().filter(|part| !part.is_empty()) {
            write!(f, " {part}")?;
        }
        if let Some(event_id) = self.event_id {
            write!(f, " event {event_id}")?;
        }
        write!(f, " {}", self.what)
    }
}

impl Report {
    /// Adds what was found, here or by whoever knows more than the seals do.
    pub fn add(&mut self, finding: Finding) {
        self.worst = Some(self.worst.map_or(finding.class, |worst| worst.min(finding.class)));
        if self.findings.len() < KEPT_MAX {
            self.findings.push(finding);
            self.findings.sort_by_key(|finding| finding.class); // stable: what was found first stays first
        } else {
            self.more += 1;
        }
    }

    pub(super) fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// 0 verified, 1 tampered, 2 incomplete or stale, 3 could not check. Never 0 where nothing was checked.
    pub fn exit_code(&self) -> u8 {
        match self.worst {
            Some(Class::Tampered) => 1,
            Some(Class::Unchecked) => 3,
            Some(Class::Incomplete) => 2,
            None if self.leaves == 0 => 2,
            None => 0,
        }
    }
}
