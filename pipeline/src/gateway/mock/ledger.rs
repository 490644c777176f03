//! The credits: wallets, what is held and was charged for each task, estimates, and every movement in order. Pure state; the
//! time is handed in.
//!
//! A wallet's balance is what was granted less charges and plus refunds. Held credits are part of the balance and not free.
//! It keeps everything, since what it says is compared with events at the end of a run.

use super::super::code::{Code, Problem};
use super::super::contract::{
    AMOUNT_MICROS_MAX, About, Charge, ChargePurpose, ChargeRequest, Estimate, EstimateRequest, Queue, Refund,
    RefundOf, RefundRequest,
};
use super::tasks::Tasks;
use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Price of a unit of compute in the normal queue: a thousandth of a credit.
pub const UNIT_MICROS: i64 = 1_000;

/// A wallet that appears, or credits that are added to one that exists.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewWallet {
    /// The wallet.
    pub wallet_id: String,
    /// Credits that are granted to it, micros; 0 to 10^15 in sum.
    pub balance_micros: i64,
    /// Whether nothing can be taken from it from now on.
    #[serde(default)]
    pub frozen: bool,
}

/// What moved.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// Credits came into the wallet.
    Grant,
    /// Free credits are held.
    Hold,
    /// Held credits are free again.
    Release,
    /// Credits were taken for a task.
    Charge,
    /// Credits were taken beyond the charge.
    Supplement,
    /// Credits were taken for a place in the accelerated queue.
    Acceleration,
    /// Credits that were taken came back.
    Refund,
}

impl Kind {
    /// The kind of event that the gateway tells of it by; none of a grant, which is no call.
    pub const fn event(self) -> Option<&'static str> {
        match self {
            Kind::Grant => None,
            Kind::Hold => Some("HELD"),
            Kind::Release => Some("ROLLED_BACK"),
            Kind::Charge | Kind::Acceleration => Some("CHARGED"),
            Kind::Supplement => Some("SUPPLEMENT_CHARGED"),
            Kind::Refund => Some("REFUNDED"),
        }
    }
}

/// One movement of credits.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Movement {
    /// Its place, from 1.
    pub number: u64,
    /// Id in the answer: of the charge or the refund; none of a grant.
    pub id: Option<String>,
    /// The `Idempotency-Key` under which it was asked for; none of a grant.
    pub key: Option<String>,
    /// The wallet.
    pub wallet_id: String,
    /// The task.
    pub task_id: Option<String>,
    /// What moved.
    pub kind: Kind,
    /// How much, micros; never negative.
    pub amount_micros: i64,
    /// What the wallet holds after it, held credits among them, micros.
    pub balance_after_micros: i64,
    /// What is held for the task after it, micros.
    pub held_after_micros: i64,
    /// When, as the answer says: later movements of a wallet have later times.
    pub moved_at: String,
}

/// The movements of one kind in one wallet.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Sum {
    /// How many.
    pub movements: u64,
    /// How much, micros.
    pub micros: i64,
}

/// A wallet as it stands.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Wallet {
    /// What it holds, held credits among them, micros.
    pub balance_micros: i64,
    /// What is held for tasks, micros.
    pub held_micros: i64,
    /// Whether nothing can be taken from it.
    pub frozen: bool,
    /// Its movements by kind.
    pub sums: BTreeMap<Kind, Sum>,
    /// When credits moved last, micros since 1970.
    #[serde(skip)]
    moved_us: i64,
    /// What is held and was charged, by task.
    #[serde(skip)]
    tasks: HashMap<String, Account>,
}

/// What was paid for a task out of one wallet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Account {
    /// Held, micros.
    pub(super) held: i64,
    /// Charged less refunded, micros.
    pub(super) charged: i64,
}

#[derive(Debug)]
struct Made {
    wallet_id: String,
    expires_us: i64,
}

/// The credits, and the tasks and licences that they are spent on.
#[derive(Debug, Default)]
pub struct Ledger {
    wallets: BTreeMap<String, Wallet>,
    estimates: HashMap<String, Made>,
    movements: Vec<Movement>,
    /// Tasks and licences.
    pub(super) tasks: Tasks,
}

impl Wallet {
    fn sum(&self, kind: Kind) -> i64 {
        self.sums.get(&kind).map_or(0, |sum| sum.micros)
    }

    fn free(&self) -> i64 {
        self.balance_micros - self.held_micros
    }

    /// What was charged for all tasks less what came back.
    fn charged(&self) -> i64 {
        let taken = [Kind::Charge, Kind::Supplement, Kind::Acceleration];
        taken.into_iter().map(|kind| self.sum(kind)).sum::<i64>() - self.sum(Kind::Refund)
    }

