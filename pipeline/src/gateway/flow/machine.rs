//! A flow as a machine: a state, what is to be done in it, and what follows from an answer, a command, or the time. No clock, no
//! socket: whoever runs it does what [`Flow::next`] says, hands back what was heard, and keeps both in one commit.

use super::acceleration::Acceleration;
use super::compute::Compute;
use super::moderation::{Decision, Moderation, RiskLevel};
use crate::gateway::code::Code;
use crate::gateway::contract::{About, Ask, Estimate, Queue, RefundReason};
use crate::gateway::platform::{Revocation, RevokeRequest, TaskStep, Transition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// The first pause after a step of which nobody knows what became; twice as long after each further one.
const PAUSE_US: i64 = 200_000;
/// The longest.
const PAUSE_US_MAX: i64 = 60_000_000;
/// States that are remembered; of more the oldest but the first are let go.
const HISTORY_MAX: usize = 64;
/// Commands that are remembered.
const COMMANDS_MAX: usize = 64;

/// Which flow it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::gateway) enum Kind {
    Compute,
    Acceleration,
    Moderation,
}

impl Kind {
    pub(in crate::gateway) const ALL: [Kind; 3] = [Kind::Compute, Kind::Acceleration, Kind::Moderation];

    /// Its name in paths, rows and metrics.
    pub(in crate::gateway) const fn name(self) -> &'static str {
        match self {
            Kind::Compute => "compute",
            Kind::Acceleration => "acceleration",
            Kind::Moderation => "moderation",
        }
    }

    /// The scope that a caller's token must have.
    pub(in crate::gateway) const fn scope(self) -> &'static str {
        match self {
            Kind::Compute => "flows:compute",
            Kind::Acceleration => "flows:acceleration",
            Kind::Moderation => "flows:moderation",
        }
    }

    pub(in crate::gateway) fn of_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Every command that it takes in one state or another.
    pub(in crate::gateway) const fn commands(self) -> &'static [&'static str] {
        match self {
            Kind::Compute => &["settle", "accept", "decline", "fail", "cancel", "refund"],
            Kind::Acceleration => &["accept", "decline", "rollback"],
            Kind::Moderation => &["review", "decide"],
        }
    }
}

/// What a caller may tell a flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// The task is done and has cost so much.
    Settle { actual_micros: i64, estimate_id: Option<String> },
    /// The buyer takes what he was offered, or pays what he was asked for.
    Accept,
    /// He does not.
    Decline,
    /// The task failed.
    Fail,
    /// Somebody has ended the task.
    Cancel,
    /// So much of what was charged comes back.
    Refund { amount_micros: i64, reason: RefundReason },
    /// The place in the accelerated queue is given up.
    Rollback,
    /// A moderator begins.
    Review { moderator_id: String },
    /// A moderator has decided.
    Decide { decision: Decision, moderator_id: String },
}

impl Command {
    /// Its name in paths.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Command::Settle { .. } => "settle",
            Command::Accept => "accept",
            Command::Decline => "decline",
            Command::Fail => "fail",
            Command::Cancel => "cancel",
            Command::Refund { .. } => "refund",
            Command::Rollback => "rollback",
            Command::Review { .. } => "review",
            Command::Decide { .. } => "decide",
        }
    }
}

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
    Do(Act),
    /// A command is waited for, until a time if there is one, microseconds since 1970.
    Wait(Option<i64>),
}

/// How an act ended. That nobody knows is not among it: then it is done again under the same key.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Heard {
    Estimated(Estimate),
    /// Credits were held or taken, or came back, as was asked.
    Moved,
    Stepped(Transition),
    Revoked(Revocation),
    /// For good; nothing was moved.
    Refused(Code),
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

/// A state that was entered.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Passed {
    pub(super) state: String,
    pub(super) at_us: i64,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Accepted {
    name: String,
    digest: String,
}

/// The machine of a flow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Of {
    Compute(Compute),
    Acceleration(Acceleration),
    Moderation(Moderation),
}

impl Of {
    fn machine(&self) -> &dyn Machine {
        match self {
            Of::Compute(machine) => machine,
            Of::Acceleration(machine) => machine,
            Of::Moderation(machine) => machine,
        }
    }

    fn machine_mut(&mut self) -> &mut dyn Machine {
        match self {
            Of::Compute(machine) => machine,
            Of::Acceleration(machine) => machine,
            Of::Moderation(machine) => machine,
        }
    }
}

/// What a command led to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Obeyed {
    /// The flow goes on; these events tell of it.
    Now(Vec<Tell>),
    /// The same command was taken before.
    Before,
    /// The state takes these commands and not this one.
    Conflict(Vec<&'static str>),
    /// What it says does not fit.
    Refused(Code),
}

/// A flow: whose it is, where it stands, and how it came there.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Flow {
    pub(super) id: String,
    pub(super) caller: String,
    pub(super) role: String,
    pub(super) trace_id: Option<String>,
    /// Of the request that began it.
    pub(super) digest: String,
    pub(super) about: About,
    pub(super) of: Of,
    pub(super) version: i64,
    /// Rises with every act that has ended: an act has the same key until then, and none that another act had.
    step: u32,
    /// How often the act was tried without an end.
    pub(super) tries: u32,
    pub(super) due_us: Option<i64>,
    pub(super) error: Option<Code>,
    pub(super) history: Vec<Passed>,
    accepted: Vec<Accepted>,
}

/// A flow that begins.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: String,
    pub(super) caller: String,
    pub(super) role: String,
    pub(super) trace_id: Option<String>,
    pub(super) digest: String,
    pub(super) about: About,
    pub(super) of: Of,
}

