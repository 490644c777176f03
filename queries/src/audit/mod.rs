//! The audit: jobs over the store's rows, and what they say.

pub mod result;
