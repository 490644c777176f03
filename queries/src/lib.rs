//! What the audit asks of the store: named SQL, and what its answers mean.
//!
//! Each question is a `.sql` file with bound parameters and a module that says how its rows become an answer.

pub mod audit;
mod balance;
pub mod catalog;
mod dead;
pub mod feed;
mod insert;
mod live;
mod phrases;
pub mod private;
mod reconcile;
mod replays;
pub mod revocations;
pub mod seal;
pub mod service;
mod verifications;
pub mod visible;

pub use balance::{Balance, Bounds, Hole, QueryError, balance};
pub use dead::{ByReason, Letter, Wanted, dead_letters, dead_reasons, is_stored};
pub use live::{Live, LiveLetter, LiveReason, LiveTopic, live};
pub use phrases::{Book, record_in_chinese};
pub use reconcile::{Published, generations, reconcile};
pub use replays::{Earlier, PassedOver, REPLAY_S_MAX, Replay, ReplayState, earlier_replays, record_replays};
pub use verifications::{LastVerification, Verification, last_verification, record_verification};
