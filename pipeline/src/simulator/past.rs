//! The past of the platform: what earlier customers bought in the ten weeks before it opens, and what they were given back.
//!
//! Ten weeks are what METRICS 4 asks for: a week that is judged, four weeks of baseline, 28 days to look back from the
//! first of these, and one more. Weeks are counted back from the opening. Nobody buys within [`MARGIN`] of a week's
//! border, so the pairs do not depend on the minute at which an audit lets its weeks begin. In the last week people
//! buy half as often again. An order is followed by one request to `/credits/refund` on average, for goodwill about tasks that lie
//! further back: an interface that is rarely called needs a history before METRICS 3 can say anything of it.

use super::money::{Goodwill, Order, PACKS, PayBack};
use super::rng::Rng;
use super::world::{CREDIT, SECOND, World, wallet};
use super::{Action, Config};
use std::sync::Arc;

const WEEKS: i64 = 10;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
const WEEK: i64 = 7 * DAY;
/// At both ends of a week.
const MARGIN: i64 = 2 * HOUR;
/// Turns the seed into one that no caller is likely to give.
const OWN_SEED: u64 = 0x7061_7374_6f72_6465;

/// What happened, each with its time; the wallets are added to the world.
pub(super) fn orders(config: &Config, world: &mut World) -> Vec<(i64, Action)> {
    let mut rng = Rng::new(config.seed ^ OWN_SEED);
    let first = world.wallets.len();
    let numbers = config.wallets..config.wallets + config.past_wallets;
    world.wallets.extend(numbers.map(|n| wallet(n, world.run, config, &mut rng)));
    let wallets = first..world.wallets.len();
    let mut past = Past { rng, opening: config.start, events: Vec::new() };
    for place in wallets.clone() {
        let usual = past.rng.between(150, 450);
        // who tests the platform buys all the time, which must not show
        let customer = world.wallets[place].audience == "CUSTOMER";
        for week in (0..WEEKS).rev() {
            let share = if week == 0 { usual * 3 / 2 } else { usual };
            let share = if customer { share } else { 950 };
            if past.rng.between(0, 999) < share {
                past.buy(place, &wallets, week);
            }
        }
    }
    past.events
}

struct Past {
    rng: Rng,
    opening: i64,
    events: Vec<(i64, Action)>,
}

impl Past {
    /// One order of a wallet in the week that ended so many weeks before the opening, and what goes with it.
    fn buy(&mut self, place: usize, wallets: &std::ops::Range<usize>, week: i64) {
        let begin = self.opening - (week + 1) * WEEK;
        let at = self.rng.between(begin + MARGIN, begin + WEEK - MARGIN - HOUR);
        let (credits, price_minor) = self.rng.pick(PACKS);
        let (id, credits_micros) = (self.id(), credits * CREDIT);
        let whole = Order { wallet: place, id, credits_micros, price_minor, gift: false, counts: true };
        for _ in 0..self.rng.below(3) {
            let asked_at = at + self.rng.between(HOUR, 6 * DAY);
            let credits_micros = self.rng.between(CREDIT / 10, 2 * CREDIT);
            let request = Goodwill { wallet: place, credits_micros, call: None };
            if asked_at < self.opening - MARGIN {
                self.events.push((asked_at, Action::Goodwill(Box::new(request))));
            }
        }
        let back = |price_minor| PayBack { wallet: place, order: Arc::clone(&whole.id), price_minor };
        match self.rng.below(100) {
            0..5 => {
                let (first, second) = whole.split();
                self.order(at, first);
                self.order(at + 40 * SECOND, second);
                return;
            }
            5..8 => {
                let second = Order { id: self.id(), counts: false, ..whole.clone() };
                let delay = self.rng.between(5 * SECOND, 540 * SECOND);
                self.order(at + delay, second);
            }
            8..10 => {
                let second = Order { id: self.id(), ..whole.clone() };
                let delay = self.rng.between(660 * SECOND, 1_800 * SECOND);
                self.order(at + delay, second);
            }
            10..14 => {
                let count = u64::try_from(wallets.len()).unwrap_or(1);
                let other = wallets.start + usize::try_from(self.rng.below(count)).unwrap_or(0);
                let gift = Order { wallet: other, id: self.id(), gift: true, counts: false, ..whole.clone() };
                self.order(at + 2 * SECOND, gift);
            }
            14..19 => self.pay_back(at, (HOUR, 6 * DAY), back(price_minor)),
            19..22 => self.pay_back(at, (HOUR, 6 * DAY), back(price_minor / 3)),
            22..24 => self.pay_back(at, (8 * DAY, 12 * DAY), back(price_minor)),
            _ => {}
        }
        self.order(at, whole);
    }

    fn order(&mut self, at: i64, order: Order) {
        self.events.push((at, Action::Buy(Box::new(order))));
    }

    /// A refund between two delays after the order, unless the platform opens first.
    fn pay_back(&mut self, ordered_at: i64, (low, high): (i64, i64), refund: PayBack) {
        let at = ordered_at + self.rng.between(low, high);
        if at < self.opening - MARGIN {
            self.events.push((at, Action::PayBack(Box::new(refund))));
        }
    }

    fn id(&mut self) -> Arc<str> {
        format!("o-{:016x}", self.rng.bits()).into()
    }
}