    /// What was paid for that task.
    pub(super) fn account(&self, task: Option<&str>) -> Account {
        task.and_then(|task| self.tasks.get(task)).copied().unwrap_or_default()
    }
}

impl Ledger {
    /// Makes a wallet, or grants more credits to one that exists.
    ///
    /// # Errors
    /// `invalid_request` where the amount is negative or all grants of the wallet would exceed 10^15 micros.
    pub fn grant(&mut self, new: &NewWallet, now_us: i64) -> Result<(), Problem> {
        let granted = self.wallets.get(&new.wallet_id).map_or(0, |wallet| wallet.sum(Kind::Grant));
        if new.balance_micros < 0 || granted > AMOUNT_MICROS_MAX - new.balance_micros.min(AMOUNT_MICROS_MAX) {
            return Err(Problem::because(
                Code::InvalidRequest,
                "balance_micros: grants are 0 to 10^15 in sum",
            ));
        }
        let wallet = self.wallets.entry(new.wallet_id.clone()).or_default();
        wallet.frozen = new.frozen;
        wallet.balance_micros += new.balance_micros;
        let about = About { wallet_id: new.wallet_id.clone(), ..About::default() };
        self.record(&about, (None, None), (Kind::Grant, new.balance_micros), now_us);
        Ok(())
    }

    /// What a task would cost: `compute_units` × [`UNIT_MICROS`], one and a half times that in the accelerated queue.
    /// The estimate stands for `life_us`.
    ///
    /// # Errors
    /// `wallet_unknown`.
    pub fn estimate(
        &mut self,
        ask: &EstimateRequest,
        now_us: i64,
        life_us: i64,
    ) -> Result<Estimate, Problem> {
        let wallet_id = ask.about.wallet_id.clone();
        self.wallet(&wallet_id)?;
        // At most 10^9 units: far from the end of an i64.
        let normal =
            i64::try_from(ask.compute_units).unwrap_or(AMOUNT_MICROS_MAX / UNIT_MICROS) * UNIT_MICROS;
        let amount_micros = if ask.queue == Queue::Accelerated { normal * 3 / 2 } else { normal };
        let estimate_id = format!("estimate-{}", self.estimates.len() + 1);
        let expires_us = now_us + life_us;
        self.estimates.insert(estimate_id.clone(), Made { wallet_id: wallet_id.clone(), expires_us });
        Ok(Estimate {
            estimate_id,
            wallet_id,
            amount_micros,
            queue: ask.queue,
            expires_at: rfc3339(expires_us),
        })
    }

    /// Holds or takes credits. A hold takes free credits and a charge what is held for its task first, then free credits; a
    /// supplement and an acceleration take free ones alone.
    ///
    /// # Errors
    /// `wallet_unknown`, `wallet_frozen`, `estimate_unknown`, `estimate_expired`, `hold_failed`, `insufficient_balance`.
    pub fn charge(&mut self, key: &str, ask: &ChargeRequest, now_us: i64) -> Result<Charge, Problem> {
        let (about, amount) = (&ask.about, ask.amount_micros);
        let wallet = self.wallet(&about.wallet_id)?;
        if wallet.frozen {
            return Err(Problem::new(Code::WalletFrozen));
        }
        if let Some(id) = &ask.estimate_id {
            let made = self.estimates.get(id).filter(|made| made.wallet_id == about.wallet_id);
            let made = made.ok_or_else(|| Problem::new(Code::EstimateUnknown))?;
            if made.expires_us <= now_us {
                return Err(Problem::new(Code::EstimateExpired));
            }
        }
        let held = wallet.account(about.task_id.as_deref()).held;
        let (kind, from_hold) = match ask.purpose {
            ChargePurpose::Hold => (Kind::Hold, 0),
            ChargePurpose::Charge => (Kind::Charge, held.min(amount)),
            ChargePurpose::Supplement => (Kind::Supplement, 0),
            ChargePurpose::Acceleration => (Kind::Acceleration, 0),
        };
        if amount - from_hold > wallet.free() {
            let is_hold = kind == Kind::Hold;
            return Err(Problem::new(if is_hold { Code::HoldFailed } else { Code::InsufficientBalance }));
        }
        match kind {
            Kind::Hold => self.alter(about, |wallet, account| {
                wallet.held_micros += amount;
                account.held += amount;
            }),
            _ => self.alter(about, |wallet, account| {
                wallet.balance_micros -= amount;
                wallet.held_micros -= from_hold;
                account.held -= from_hold;
                account.charged += amount;
            }),
        }
        if matches!(kind, Kind::Charge | Kind::Supplement) {
            self.tasks.use_quota(about.license_id.as_deref(), amount);
        }
        let charge_id = format!("charge-{}", self.movements.len() + 1);
        let moved = self.record(about, (Some(&charge_id), Some(key)), (kind, amount), now_us);
        Ok(Charge {
            charge_id,
            wallet_id: about.wallet_id.clone(),
            purpose: ask.purpose,
            amount_micros: amount,
            balance_after_micros: moved.balance_after_micros,
            held_micros: moved.held_after_micros,
            moved_at: moved.moved_at,
        })
    }

