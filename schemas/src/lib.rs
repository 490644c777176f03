//! The contracts of Tally, and the pure functions that hold bytes against them.
//!
//! The route through this crate: [`split`] names the schema that wrote a message, a [`Writer`] walks its body
//! alone and decodes many into Arrow columns, the rules are held against the columns, and each accepted row gets
//! its content digest. [`Reader::read`] is all of it: every message ends as one row or one [`Fault`].
//!
//! Nothing here knows of Kafka, ClickHouse, HTTP, clocks or the environment. Start at `read.rs`.

mod check_event;
mod columns;
mod compat;
mod contract;
mod decode;
mod digest;
mod encode;
#[cfg(test)]
mod examples;
mod explain;
mod framing;
mod policy;
mod read;
mod reason;
mod rules;
mod validate;
mod walk;
mod writer;

pub use check_event::{Checker, check_event};
pub use columns::{Column, Kind, Rows, arrow_schema, columns};
pub use compat::{Comparison, Direction, Incompatibility, Notice, check, check_alone};
pub use contract::{
    Contract, NotAvro, Topic, contracts, fingerprint, latest, parse_schema, record_name, versions,
};
pub use decode::Writers;
pub use digest::{Sha256Digest, content_digests, content_text, sha256};
pub use encode::{Encoder, FieldError, frame_confluent, frame_single_object};
pub use explain::{Explained, Stopped, explain};
pub use framing::{WriterId, split};
pub use policy::{PolicyTag, policy_tags};
pub use read::{Messages, Read, Reader};
pub use reason::{Fault, Reason};
pub use rules::{AHEAD_MICROS_MAX, MICROS_MAX, OCCURRED_AT_MAX, OCCURRED_AT_MIN, TEXT_BYTES_MAX, TIME_MIN};
pub use writer::{BATCH_ROWS_MAX, Writer, local_writers};
