//! Long random lives of flows: commands at any moment, refusals, lost answers, processes that die between two steps.

use super::super::kind::{Command, Kind};
use super::super::life::{Flow, Obeyed, Of};
use super::super::machine::{Act, Next, Tell};
use super::super::moderation::{self, Decision};
use super::super::{acceleration, compute, record};
use super::platform::{Account, Draws, Platform};
use super::{Judge, NOW, acceleration as accelerate, compute as task, moderation as report};
use crate::gateway::contract::RefundReason;
use crate::gateway::platform::TaskStep;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Lives of each kind.
const LIVES: u64 = 3_000;
/// Moves of a life in which anything may happen; after them the platform is well and somebody brings the flow to its end.
const WILD: usize = 40;
/// Moves until a flow must have come to rest once the platform is well.
const CALM_MAX: usize = 200;

/// A flow and its world.
struct Life<'a> {
    flow: Flow,
    platform: Platform,
    now_us: i64,
    judge: &'a RefCell<Judge>,
    seen: BTreeSet<&'static str>,
    kinds: Vec<String>,
    /// What somebody else gave back of what was charged, micros.
    elsewhere: i64,
    /// Attempts at acts for which there is no call, by key and number: whether each has ended, or is known to have been stopped.
    attempts: BTreeMap<(String, i64), bool>,
}

fn some_command(draws: &mut Draws, kind: Kind) -> Command {
    let names = kind.commands();
    match names[draws.below(names.len() as u64) as usize] {
        "settle" => Command::Settle { actual_micros: draws.micros(1_500_000), estimate_id: None },
        "accept" => Command::Accept,
        "decline" => Command::Decline,
        "fail" => Command::Fail,
        "cancel" => Command::Cancel,
        "refund" => {
            let amount_micros = draws.micros(900_000) + 1;
            Command::Refund { amount_micros, reason: RefundReason::Goodwill, reference: None }
        }
        "rollback" => Command::Rollback,
        "review" => Command::Review { moderator_id: "m-1".to_owned() },
        "decide" => {
            let decision = if draws.chance(700) { Decision::LicenseRevoked } else { Decision::Dismissed };
            Command::Decide { decision, moderator_id: "m-2".to_owned() }
        }
        name => panic!("no such command: {name}"),
    }
}

