//! What people see: the axum service over the store.
//!
//! `identity` turns a token into a principal, `rights` says what a role may see of what, and everything else asks these two.

pub mod api;
mod bad_tokens;
pub mod feed;
pub mod grafana;
pub mod identity;
mod letters;
mod pages;
pub mod panel;
pub mod problem;
mod rates;
mod request;
pub mod rights;
pub mod serve;

pub use letters::{Judged, Letters, LettersError, Record};
pub use rates::Rates;

/// An error and what caused it, in one line for a log.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
