//! The store as DataFusion sees it: tables with plain columns, a fixed upper bound, and two places to read them from.
//!
//! ```text
//! Snapshot ─▶ Table (columns, bound) ─▶ ClickHouseTable ─▶ scan: one query a partition, ArrowStream over HTTP
//!                                    └▶ Parquet files that `tally audit export` wrote, with the snapshot beside them
//! ```
//! The same tables, by name and column, whichever is read; so every job is one SQL text.

mod clickhouse;
mod export;
mod filter;
mod parquet;
mod reach;
mod resume;
mod scan;
mod snapshot;
mod table;

pub use clickhouse::register as register_clickhouse;
pub use export::{Exported, export};
pub(crate) use filter::{Constant, Constants};
pub use parquet::{ParquetError, Place, open as open_parquet, register as register_parquet};
pub use reach::Reach;
pub use scan::ScanCodec;
pub(crate) use scan::{ClickHouseScan, answer};
pub use snapshot::{Beyond, Head, Snapshot};
pub(crate) use table::BUCKETS;
pub use table::{Column, Table, tables};
