//! Seals: what was stored is hashed into trees, signed, verified, and proven to others.
//!
//! | module | holds |
//! | --- | --- |
//! | `leaf` | which rows are leaves, and in which bytes |
//! | `tree`, `log` | a Merkle tree in tiles; the directory or object store they lie in |
//! | `checkpoint`, `keys` | one signature over all partitions' trees |
//! | `rows`, `history` | what is read from and written to ClickHouse |
//! | `sealer` | extends the trees and signs |

mod checkpoint;
mod error;
mod history;
mod keys;
mod leaf;
mod log;
mod rows;
mod sealer;
mod tree;

pub use checkpoint::{Checkpoint, Head, Lane};
pub use error::SealError;
pub use keys::{Keys, Signers, generate_key};
pub use leaf::Kind;
pub use log::Log;
pub use sealer::{LaneSealed, Sealed, Stop, seal};
pub use tree::Hash;
