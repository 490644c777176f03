//! A flow from its begin to its end: a machine, and what all flows have. Whoever runs it does what [`Flow::next`] says, hands back
//! what was heard, and keeps both in one commit.

use super::acceleration::Acceleration;
use super::compute::Compute;
use super::kind::{Command, Kind};
use super::machine::{Amounts, Heard, Machine, Next, Prompt, Tell, Turn, Unsettled};
use super::moderation::Moderation;
use crate::gateway::code::Code;
use crate::gateway::contract::{About, Queue};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The first pause after a step of which nobody knows what became; twice as long after each further one.
const PAUSE_US: i64 = 200_000;
/// The longest.
pub(super) const PAUSE_US_MAX: i64 = 60_000_000;
/// No act is put off for longer, by a pause or by the platform.
pub(super) const PUT_OFF_US_MAX: i64 = 2 * PAUSE_US_MAX;
/// States that are remembered; of more the oldest but the first are let go.
const HISTORY_MAX: usize = 64;
/// Commands that are remembered.
pub(super) const COMMANDS_MAX: usize = 64;

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
    /// It has taken as many commands as it remembers, and one that is forgotten could be taken twice.
    Spent,
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
    /// How often it was sent, where there is no call for it.
    #[serde(default)]
    attempts: i64,
    /// The last of these attempts is under way, or its process died.
    #[serde(default)]
    open_since_us: Option<i64>,
    pub(super) due_us: Option<i64>,
    /// Since when it is under way, where it is: it neither waits for a command or a time nor has it ended.
    #[serde(default)]
    pub(super) busy_us: Option<i64>,
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
            attempts: 0,
            open_since_us: None,
            due_us: None,
            busy_us: None,
            error: None,
            history: vec![Passed { state, at_us: now_us }],
            accepted: Vec::new(),
        };
        flow.due_us = flow.due(now_us);
        flow.busy_us = flow.busy(now_us);
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

    pub(super) fn unsettled(&self) -> Unsettled {
        self.of.machine().unsettled()
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

    /// Until when it waits, where it does and not for ever.
    pub(super) fn waits_until_us(&self) -> Option<i64> {
        match self.next() {
            Next::Wait(until_us) => until_us,
            Next::Do(_) => None,
        }
    }

    /// The key of the act that is to be done now: the same however often it is tried, after a crash, and where a flow is begun again under
    /// its key by another gateway, or after its row was swept: the platform then knows the act, and nothing is done twice.
    pub(super) fn key(&self) -> String {
        format!("{}:{}-{}", self.id, self.state().to_ascii_lowercase(), self.step)
    }

    /// An attempt at the act begins, for which there is no call; its number.
    pub(super) fn send(&mut self, now_us: i64) -> i64 {
        self.version += 1;
        self.attempts += 1;
        self.open_since_us = Some(now_us);
        self.attempts
    }

    /// It has ended.
    pub(super) fn sent(&mut self) {
        self.open_since_us = None;
    }

    /// The attempt that was under way when whoever made it ended: its number, and since when. Only who runs the flow knows that it is
    /// not under way still.
    pub(super) fn interrupted(&self) -> Option<(i64, i64)> {
        Some((self.attempts, self.open_since_us?))
    }

    /// Somebody has moved the flow on while an attempt was under way, which has ended: that much is taken down.
    pub(super) fn overtook(&mut self) {
        self.version += 1;
        self.sent();
    }

    /// An act has ended.
    pub(super) fn heard(&mut self, heard: Heard, now_us: i64) -> Vec<Tell> {
        self.step += 1;
        (self.attempts, self.open_since_us) = (0, None); // the next one has another key
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
        self.busy_us = self.busy(now_us);
    }

    /// Takes a command, if the state takes it.
    pub(super) fn command(&mut self, command: Command, now_us: i64) -> Obeyed {
        let (name, digest) = (command.name(), digest(&command));
        let mut before = self.accepted.iter().filter(|before| before.name == name);
        if before.clone().any(|before| before.digest == digest) {
            return Obeyed::Before;
        }
        let (repeats, takes) = (command.repeats(), self.takes());
        if !takes.contains(&name) || (!repeats && before.next().is_some()) {
            return Obeyed::Conflict(takes);
        }
        if repeats && self.accepted.len() == COMMANDS_MAX {
            return Obeyed::Spent;
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
            stays: false,
            until_us: None,
        };
        act(self.of.machine_mut(), &mut turn);
        let Turn { tells, error, forget, pause, stays, until_us, .. } = turn;
        self.error = error;
        if let Some(place) = self.accepted.iter().rposition(|accepted| Some(accepted.name.as_str()) == forget)
        {
            self.accepted.remove(place); // the latest of the name
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
            self.due_us = self.due(now_us).max(until_us);
        } // else the act is still under way, and has its time
        if ended && !pause && !stays {
            self.busy_us = None; // it came on: what is told is how long one act has taken
        }
        self.busy_us = self.busy(now_us);
        tells
    }

    fn busy(&self, now_us: i64) -> Option<i64> {
        (!self.rests()).then(|| self.busy_us.unwrap_or(now_us))
    }

    /// Whether its time has come, or was put off by a clock that has gone back.
    pub(super) fn is_due(&self, now_us: i64) -> bool {
        let latest_us = now_us.saturating_add(PUT_OFF_US_MAX);
        self.due_us.is_some_and(|due_us| due_us <= now_us || (self.busy_us.is_some() && due_us > latest_us))
    }

    fn due(&self, now_us: i64) -> Option<i64> {
        match self.next() {
            Next::Do(_) => Some(now_us),
            Next::Wait(until_us) => until_us,
        }
    }

    fn pause_us(&self) -> i64 {
        pause_us(&self.id, self.tries)
    }
}

/// The pause after so many tries, microseconds: from half of the longest one to the whole of it, so that what failed together does not
/// come back together.
pub(super) fn pause_us(id: &str, tries: u32) -> i64 {
    let half = PAUSE_US.saturating_mul(1_i64 << tries.min(16)).min(PAUSE_US_MAX) / 2;
    let hash = Sha256::new().chain_update(id).chain_update(tries.to_be_bytes()).finalize();
    let draw = hash.iter().take(4).fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
    half + draw % half
}

fn digest(command: &Command) -> String {
    hex::encode(Sha256::digest(serde_json::to_vec(command).unwrap_or_default()))
}