impl<'a> Life<'a> {
    fn new(seed: u64, (flow, tells): (Flow, Vec<Tell>), free: i64, judge: &'a RefCell<Judge>) -> Life<'a> {
        let platform = Platform::new(seed, free);
        let (seen, kinds) = (BTreeSet::new(), Vec::new());
        let attempts = BTreeMap::new();
        let mut life = Life { flow, platform, now_us: NOW, judge, seen, kinds, elsewhere: 0, attempts };
        life.told(&tells);
        life
    }

    /// The events of a move pass their contracts; the flow survives its row.
    fn told(&mut self, tells: &[Tell]) {
        self.judge.borrow_mut().judge(&self.flow, tells, self.now_us);
        let kind = |tell: &Tell| match tell {
            Tell::Credit { kind, .. } | Tell::Case { kind, .. } => (*kind).to_owned(),
            Tell::Task { taken, .. } => format!("{:?}", taken.step),
            Tell::Revoked { .. } => "REVOKED".to_owned(),
        };
        self.kinds.extend(tells.iter().map(kind));
        let row = record::row(&self.flow, self.now_us);
        assert_eq!((row.state.as_str(), row.version), (self.flow.state(), self.flow.version));
        assert_eq!(record::read(&row).as_ref(), Some(&self.flow));
        self.seen.insert(self.flow.state());
    }

    fn command(&mut self, command: Command) -> bool {
        let before = self.flow.clone();
        match self.flow.command(command, self.now_us) {
            Obeyed::Now(tells) => {
                assert_eq!(self.flow.version, before.version + 1);
                self.told(&tells);
                true
            }
            Obeyed::Before | Obeyed::Conflict(_) | Obeyed::Spent | Obeyed::Refused(_) => {
                assert_eq!(self.flow, before, "a command that was not taken has changed the flow");
                false
            }
        }
    }

    /// What is due is done. `overtaking`: of a thousand acts so many end after a command came, and nobody writes down how.
    fn go_on(&mut self, overtaking: u64) {
        let Some(due_us) = self.flow.due_us else { return };
        self.now_us = self.now_us.max(due_us);
        let sent =
            matches!(self.flow.next(), Next::Do(act) if !matches!(*act, Act::Ask(_))).then(|| self.send());
        let before = self.flow.version;
        let tells = match self.flow.next() {
            Next::Wait(_) => self.flow.expired(self.now_us),
            Next::Do(act) => {
                let heard = self.platform.perform(&self.flow.key(), &act, self.now_us);
                if sent.is_some() && self.platform.draws.chance(overtaking / 2) {
                    return; // its process dies: whoever comes next finds the attempt under way
                }
                if self.platform.draws.chance(overtaking) {
                    let command = some_command(&mut self.platform.draws, self.flow.kind());
                    if self.command(command) {
                        // the row has another version: what was heard is not written, only that the attempt has ended
                        if let Some(attempt) = sent {
                            assert_eq!(
                                attempt.0,
                                self.flow.key(),
                                "a command gives a step that is under way another key"
                            );
                            self.flow.overtook();
                            self.attempts.insert(attempt, true);
                        }
                        return;
                    }
                }
                if let Some(attempt) = sent {
                    self.flow.sent();
                    self.attempts.insert(attempt, true);
                }
                match heard {
                    Some(heard) => self.flow.heard(heard, self.now_us),
                    None => {
                        self.flow.again(self.now_us, 0);
                        assert!(self.flow.due_us > Some(self.now_us), "an act is not tried at once again");
                        Vec::new()
                    }
                }
            }
        };
        assert_eq!(self.flow.version, before + 1);
        self.told(&tells);
    }

    /// An attempt begins: it has a number of its own, and what became of the one before it is known.
    fn send(&mut self) -> (String, i64) {
        let key = self.flow.key();
        if let Some((number, _)) = self.flow.interrupted() {
            assert_eq!(self.attempts.insert((key.clone(), number), true), Some(false));
        }
        let number = self.flow.send(self.now_us);
        assert_eq!(self.attempts.insert((key.clone(), number), false), None, "{key} {number} twice");
        self.told(&[]);
        (key, number)
    }

    /// Whether nothing happens to a flow that rests: a hold lasts longer than most tasks, and most buyers answer.
    fn time_goes_by(&mut self) -> bool {
        self.platform.draws.chance(match self.flow.state() {
            "HELD" => 950,
            "SUPPLEMENT_PROMPTED" => 850,
            _ => 500,
        })
    }

    fn live(&mut self) {
        (self.platform.refused, self.platform.lost) = (100, 150);
        for _ in 0..WILD {
            self.now_us += self.platform.draws.micros(30_000_000);
            match self.platform.draws.below(4) {
                0 => {
                    let command = some_command(&mut self.platform.draws, self.flow.kind());
                    self.command(command);
                }
                _ if self.flow.rests() && self.time_goes_by() => {}
                _ => self.go_on(200),
            }
            if self.platform.draws.chance(10) {
                match self.platform.draws.below(3) {
                    0 => self.somebody_else_lets_go(),
                    1 => self.somebody_else_gives_back(),
                    // a task's own flow, say
                    _ if self.flow.kind() == Kind::Moderation => self.somebody_else_charges(),
                    _ => {}
                }
            }
        }
        (self.platform.refused, self.platform.lost) = (0, 0);
        self.come_to_rest();
    }

    fn come_to_rest(&mut self) {
        for _ in 0..CALM_MAX {
            if self.flow.rests() {
                return;
            }
            self.go_on(0);
        }
        panic!("{} does not come to rest", self.flow.state());
    }

    /// A moderator's flow, say, lets go of what is held for the task.
    fn somebody_else_lets_go(&mut self) {
        for account in self.platform.accounts.values_mut() {
            self.platform.free += std::mem::take(&mut account.held);
        }
    }

    /// Some of what is held is charged.
    fn somebody_else_charges(&mut self) {
        for account in self.platform.accounts.values_mut() {
            let part = self.platform.draws.micros(account.held);
            (account.held, account.charged) = (account.held - part, account.charged + part);
        }
    }

    /// Support, say, gives some of what was charged back.
    fn somebody_else_gives_back(&mut self) {
        for account in self.platform.accounts.values_mut() {
            let part = self.platform.draws.micros(account.charged);
            account.charged -= part;
            self.platform.free += part;
            self.elsewhere += part;
        }
    }

    fn all(&self) -> Account {
        let sum = |of: fn(&Account) -> i64| self.platform.accounts.values().map(of).sum();
        Account { held: sum(|account| account.held), charged: sum(|account| account.charged) }
    }
}

/// Lives of a kind; gives the states that were seen in any of them.
fn lives(
    begin: impl Fn(u64) -> (Flow, Vec<Tell>),
    end: impl Fn(&mut Life<'_>, u64),
) -> BTreeSet<&'static str> {
    let (mut seen, judge) = (BTreeSet::new(), RefCell::new(Judge::new()));
    for seed in 0..LIVES {
        let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let free = [0, 700_000, 1_200_000, 10_000_000][(seed % 4) as usize];
            let mut life = Life::new(seed, begin(seed), free, &judge);
            if life.flow.kind() == Kind::Moderation {
                for task in 0..seed % 4 {
                    let held = life.platform.draws.micros(3);
                    let charged = life.platform.draws.micros(3);
                    life.platform.accounts.insert(format!("t-{task}"), Account { held, charged });
                }
            }
            life.live();
            end(&mut life, seed);
            assert!(
                life.attempts.values().all(|ended| *ended),
                "an attempt of which nobody says what became"
            );
            assert!(life.attempts.keys().all(|(key, number)| {
                *number == 1 || life.attempts.contains_key(&(key.clone(), number - 1))
            }));
            life.seen
        }));
        seen.extend(lived.unwrap_or_else(|_| panic!("seed {seed}")));
    }
    seen
}

