//! What a role may see and do: one table for events and one for routes, both total functions.
//!
//! Nothing else in the service decides about rights. `dashboards/RIGHTS.md` is made from here, and a test holds the two together.

mod class;
mod document;
mod event;
mod mask;
mod page;
mod route;
#[cfg(test)]
mod tests;

pub use class::EventClass;
pub use document::document;
pub use event::{Ids, Relation, Sight, may_act, sight};
pub use mask::kept_fields;
pub use page::{Page, panel_scope};
pub use route::{Access, Route, access};
