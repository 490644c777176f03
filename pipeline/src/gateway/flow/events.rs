//! From a move of a flow to its events. They are written down in one commit with it.

use super::life::Flow;
use super::machine::{By, Tell};
use crate::gateway::event::{self, Actor, EventError, word};
use crate::gateway::store::Kept;
use serde_json::{Map, Value as Json};
use tally_schemas::Topic;

/// The event of a part of a move.
///
/// # Errors
/// Where it is not what its contract says: a bug of ours.
pub(super) fn encode(flow: &Flow, tell: &Tell, now_us: i64) -> Result<Kept, EventError> {
    let caller = Actor { id: &flow.caller, role: &flow.role, trace_id: flow.trace_id.as_deref() };
    let at = |topic: Topic, mut fields: Map<String, Json>, kind: Json| {
        fields.insert("kind".to_owned(), kind);
        fields.insert("occurred_at".to_owned(), now_us.into());
        event::encode(topic, fields)
    };
    match tell {
        Tell::Credit { kind, amount_micros, queue, estimate_id } => {
            let mut fields = event::about(&flow.about, caller, Topic::Credit);
            fields.insert("amount_micros".to_owned(), (*amount_micros).into());
            fields.insert("queue".to_owned(), word(queue));
            fields.insert("estimate_id".to_owned(), estimate_id.clone().into());
            at(Topic::Credit, fields, (*kind).into())
        }
        Tell::Task { about, taken } => {
            let mut fields = event::about(about, caller, Topic::Task);
            fields.insert("state_version".to_owned(), taken.state_version.into());
            fields.insert("queue".to_owned(), word(taken.queue));
            at(Topic::Task, fields, word(taken.step))
        }
        Tell::Case { kind, by: who, risk_level, decision, due_us } => {
            let mut fields = event::about(&flow.about, by(flow, who), Topic::Moderation);
            fields.insert("risk_level".to_owned(), word(risk_level));
            fields.insert("decision".to_owned(), decision.map_or(Json::Null, word));
            fields.insert("sla_due_at".to_owned(), (*due_us).into());
            at(Topic::Moderation, fields, (*kind).into())
        }
        Tell::Revoked { by: who } => {
            let fields = event::about(&flow.about, by(flow, who), Topic::License);
            at(Topic::License, fields, "REVOKED".into())
        }
    }
}

fn by<'a>(flow: &'a Flow, who: &'a By) -> Actor<'a> {
    Actor { id: &who.id, role: who.role, trace_id: flow.trace_id.as_deref() }
}
