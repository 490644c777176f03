//! Every job over stores written by hand, against figures computed by hand from the definitions of the metrics.

mod accuracy;
mod completeness;
mod elsewhere;
mod history;
pub(super) mod ledger;
mod money;
mod offsets;
mod pooled;
mod repurchase;
mod service;
mod stability;
mod watch;
