//! A flow as its caller sees it.

use super::life::Flow;
use super::machine::{Amounts, Names, Unsettled};
use super::texts::{self, Shown, Values};
use crate::gateway::code::Code;
use crate::gateway::moment;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A flow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FlowView {
    /// Its id: the same for the same caller and key.
    pub id: String,
    /// `compute`, `acceleration` or `moderation`.
    pub kind: String,
    /// Where it stands.
    pub state: String,
    /// Rises with each move, and with each attempt at what is done in it.
    pub version: i64,
    /// Whether it waits for a command or a time, or has ended; otherwise it goes on by itself.
    pub rests: bool,
    /// Whether it has come to its end. What is settled can still be refunded, what is accelerated rolled back.
    pub ended: bool,
    /// The commands that the state takes.
    pub takes: Vec<String>,
    /// Until when it waits for one of them: then it goes on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub waits_until: Option<String>,
    /// What the buyer is asked, while he is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptView>,
    /// What was refused last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Code>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_text: Option<Shown>,
    /// The states that it has been in, the oldest first.
    pub history: Vec<StateView>,
    /// Its credits.
    pub amounts: Amounts,
    /// Tasks under a licence that fell which are not paused or not paid back since the platform refuses it: it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_tasks: Option<TasksView>,
    /// Tasks under a licence that fell for which nothing is done: what the platform told of them is not what the contract says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odd_tasks: Option<TasksView>,
}

/// Some tasks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct TasksView {
    /// How many there are.
    pub count: usize,
    /// The first hundred of them, by their ids where they have one.
    pub task_ids: Vec<String>,
}

fn tasks(names: Names) -> Option<TasksView> {
    let Names { count, first } = names;
    (count > 0).then_some(TasksView { count, task_ids: first })
}

/// A question to the buyer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct PromptView {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
    /// How much it is about, micros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_micros: Option<i64>,
    /// Until when it can be answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
}

/// A state that was entered.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct StateView {
    /// Which.
    pub state: String,
    /// When.
    #[schema(format = "date-time")]
    pub at: String,
}

/// The flow as its caller sees it.
pub(super) fn of(flow: &Flow) -> FlowView {
    let amounts = flow.amounts();
    let prompt = flow.prompt().map(|prompt| {
        let Shown { en, zh } = prompt.text.fill(prompt.into());
        let expires_at = prompt.expires_us.map(moment::text);
        PromptView { en, zh, amount_micros: prompt.amount_micros, expires_at }
    });
    let values = Values {
        amount_micros: amounts.asked_micros.or(amounts.estimated_micros),
        queue: flow.queue(),
        expires_us: None,
    };
    let Unsettled { refused, odd } = flow.unsettled();
    let history = flow.history.iter();
    FlowView {
        id: flow.id.clone(),
        kind: flow.kind().name().to_owned(),
        state: flow.state().to_owned(),
        version: flow.version,
        rests: flow.rests(),
        ended: flow.has_ended(),
        takes: flow.takes().into_iter().map(str::to_owned).collect(),
        waits_until: flow.waits_until_us().map(moment::text),
        prompt,
        error: flow.error,
        error_text: flow.error.map(|code| texts::of_code(code).fill(values)),
        history: history
            .map(|passed| StateView { state: passed.state.clone(), at: moment::text(passed.at_us) })
            .collect(),
        amounts,
        refused_tasks: tasks(refused),
        odd_tasks: tasks(odd),
    }
}
