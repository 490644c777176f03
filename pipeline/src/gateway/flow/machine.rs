//! What a flow's machine is: a state, what is to be done in it, and what follows from an answer, a command, or the time. No clock,
//! no socket.

use super::kind::Command;
use super::moderation::{Decision, RiskLevel};
use crate::gateway::code::Code;
use crate::gateway::contract::{About, Ask, Estimate, Queue};
use crate::gateway::platform::{RevokeRequest, RunningTask, TaskStep, Transition};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be done at the platform.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// One of the four calls.
    Ask(Ask),
    /// A step of a task.
    Step(About, TaskStep),
    /// The revocation of a licence.
    Revoke(RevokeRequest),
}

/// What a state is there for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    Do(Box<Act>),
    /// A command is waited for, until a time if there is one, microseconds since 1970.
    Wait(Option<i64>),
}

impl Next {
    /// This is to be done.
    pub(super) fn act(act: Act) -> Next {
        Next::Do(Box::new(act))
    }
}

/// How an act ended. That nobody knows is not among it: then it is done again under the same key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    Estimated(Estimate),
    /// Credits were held or taken, or came back, as was asked.
    Moved,
    Stepped(Transition),
    Revoked(Fell),
    /// For good; nothing was moved.
    Refused(Code),
    /// More was asked back than is there, and nothing was moved; so much is there, micros, where the platform says so.
    Exceeded(Option<i64>),
}

/// What the platform told of a licence that fell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fell {
    pub(super) tasks: Vec<RunningTask>,
    /// What it told of others is not what the contract says.
    pub(super) odd: Names,
}

/// Tasks that something is said of: some of them by name, and how many there are.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Names {
    pub(super) count: usize,
    pub(super) first: Vec<String>,
}

impl Names {
    /// Tasks that are named; of more the number.
    const MAX: usize = 100;

    pub(super) fn push(&mut self, name: String) {
        self.count += 1;
        if self.first.len() < Names::MAX {
            self.first.push(name);
        }
    }
}

/// Tasks that a flow has not paused or paid back.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Unsettled {
    /// The platform refuses what is to be done; it is tried again.
    pub(super) refused: Names,
    /// Nothing is done: what the platform told of them is not what the contract says.
    pub(super) odd: Names,
}

/// Who acts, where it is not the flow's caller.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct By {
    pub(super) id: String,
    pub(super) role: &'static str,
}

/// An event that makes a step visible, beside those of the attempts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tell {
    Credit {
        kind: &'static str,
        amount_micros: i64,
        queue: Queue,
        estimate_id: Option<String>,
    },
    Task {
        about: About,
        taken: Transition,
    },
    Case {
        kind: &'static str,
        by: By,
        risk_level: RiskLevel,
        decision: Option<Decision>,
        due_us: Option<i64>,
    },
    Revoked {
        by: By,
    },
}

/// One move of a machine: what it may look at, and what it leaves.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now_us: i64,
    pub(super) about: &'a About,
    pub(super) tells: Vec<Tell>,
    /// What was refused last.
    pub(super) error: Option<Code>,
    /// The command came to nothing: it may be given again.
    pub(super) forget: Option<&'static str>,
    /// The next act waits a while.
    pub(super) pause: bool,
    /// The act has ended, and nothing came on by it.
    pub(super) stays: bool,
    /// The next act waits until then, microseconds since 1970.
    pub(super) until_us: Option<i64>,
}

/// What the flows differ in.
pub(super) trait Machine {
    /// The state's name.
    fn state(&self) -> &'static str;
    /// What the state is there for.
    fn next(&self, about: &About) -> Next;
    /// An act has ended.
    fn heard(&mut self, turn: &mut Turn<'_>, heard: Heard);
    /// Nobody has answered in time.
    fn expired(&mut self, turn: &mut Turn<'_>);
    /// The commands that the state takes.
    fn takes(&self) -> Vec<&'static str>;
    /// Takes one of them.
    ///
    /// # Errors
    /// Where its content does not fit what the flow knows.
    fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), Code>;
    /// Whether nothing will ever happen any more.
    fn has_ended(&self) -> bool;
    /// Sums for whoever looks.
    fn amounts(&self) -> Amounts;
    /// The queue that its credits are for, where there is one.
    fn queue(&self) -> Option<Queue>;
    /// The tasks, of several, that it has not paused or paid back.
    fn unsettled(&self) -> Unsettled {
        Unsettled::default()
    }
    /// What a person is asked in this state.
    fn prompt(&self) -> Option<Prompt>;
}

/// The credits of a flow, micros.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Amounts {
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_micros: Option<i64>,
    /// What is held now.
    pub held_micros: i64,
    /// What was taken, supplements among it.
    pub charged_micros: i64,
    /// What came back of it.
    pub refunded_micros: i64,
    /// What the buyer is or was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_micros: Option<i64>,
}

/// A question to the buyer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Prompt {
    pub(super) text: &'static super::texts::Text,
    pub(super) amount_micros: Option<i64>,
    pub(super) queue: Option<Queue>,
    pub(super) expires_us: Option<i64>,
}

/// States, each with its name.
macro_rules! states {
    ($(#[$doc:meta])* $Name:ident { $($(#[$state:meta])* $Variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, serde::Deserialize, serde::Serialize)]
        pub(super) enum $Name { $($(#[$state])* #[serde(rename = $text)] $Variant,)* }

        impl $Name {
            /// Every state.
            #[cfg(test)]
            pub(super) const ALL: &'static [$Name] = &[$($Name::$Variant),*];

            /// Its name in answers, rows and metrics.
            pub(super) const fn name(self) -> &'static str {
                match self { $($Name::$Variant => $text),* }
            }
        }
    };
}
pub(super) use states;
