//! A flow and its row. The row's columns are what is searched for; the rest is the flow itself, JSON.

use super::life::Flow;
use crate::gateway::store::FlowRow;

/// The row of a flow.
pub(super) fn row(flow: &Flow, now_us: i64) -> FlowRow {
    FlowRow {
        id: flow.id.clone(),
        kind: flow.kind().name().to_owned(),
        caller: flow.caller.clone(),
        state: flow.state().to_owned(),
        version: flow.version,
        data: serde_json::to_vec(flow).unwrap_or_default(), // texts and numbers: nothing there can fail
        due_us: flow.due_us,
        updated_us: now_us,
        busy_us: flow.busy_us,
        ended_us: flow.has_ended().then_some(now_us),
    }
}

/// The flow of a row; `None` where only another version of this program can have written it.
pub(super) fn read(row: &FlowRow) -> Option<Flow> {
    match serde_json::from_slice::<Flow>(&row.data) {
        Ok(mut flow) => {
            flow.version = row.version; // whoever could not read it has counted on there
            Some(flow)
        }
        Err(error) => {
            tracing::error!(id = row.id, kind = row.kind, %error, "a flow in the store cannot be read; it is left alone");
            None
        }
    }
}