impl Flow {
    /// In its first state.
    pub(super) fn begin(begun: Begun, now_us: i64) -> Flow {
        let Begun { id, caller, role, trace_id, digest, about, of } = begun;
        let state = of.machine().state().to_owned();
        let mut flow = Flow {
            id,
            caller,
            role,
            trace_id,
            digest,
            about,
            of,
            version: 1,
            step: 1,
            tries: 0,
            due_us: None,
            error: None,
            history: vec![Passed { state, at_us: now_us }],
            accepted: Vec::new(),
        };
        flow.due_us = flow.due(now_us);
        flow
    }

    pub(super) fn kind(&self) -> Kind {
        match self.of {
            Of::Compute(_) => Kind::Compute,
            Of::Acceleration(_) => Kind::Acceleration,
            Of::Moderation(_) => Kind::Moderation,
        }
    }

    pub(super) fn state(&self) -> &'static str {
        self.of.machine().state()
    }

    pub(super) fn next(&self) -> Next {
        self.of.machine().next(&self.about)
    }

    pub(super) fn takes(&self) -> Vec<&'static str> {
        self.of.machine().takes()
    }

    pub(super) fn amounts(&self) -> Amounts {
        self.of.machine().amounts()
    }

    pub(super) fn prompt(&self) -> Option<Prompt> {
        self.of.machine().prompt()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.of.machine().has_ended()
    }

    pub(super) fn queue(&self) -> Option<Queue> {
        self.of.machine().queue()
    }

    /// Whether nothing happens until somebody says something or a time has come.
    pub(super) fn rests(&self) -> bool {
        matches!(self.next(), Next::Wait(_))
    }

    /// The key of the act that is to be done now: the same however often it is tried, and after a crash.
    pub(super) fn key(&self) -> String {
        format!("{}:{}-{}", self.id, self.state().to_ascii_lowercase(), self.step)
    }

    /// An act has ended.
    pub(super) fn heard(&mut self, heard: Heard, now_us: i64) -> Vec<Tell> {
        self.step += 1;
        self.turn(now_us, true, |machine, turn| machine.heard(turn, heard))
    }

    /// Nobody has answered in time.
    pub(super) fn expired(&mut self, now_us: i64) -> Vec<Tell> {
        self.turn(now_us, true, |machine, turn| machine.expired(turn))
    }

    /// Nobody knows what became of the act: once more, later.
    pub(super) fn again(&mut self, now_us: i64, wait_us: i64) {
        self.version += 1;
        self.due_us = Some(now_us.saturating_add(self.pause_us().max(wait_us)));
        self.tries = self.tries.saturating_add(1);
    }

    /// Takes a command, if the state takes it.
    pub(super) fn command(&mut self, command: Command, now_us: i64) -> Obeyed {
        let (name, digest) = (command.name(), digest(&command));
        let before = self.accepted.iter().find(|before| before.name == name);
        if before.is_some_and(|before| before.digest == digest) {
            return Obeyed::Before;
        }
        let takes = self.takes();
        if before.is_some() || !takes.contains(&name) {
            return Obeyed::Conflict(takes);
        }
        let (kept, mut refused) = (self.clone(), None);
        let tells = self.turn(now_us, false, |machine, turn| refused = machine.command(turn, command).err());
        if let Some(code) = refused {
            *self = kept;
            return Obeyed::Refused(code);
        }
        if self.accepted.len() == COMMANDS_MAX {
            self.accepted.remove(0);
        }
        self.accepted.push(Accepted { name: name.to_owned(), digest });
        Obeyed::Now(tells)
    }

    /// One move; `ended`: an act or a wait has come to its end.
    fn turn(
        &mut self,
        now_us: i64,
        ended: bool,
        act: impl FnOnce(&mut dyn Machine, &mut Turn<'_>),
    ) -> Vec<Tell> {
        let before = self.state();
        let mut turn = Turn {
            now_us,
            about: &self.about,
            tells: Vec::new(),
            error: self.error,
            forget: None,
            pause: false,
        };
        act(self.of.machine_mut(), &mut turn);
        let Turn { tells, error, forget, pause, .. } = turn;
        self.error = error;
        if let Some(name) = forget {
            self.accepted.retain(|accepted| accepted.name != name);
        }
        self.version += 1;
        if before != self.state() {
            if self.history.len() == HISTORY_MAX {
                self.history.remove(1);
            }
            self.history.push(Passed { state: self.state().to_owned(), at_us: now_us });
        }
        if pause {
            self.due_us = Some(now_us.saturating_add(self.pause_us()));
            self.tries = self.tries.saturating_add(1);
        } else if ended || before != self.state() {
            self.tries = 0;
            self.due_us = self.due(now_us);
        } // else the act is still under way, and has its time
        tells
    }

    fn due(&self, now_us: i64) -> Option<i64> {
        match self.next() {
            Next::Do(_) => Some(now_us),
            Next::Wait(until_us) => until_us,
        }
    }

    /// From half of the longest pause to the whole of it, so that flows which failed together do not come back together.
    fn pause_us(&self) -> i64 {
        let half = PAUSE_US.saturating_mul(1_i64 << self.tries.min(16)).min(PAUSE_US_MAX) / 2;
        let hash = Sha256::new().chain_update(&self.id).chain_update(self.tries.to_be_bytes()).finalize();
        let draw = hash.iter().take(4).fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        half + draw % half
    }
}

fn digest(command: &Command) -> String {
    hex::encode(Sha256::digest(serde_json::to_vec(command).unwrap_or_default()))
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
