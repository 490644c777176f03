//! Flows: several calls that belong together, with what takes them back when one of them fails.
//!
//! ```text
//! POST /flows/{kind} ─▶ machine (pure: state + what happened ─▶ next state, events) ─▶ store: row and events, one commit
//!                          ▲                                                             │ due
//!                          └──────── what was heard ◀── acts (under the step's key) ◀── runner
//! ```
//! A flow is a row: a state, and when something is to be done. Between two states there is nothing but the row, so a process may
//! die anywhere: the next one does the act again under its key, and the platform does it once. An act of which nobody knows what
//! became is tried again for ever; one that is refused leads on, and what is owed is paid back however long it takes. Read
//! `life.rs`, then `compute.rs`.

mod acceleration;
mod acts;
mod attempt;
mod compute;
mod document;
mod events;
mod fallen;
mod kind;
mod life;
mod machine;
mod moderation;
mod record;
mod requests;
mod routes;
mod runner;
mod share;
mod texts;
mod view;

pub(super) use acts::CALLER;
pub(super) use document::describe;
pub use machine::Amounts;
pub use moderation::{Decision, ReporterRole, RiskLevel};
pub use requests::{
    AccelerationStart, ComputeStart, Decide, GiveBack, ModerationStart, Nothing, Review, Settle,
};
pub(super) use routes::routes;
pub(super) use runner::{Flows, run};
pub use texts::Shown;
pub use view::{FlowView, PromptView, StateView, TasksView};

#[cfg(test)]
mod tests;
