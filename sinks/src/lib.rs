//! Where rows come to rest: ClickHouse with its migrations, the dead-letter topic, and the embedded engine.
//!
//! [`Store`] is the connection. [`rows`] gives facts, receipts, dead letters and gaps their columns; [`Store::insert`]
//! sends them as one ArrowStream body under a token; [`Retry`] says what each error asks of the caller; [`bisect`]
//! finds the row that ClickHouse refuses; [`Head`] is one look at how far a partition has come. Nothing here knows who
//! calls.

mod bisect;
mod body;
mod dead_topic;
mod definitions;
pub mod embedded;
mod error;
pub mod fault;
mod heads;
mod insert;
mod migrate;
mod receipts;
pub mod rows;
mod standing;
mod store;
mod tls;

pub use bisect::{Insert, Refused, bisect};
pub use dead_topic::{DeadTopic, DeadTopicError};
pub use definitions::Difference;
pub use error::{Retry, StoreError};
pub use heads::Head;
pub use migrate::{MIGRATIONS, Migration, MigrationError};
pub use receipts::{Inherited, Receipts, Taken};
pub use standing::Standing;
pub use store::{Store, StoreConfig};
