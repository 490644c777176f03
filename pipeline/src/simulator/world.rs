//! Who and what there is: wallets, creators, templates and licences.

use super::Config;
use super::rng::Rng;
use super::truth::WalletTruth;
use std::sync::Arc;
use tally_schemas::{PolicyTag, policy_tags};

/// Micros in one credit.
pub(super) const CREDIT: i64 = 1_000_000;
/// Microseconds in one second.
pub(super) const SECOND: i64 = 1_000_000;
/// Licences that a wallet may hold at once.
pub(super) const LICENCES_PER_WALLET: u32 = 3;

#[derive(Debug)]
pub(super) struct Wallet {
    pub(super) id: Arc<str>,
    pub(super) user: Arc<str>,
    pub(super) audience: &'static str,
    pub(super) currency: &'static str,
    /// Purchases and refunds less charges and supplements.
    pub(super) balance: i64,
    /// The part of the balance that is held for tasks.
    pub(super) held: i64,
    pub(super) last_order_at: i64,
    /// Counts; its balance is not kept.
    pub(super) book: WalletTruth,
}

impl Wallet {
    pub(super) fn available(&self) -> i64 {
        self.balance - self.held
    }

    pub(super) fn truth(&self) -> WalletTruth {
        let audience = self.audience.to_owned();
        WalletTruth { audience, balance_micros: self.balance, ..self.book.clone() }
    }
}

#[derive(Debug)]
pub(super) struct Template {
    pub(super) id: Arc<str>,
    pub(super) creator: Arc<str>,
    pub(super) tag: &'static PolicyTag,
    pub(super) price: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    Revoked,
    Expired,
}

#[derive(Debug)]
pub(super) struct Licence {
    pub(super) id: Arc<str>,
    pub(super) template: usize,
    pub(super) standing: Standing,
    pub(super) quota: i64,
    pub(super) expires_at: i64,
}

/// Everything that outlives a task.
#[derive(Debug)]
pub(super) struct World {
    /// The visitors, and after them the wallets of the past.
    pub(super) wallets: Vec<Wallet>,
    /// How many of the wallets visit.
    pub(super) visitors: usize,
    /// In every id, so that two seeds published to one store stay apart.
    pub(super) run: u64,
    pub(super) templates: Vec<Template>,
    /// `LICENCES_PER_WALLET` places for each wallet; a new grant takes the place of a dead licence.
    pub(super) licences: Vec<Option<Licence>>,
}

impl World {
    pub(super) fn new(config: &Config, rng: &mut Rng) -> World {
        let run = rng.bits() >> 32;
        let wallets: Vec<Wallet> = (0..config.wallets).map(|n| wallet(n, run, config, rng)).collect();
        let visitors = wallets.len();
        let creators: Vec<Arc<str>> =
            (0..config.creators).map(|n| format!("c-{run:08x}-{n:04}").into()).collect();
        let templates = (0..config.templates).map(|n| template(n, run, &creators, rng)).collect();
        let places = config.wallets * LICENCES_PER_WALLET;
        World { wallets, visitors, run, templates, licences: (0..places).map(|_| None).collect() }
    }
}

/// The `n`-th wallet of a run, empty.
pub(super) fn wallet(n: u32, run: u64, config: &Config, rng: &mut Rng) -> Wallet {
    let internal = rng.chance(config.internal_permille);
    Wallet {
        id: format!("w-{run:08x}-{n:06}").into(),
        user: format!("u-{run:08x}-{n:06}").into(),
        audience: if internal { rng.pick(["TEST", "STAFF", "CANARY"]) } else { "CUSTOMER" },
        currency: rng.pick(["CNY", "CNY", "CNY", "USD", "EUR"]),
        balance: 0,
        held: 0,
        last_order_at: i64::MIN / 2,
        book: WalletTruth::default(),
    }
}

fn template(n: u32, run: u64, creators: &[Arc<str>], rng: &mut Rng) -> Template {
    let tags = policy_tags();
    let any = rng.below(tags.len() as u64);
    let place = if rng.chance(500) { 0 } else { any };
    let creator = usize::try_from(rng.below(creators.len() as u64)).unwrap_or(0);
    Template {
        id: format!("tp-{run:08x}-{n:05}").into(),
        creator: Arc::clone(&creators[creator]),
        tag: &tags[usize::try_from(place).unwrap_or(0)],
        price: rng.between(CREDIT / 2, 8 * CREDIT),
    }
}