/// Scenario: 3,000 tasks are estimated, held, charged, topped up, refunded, failed and cancelled in any order, in wallets of
/// different depth; one act in ten is refused, two answers in seven are lost, commands overtake acts, the flow is read anew from
/// its row after every move, and now and then somebody else lets go of the hold, or gives some
/// of the charges back; of a step that is under way the process dies now and then.
/// Guarantees: no end leaves anything held; what stays charged at the platform is what the flow says less what somebody else gave
/// back, and nothing where it was rolled back or refused; that it was rolled back in part is said where somebody else gave the rest; a key is never used for two requests; every supplement that was asked
/// for is answered once; every event passes its contract; attempts at steps are counted from 1 under each key, and each is known to
/// have ended or to have been stopped; every state is reached.
#[test]
fn the_credits_of_a_task_come_out_even() {
    let seen = lives(
        |seed| (task(&format!("f-{seed}")), Vec::new()),
        |life, _| {
            if matches!(life.flow.state(), "HELD" | "SUPPLEMENT_PROMPTED") {
                assert!(life.command(Command::Fail));
                life.come_to_rest();
            }
            assert!(life.flow.has_ended(), "{}", life.flow.state());
            let (all, amounts) = (life.all(), life.flow.amounts());
            assert_eq!((all.held, amounts.held_micros), (0, 0), "{}", life.flow.state());
            match life.flow.state() {
                "SETTLED" | "REFUNDED" => {
                    assert_eq!(
                        all.charged,
                        amounts.charged_micros - amounts.refunded_micros - life.elsewhere
                    );
                }
                "ROLLED_BACK_IN_PART" => {
                    assert_eq!(all.charged, 0);
                    let missing = amounts.charged_micros - amounts.refunded_micros;
                    assert!(missing > 0 && missing == life.elsewhere);
                }
                _ => assert_eq!(all.charged, 0, "{}", life.flow.state()),
            }
            let count = |kind: &str| life.kinds.iter().filter(|told| *told == kind).count();
            let paid = life.flow.history.iter().filter(|passed| passed.state == "SUPPLEMENT_CHARGED").count();
            assert_eq!(count("SUPPLEMENT_REQUESTED"), count("SUPPLEMENT_DECLINED") + paid);
        },
    );
    let all: BTreeSet<&str> = compute::State::ALL.iter().map(|state| state.name()).collect();
    assert_eq!(seen, all);
}

