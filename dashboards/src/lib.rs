//! What people see: the axum service over the store.
//!
//! So far one page with live counts; it reads what [`tally_queries`] asks of the ledger and writes nothing.

mod page;

pub use page::{ServeError, serve};
