//! A platform of few lines: accounts of tasks, answers under their keys, and what goes wrong at random.

use super::super::machine::{Act, Fell, Heard};
use crate::gateway::code::Code;
use crate::gateway::contract::{Ask, Audience, ChargePurpose, Estimate, Queue, RefundOf};
use crate::gateway::moment;
use crate::gateway::platform::{RunningTask, TaskStep, Transition};
use std::collections::BTreeMap;

/// Numbers that look random and are the same for the same seed (splitmix64).
pub(super) struct Draws(pub(super) u64);

impl Draws {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    pub(super) fn micros(&mut self, most: i64) -> i64 {
        i64::try_from(self.below(u64::try_from(most).expect("positive") + 1)).expect("small")
    }
}

/// What was paid for a task.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Account {
    pub(super) held: i64,
    pub(super) charged: i64,
}

pub(super) struct Platform {
    pub(super) draws: Draws,
    /// What is free in the only wallet.
    pub(super) free: i64,
    pub(super) accounts: BTreeMap<String, Account>,
    /// Steps that were taken, in order.
    pub(super) steps: Vec<(String, TaskStep)>,
    /// What was asked under each key, and how it was answered.
    answers: BTreeMap<String, (Act, Heard)>,
    /// Refusals and lost answers of a thousand.
    pub(super) refused: u64,
    pub(super) lost: u64,
}

impl Platform {
    pub(super) fn new(seed: u64, free: i64) -> Platform {
        Platform {
            draws: Draws(seed),
            free,
            accounts: BTreeMap::new(),
            steps: Vec::new(),
            answers: BTreeMap::new(),
            refused: 0,
            lost: 0,
        }
    }

    pub(super) fn account(&self, task: &str) -> Account {
        self.accounts.get(task).copied().unwrap_or_default()
    }

    /// Does what is asked under that key, once; `None`: whoever asked hears nothing, whether it was done or not.
    pub(super) fn perform(&mut self, key: &str, act: &Act, now_us: i64) -> Option<Heard> {
        if self.draws.chance(self.lost) {
            return None; // on its way there
        }
        let heard = match self.answers.get(key) {
            Some((was, heard)) => {
                assert_eq!(was, act, "one key, two requests: {key}");
                heard.clone()
            }
            None => {
                let heard = match self.draws.chance(self.refused) {
                    true => Heard::Refused(self.some_refusal(act)),
                    false => self.execute(act, now_us),
                };
                self.answers.insert(key.to_owned(), (act.clone(), heard.clone()));
                heard
            }
        };
        (!self.draws.chance(self.lost)).then_some(heard) // or on its way back
    }

    fn some_refusal(&mut self, act: &Act) -> Code {
        let codes: &[Code] = match act {
            Act::Ask(Ask::Charge(_)) => {
                &[Code::WalletFrozen, Code::EstimateExpired, Code::InsufficientBalance]
            }
            Act::Ask(_) => &[Code::WalletUnknown, Code::PlatformRefused],
            Act::Step(..) => &[Code::FlowConflict, Code::NotFound, Code::PlatformRefused],
            Act::Revoke(_) => &[Code::LicenseUnknown, Code::LicenseDenied, Code::PlatformRefused],
        };
        codes[self.draws.below(codes.len() as u64) as usize]
    }

    fn execute(&mut self, act: &Act, now_us: i64) -> Heard {
        match act {
            Act::Ask(Ask::Estimate(ask)) => {
                let normal = i64::try_from(ask.compute_units).expect("few") * 1_000;
                let amount = if ask.queue == Queue::Accelerated { normal * 3 / 2 } else { normal };
                Heard::Estimated(Estimate {
                    estimate_id: format!("e-{}", self.answers.len()),
                    wallet_id: ask.about.wallet_id.clone(),
                    amount_micros: amount,
                    queue: ask.queue,
                    expires_at: moment::text(now_us + 600_000_000),
                })
            }
            Act::Ask(Ask::Charge(ask)) => {
                assert!(ask.amount_micros > 0, "a charge of nothing");
                let account = self.accounts.entry(ask.about.task_id.clone().expect("a task")).or_default();
                let from_hold = match ask.purpose {
                    ChargePurpose::Charge => account.held.min(ask.amount_micros),
                    _ => 0,
                };
                if ask.amount_micros - from_hold > self.free {
                    return Heard::Refused(match ask.purpose {
                        ChargePurpose::Hold => Code::HoldFailed,
                        _ => Code::InsufficientBalance,
                    });
                }
                self.free -= ask.amount_micros - from_hold;
                match ask.purpose {
                    ChargePurpose::Hold => account.held += ask.amount_micros,
                    _ => {
                        account.held -= from_hold;
                        account.charged += ask.amount_micros;
                    }
                }
                Heard::Moved
            }
            Act::Ask(Ask::Refund(ask)) => {
                assert!(ask.amount_micros > 0, "a refund of nothing");
                let says = self.draws.chance(500);
                let account = self.accounts.entry(ask.about.task_id.clone().expect("a task")).or_default();
                let there = match ask.of {
                    RefundOf::Hold => &mut account.held,
                    RefundOf::Charge => &mut account.charged,
                };
                if ask.amount_micros > *there {
                    return Heard::Exceeded(says.then_some(*there));
                }
                *there -= ask.amount_micros;
                self.free += ask.amount_micros;
                Heard::Moved
            }
            Act::Step(about, step) => {
                let task_id = about.task_id.clone().expect("a task");
                self.steps.push((task_id.clone(), *step));
                let state_version = i64::try_from(self.steps.len()).expect("few") + 3;
                Heard::Stepped(Transition { task_id, step: *step, state_version, queue: Queue::Normal })
            }
            Act::Revoke(ask) => {
                let running = self.accounts.iter();
                let tasks = running.map(|(task_id, account)| RunningTask {
                    task_id: task_id.clone(),
                    wallet_id: "w-1".to_owned(),
                    user_id: "u-1".to_owned(),
                    audience: Audience::Customer,
                    policy_tag: "GENERAL_USE".to_owned(),
                    queue: Queue::Normal,
                    held_micros: account.held,
                    charged_micros: account.charged,
                });
                assert!(ask.about.license_id.is_some(), "no licence");
                Heard::Revoked(Fell { tasks: tasks.collect(), ..Fell::default() })
            }
            Act::Ask(Ask::Check(_)) => panic!("flows check no licences"),
        }
    }
}