    /// Gives credits back, or lets a hold go; out of a frozen wallet too. Without a task, what was charged in the wallet is the
    /// bound.
    ///
    /// # Errors
    /// `wallet_unknown`, `refund_exceeds_charge`.
    pub fn refund(&mut self, key: &str, ask: &RefundRequest, now_us: i64) -> Result<Refund, Problem> {
        let (about, amount) = (&ask.about, ask.amount_micros);
        let wallet = self.wallet(&about.wallet_id)?;
        let account = wallet.account(about.task_id.as_deref());
        let most = match (ask.of, &about.task_id) {
            (RefundOf::Hold, _) => account.held,
            (RefundOf::Charge, None) => wallet.charged(),
            // what came back without naming a task counts against every one
            (RefundOf::Charge, Some(_)) => account.charged.min(wallet.charged()),
        };
        if amount > most {
            let remaining_micros = Some(most.max(0));
            return Err(Problem { remaining_micros, ..Problem::new(Code::RefundExceedsCharge) });
        }
        let kind = match ask.of {
            RefundOf::Hold => Kind::Release,
            RefundOf::Charge => Kind::Refund,
        };
        self.alter(about, |wallet, account| match kind {
            Kind::Release => {
                wallet.held_micros -= amount;
                account.held -= amount;
            }
            _ => {
                wallet.balance_micros += amount;
                account.charged -= amount;
            }
        });
        if kind == Kind::Refund {
            self.tasks.use_quota(about.license_id.as_deref(), -amount);
        }
        let refund_id = format!("refund-{}", self.movements.len() + 1);
        let moved = self.record(about, (Some(&refund_id), Some(key)), (kind, amount), now_us);
        Ok(Refund {
            refund_id,
            wallet_id: about.wallet_id.clone(),
            of: ask.of,
            amount_micros: amount,
            balance_after_micros: moved.balance_after_micros,
            held_micros: moved.held_after_micros,
            moved_at: moved.moved_at,
        })
    }

    /// Every wallet.
    pub fn wallets(&self) -> &BTreeMap<String, Wallet> {
        &self.wallets
    }

    /// Every movement, in order.
    pub fn movements(&self) -> &[Movement] {
        &self.movements
    }

    /// The wallet of that id.
    ///
    /// # Errors
    /// `wallet_unknown`.
    pub(super) fn wallet(&self, id: &str) -> Result<&Wallet, Problem> {
        self.wallets.get(id).ok_or_else(|| Problem::new(Code::WalletUnknown))
    }

    fn alter(&mut self, about: &About, change: impl FnOnce(&mut Wallet, &mut Account)) {
        let Some(wallet) = self.wallets.get_mut(&about.wallet_id) else { return };
        let mut account = wallet.account(about.task_id.as_deref());
        change(wallet, &mut account);
        if let Some(task) = &about.task_id {
            wallet.tasks.insert(task.clone(), account);
        }
    }

    /// Writes a movement down, with its id and key, its kind and amount.
    fn record(
        &mut self,
        about: &About,
        (id, key): (Option<&str>, Option<&str>),
        (kind, amount_micros): (Kind, i64),
        now_us: i64,
    ) -> Movement {
        let wallet = self.wallets.entry(about.wallet_id.clone()).or_default();
        let sum = wallet.sums.entry(kind).or_default();
        sum.movements += 1;
        sum.micros += amount_micros;
        wallet.moved_us = now_us.max(wallet.moved_us + 1); // however coarse the clock, and where it goes back
        let movement = Movement {
            number: self.movements.len() as u64 + 1,
            id: id.map(str::to_owned),
            key: key.map(str::to_owned),
            wallet_id: about.wallet_id.clone(),
            task_id: about.task_id.clone(),
            kind,
            amount_micros,
            balance_after_micros: wallet.balance_micros,
            held_after_micros: wallet.account(about.task_id.as_deref()).held,
            moved_at: rfc3339(wallet.moved_us),
        };
        self.movements.push(movement.clone());
        movement
    }
}

/// A moment in micros since 1970, as the contract writes it.
pub(super) fn rfc3339(us: i64) -> String {
    let moment = DateTime::from_timestamp_micros(us).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests;
