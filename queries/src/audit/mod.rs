//! The audit: jobs over the store's rows, and what they say.
//!
//! ```text
//! Auditor (session, snapshot) ─▶ Job: figures.sql ─▶ Counters ─▶ judge ─▶ Judgement ─┐
//!                                     check.sql ───▶ the same, by another engine ────┼─▶ JobResult ─▶ history, reports
//!                                     offenders.sql ───────────────────────────────┘
//! ```
//! One module a job says what its SQL texts are and how its figures become a verdict; METRICS are the definition.

mod auditor;
mod check;
mod chinese;
mod cluster;
mod figures;
pub mod history;
mod job;
mod jobs;
mod limits;
mod passes;
pub mod progress;
pub mod report;
pub mod result;
mod settings;
pub mod statistics;
mod texts;

pub use auditor::{AuditError, Auditor, Source};
pub use chinese::in_chinese;
pub use cluster::{Working, work};
pub use jobs::{JobName, all as all_jobs};
pub use limits::{Limits, runtime};
pub use settings::Settings;
