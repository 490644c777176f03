//! The route from Kafka to ClickHouse.
//!
//! A [`source`] fetches by batch into each partition's [`inbox`]; its [`lane`] takes a [`slab`] of records, has them
//! [`judge`]d against the [`writers`]' schemas, writes facts and dead letters, attests every offset in the ledger, and
//! only then commits. [`ingest`] runs the lanes of one process. One rule above all: every offset ends as exactly one
//! row or exactly one dead letter, durably, before it is committed.
//!
//! Start at `lane.rs`; `ARCHITECTURE.md` beside this crate's manifest has the map and a walk through one message.

mod catch_up;
pub mod client;
mod clock;
pub mod config;
pub mod dead;
#[cfg(test)]
mod documents;
pub mod event_tail;
mod fault;
pub mod gateway;
mod inbox;
pub mod ingest;
mod judge;
mod lane;
mod look;
mod metrics;
pub mod ops;
pub mod registry;
pub mod replay;
pub mod simulate;
pub mod simulator;
mod slab;
mod source;
pub mod truth_file;
mod write;
mod writers;

pub use catch_up::{CatchUpError, Goal};
pub use judge::{REPLAY_ATTEMPT, REPLAY_FIRST, REPLAY_ID};
pub use metrics::Metrics;
pub use source::{Digests, DigestsError, IdentityError, Partition, Source, SourceError};
pub use truth_file::{FeedSubscriber, TruthFile};
