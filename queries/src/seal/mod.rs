//! Seals: what was stored is hashed into trees, signed, verified, and proven to others.
//!
//! | module | holds |
//! | --- | --- |
//! | `leaf` | which rows are leaves, and in which bytes |
//! | `tree`, `log` | a Merkle tree in tiles; the directory or object store they lie in |
//! | `checkpoint`, `keys` | one signature over all partitions' trees |
//! | `rows`, `history` | what is read from and written to ClickHouse |
//! | `sealer` | extends the trees and signs |
//! | `verify` | the table of what is found how, and which exit code it is |
//! | `check`, `diff`, `facts` | one partition; which rows differ; facts against their receipts |
//! | `orphans`, `numbered` | a fact or a receipt alone; the checkpoints before the newest |
//! | `witness` | the ledger against whoever still has the bytes |
//! | `proof` | inclusion and consistency |
//! | `inclusion` | where a single row stands in the signed trees, and whether it does |
//! | `prove` | proof files, and checking them with nothing but the public key |
//! | `report` | findings and exit codes |
//! | `cores` | work beside other work |

mod check;
mod checkpoint;
mod cores;
mod diff;
mod error;
mod facts;
#[cfg(test)]
mod fuzz_tests;
mod history;
mod inclusion;
mod keys;
mod leaf;
mod log;
mod numbered;
mod orphans;
mod proof;
mod prove;
mod report;
mod rows;
mod sealer;
mod tree;
mod verify;
mod witness;

pub use checkpoint::{Checkpoint, Head, Lane};
pub use error::SealError;
pub(crate) use history::newest_heads;
pub use inclusion::{Held, Holding, Place, hold};
pub use keys::{Keys, Signers, generate_key};
pub use leaf::Kind;
pub use log::Log;
pub use prove::{Proof, Proven, check_proof, prove};
pub use report::{Class, Finding, Report};
pub use sealer::{LaneSealed, Sealed, Stop, seal};
pub use tree::Hash;
pub use verify::{Request, Scope, verify};
pub use witness::{Bytes, Witness, WitnessError, Witnessed};