/// Scenario: 3,000 offers of acceleration are accepted, declined, forgotten and rolled back in any order; refusals, lost answers
/// and overtaking commands as above.
/// Guarantees: only who is accelerated has paid, exactly the difference of the estimates less what somebody else gave back; a task never hears ROLLED_BACK; every
/// event passes its contract; every state is reached.
#[test]
fn who_is_not_accelerated_has_not_paid() {
    let seen = lives(
        |seed| (accelerate(&format!("f-{seed}"), [None, Some(800_000)][(seed % 2) as usize]), Vec::new()),
        |life, seed| {
            if life.flow.state() == "OFFERED" {
                assert!(life.command(Command::Decline));
            }
            assert!(life.flow.has_ended(), "{}", life.flow.state());
            // a thousand units cost 1,000,000 in the normal queue and half as much again in the other
            let price = 1_500_000 - [1_000_000, 800_000][(seed % 2) as usize];
            let paid = if life.flow.state() == "ACCELERATED" { price - life.elsewhere } else { 0 };
            assert_eq!(life.all(), Account { held: 0, charged: paid }, "{}", life.flow.state());
            assert!(life.platform.steps.iter().all(|(_, step)| *step != TaskStep::RolledBack));
        },
    );
    let all: BTreeSet<&str> = acceleration::State::ALL.iter().map(|state| state.name()).collect();
    assert_eq!(seen, all);
}

/// Scenario: 3,000 cases, with up to three running tasks for which more or less is held and charged, let go, charged and given
/// back by others meanwhile; refusals and lost answers as above.
/// Guarantees: where the licence falls, each of its tasks is paused once at most and keeps nothing held or charged; where it does
/// not, no task is touched; events come in the order of the case, each once; every state is reached.
#[test]
fn a_licence_that_falls_takes_nothing_with_it() {
    let seen = lives(
        |seed| report(&format!("f-{seed}")),
        |life, seed| {
            life.command(Command::Review { moderator_id: "m-1".to_owned() });
            let decision = Decision::LicenseRevoked;
            life.command(Command::Decide { decision, moderator_id: "m-2".to_owned() });
            life.come_to_rest();
            assert!(life.flow.has_ended(), "{}", life.flow.state());
            let amounts = life.flow.amounts();
            let in_part = life.flow.state() == "CLOSED_IN_PART";
            assert_eq!(in_part, amounts.charged_micros > amounts.refunded_micros);
            assert!(!in_part || life.elsewhere > 0);
            let fell = life.kinds.iter().any(|kind| kind == "REVOKED");
            let steps = &life.platform.steps;
            if fell {
                assert_eq!(life.all(), Account::default());
            } else {
                assert!(steps.is_empty());
            }
            let paused: BTreeSet<&String> = steps.iter().map(|(task, _)| task).collect();
            assert!(steps.iter().all(|(_, step)| *step == TaskStep::Paused) && paused.len() == steps.len());
            assert!(steps.len() as u64 <= seed % 4);
            let case: Vec<&str> = life
                .kinds
                .iter()
                .map(String::as_str)
                .filter(|kind| !matches!(*kind, "Paused" | "REVOKED"))
                .collect();
            assert_eq!(case, ["REPORTED", "QUEUED", "REVIEW_STARTED", "DECIDED", "CLOSED"]);
            assert!(matches!(life.flow.of, Of::Moderation(_)));
        },
    );
    let all: BTreeSet<&str> = moderation::State::ALL.iter().map(|state| state.name()).collect();
    assert_eq!(seen, all);
}
