//! A task whose licence falls, on its way: to be paused, and to be paid back.

use super::life::pause_us;
use super::share::Share;
use crate::gateway::code::Code;
use crate::gateway::platform::RunningTask;
use serde::{Deserialize, Serialize};

/// What is next for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Pause,
    Release,
    Refund,
}

/// What became of an amount that was asked back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Back {
    Moved,
    /// It was too much; so much is left, micros, where the platform says so.
    Exceeded(Option<i64>),
}

/// The task as the platform told of it, less what came back since.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Fallen {
    #[serde(flatten)]
    pub(super) told: RunningTask,
    /// It stands still, or has ended.
    #[serde(default)]
    pub(super) paused: bool,
    /// What of the hold, or of the charges, is asked back now.
    #[serde(default)]
    share: Share,
    /// Of what is to be given back: what was held, is not any more, and may have been charged.
    #[serde(default)]
    perhaps: i64,
    /// How often it was refused in a row.
    #[serde(default)]
    tries: u32,
    /// Not before that time, microseconds since 1970; 0 where it was not refused.
    #[serde(default)]
    pub(super) due_us: i64,
    /// What was refused last.
    #[serde(default)]
    pub(super) error: Option<Code>,
}

impl Fallen {
    pub(super) fn new(told: RunningTask) -> Fallen {
        Fallen { told, paused: false, share: Share::Whole, perhaps: 0, tries: 0, due_us: 0, error: None }
    }

    /// Whose turn it is: the least of all.
    pub(super) fn turn(&self) -> (i64, bool) {
        (self.due_us, self.paused)
    }

    /// What is next; `None`: nothing.
    pub(super) fn phase(&self) -> Option<Phase> {
        match (self.paused, self.told.held_micros, self.told.charged_micros) {
            (false, ..) => Some(Phase::Pause),
            (true, 0, 0) => None,
            (true, 0, _) => Some(Phase::Refund),
            (true, ..) => Some(Phase::Release),
        }
    }

    /// What is asked back now of the hold, or of the charges.
    pub(super) fn asks(&self, hold: bool) -> i64 {
        self.share.asks(if hold { self.told.held_micros } else { self.told.charged_micros })
    }

    /// What is known to have been charged and has not come back.
    pub(super) fn known_charged(&self) -> i64 {
        (self.told.charged_micros - self.perhaps).max(0)
    }

    pub(super) fn stands_still(&mut self) {
        self.paused = true;
        self.goes_well();
    }

    fn goes_well(&mut self) {
        (self.tries, self.due_us, self.error) = (0, 0, None);
    }

    /// It was refused: once more under another key, after all others, and later and later.
    pub(super) fn put_off(&mut self, now_us: i64, code: Code) {
        self.due_us = now_us.saturating_add(pause_us(&self.told.task_id, self.tries));
        self.tries = self.tries.saturating_add(1);
        self.error = Some(code);
    }

    /// Gives what came back, and what was charged and is known to come back no more.
    pub(super) fn back(&mut self, hold: bool, back: Back) -> (i64, i64) {
        let asked = self.asks(hold);
        let rest = if hold { &mut self.told.held_micros } else { &mut self.told.charged_micros };
        let amount = match back {
            Back::Moved => {
                self.share = self.share.moved(*rest);
                *rest -= asked;
                asked
            }
            Back::Exceeded(left) => {
                self.share = self.share.exceeded(*rest, left);
                0
            }
        };
        self.goes_well();
        if !self.share.is_over() {
            return (amount, 0);
        }
        self.share = Share::Whole;
        let rest =
            std::mem::take(if hold { &mut self.told.held_micros } else { &mut self.told.charged_micros });
        if hold {
            // let go by somebody else, or charged before the task stood still: then it is to be given back
            (self.told.charged_micros, self.perhaps) = (self.told.charged_micros + rest, rest);
            return (amount, 0);
        }
        (amount, (rest - self.perhaps).max(0))
    }
}
