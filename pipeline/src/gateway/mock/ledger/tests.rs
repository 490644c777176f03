use super::{Kind, Ledger, NewWallet, Problem};
use crate::gateway::code::Code;
use crate::gateway::contract::{
    About, ChargePurpose, ChargeRequest, EstimateRequest, LicenseCheckRequest, Queue, RefundOf, RefundReason,
    RefundRequest,
};
use crate::gateway::mock::tasks::NewLicense;
use crate::gateway::platform::{RevokeRequest, TaskStep, TransitionRequest};

const NOW: i64 = 1_790_000_000_000_000;
const LIFE: i64 = 1_000_000;

fn about(task: &str) -> About {
    let task_id = (!task.is_empty()).then(|| task.to_owned());
    About { wallet_id: "w".to_owned(), policy_tag: "GENERAL_USE".to_owned(), task_id, ..About::default() }
}

fn ledger(balance: i64) -> Ledger {
    let mut ledger = Ledger::default();
    grant(&mut ledger, balance, false);
    ledger
}

fn grant(ledger: &mut Ledger, balance_micros: i64, frozen: bool) {
    let wallet = NewWallet { wallet_id: "w".to_owned(), balance_micros, frozen };
    ledger.grant(&wallet, NOW).expect("a grant");
}

/// Asks for a charge; what the wallet holds after it and what is held for the task, or the code of the refusal.
fn charge(ledger: &mut Ledger, task: &str, purpose: ChargePurpose, amount: i64) -> Result<(i64, i64), Code> {
    let (estimate_id, queue) = (None, None);
    let ask = ChargeRequest { about: about(task), purpose, amount_micros: amount, estimate_id, queue };
    let done = ledger.charge("key", &ask, NOW).map_err(code)?;
    Ok((done.balance_after_micros, done.held_micros))
}

fn refund(ledger: &mut Ledger, task: &str, of: RefundOf, amount: i64) -> Result<(i64, i64), Code> {
    let reason = RefundReason::Goodwill;
    let ask = RefundRequest { about: about(task), of, amount_micros: amount, reason };
    let done = ledger.refund("key", &ask, NOW).map_err(code)?;
    Ok((done.balance_after_micros, done.held_micros))
}

fn code(problem: Problem) -> Code {
    problem.code
}

/// Scenario: 100 are in the wallet; 60 are held for a task, charged in two parts, and the rest of the wallet is asked for.
/// Guarantees: a hold moves nothing and makes its credits unfree for others; a charge takes the hold first and then what is free;
/// a supplement and an acceleration leave the hold alone; nothing is taken that is not there.
#[test]
fn holds_are_taken_first_and_nothing_beyond_the_balance() {
    use ChargePurpose::{Acceleration, Charge, Hold, Supplement};
    let mut ledger = ledger(100);
    assert_eq!(charge(&mut ledger, "a", Hold, 60), Ok((100, 60)));
    assert_eq!(charge(&mut ledger, "b", Hold, 41), Err(Code::HoldFailed));
    assert_eq!(charge(&mut ledger, "b", Charge, 41), Err(Code::InsufficientBalance));
    assert_eq!(charge(&mut ledger, "a", Supplement, 41), Err(Code::InsufficientBalance));
    assert_eq!(charge(&mut ledger, "a", Acceleration, 10), Ok((90, 60)));
    assert_eq!(charge(&mut ledger, "a", Charge, 45), Ok((45, 15)));
    assert_eq!(charge(&mut ledger, "a", Charge, 46), Err(Code::InsufficientBalance));
    assert_eq!(charge(&mut ledger, "a", Charge, 20), Ok((25, 0)));
    assert_eq!(charge(&mut ledger, "a", Supplement, 25), Ok((0, 0)));
    assert_eq!(charge(&mut ledger, "a", Hold, 1), Err(Code::HoldFailed));
    assert_eq!(ledger.wallets()["w"].held_micros, 0);
}

/// Scenario: two tasks are charged; refunds are asked for in parts, without a task, of holds, and out of a frozen wallet.
/// Guarantees: of a task comes back what was taken for it, of the wallet what was taken in sum, of a hold what is held; also
/// where the wallet is frozen, out of which nothing is taken.
#[test]
fn no_more_comes_back_than_was_taken() {
    use ChargePurpose::{Charge, Hold};
    let mut ledger = ledger(100);
    for (task, amount) in [("a", 30), ("b", 20)] {
        charge(&mut ledger, task, Charge, amount).expect("a charge");
    }
    charge(&mut ledger, "a", Hold, 5).expect("a hold");
    assert_eq!(refund(&mut ledger, "a", RefundOf::Charge, 31), Err(Code::RefundExceedsCharge));
    for (of, left) in [(RefundOf::Charge, 30), (RefundOf::Hold, 5)] {
        let ask =
            RefundRequest { about: about("a"), of, amount_micros: left + 1, reason: RefundReason::Goodwill };
        let refused = ledger.refund("key", &ask, NOW).expect_err("too much");
        assert_eq!(refused.remaining_micros, Some(left));
    }
    assert_eq!(refund(&mut ledger, "a", RefundOf::Hold, 6), Err(Code::RefundExceedsCharge));
    assert_eq!(refund(&mut ledger, "a", RefundOf::Charge, 10), Ok((60, 5)));
    grant(&mut ledger, 0, true);
    assert_eq!(charge(&mut ledger, "a", Hold, 1), Err(Code::WalletFrozen));
    assert_eq!(refund(&mut ledger, "a", RefundOf::Hold, 5), Ok((60, 0)));
    assert_eq!(refund(&mut ledger, "", RefundOf::Charge, 41), Err(Code::RefundExceedsCharge));
    assert_eq!(refund(&mut ledger, "", RefundOf::Charge, 25), Ok((85, 0)));
    // 20 are open of each task, but 15 of the wallet
    assert_eq!(refund(&mut ledger, "b", RefundOf::Charge, 16), Err(Code::RefundExceedsCharge));
    assert_eq!(refund(&mut ledger, "b", RefundOf::Charge, 15), Ok((100, 0)));
    assert_eq!(ledger.wallets()["w"].sums[&Kind::Refund].micros, 50);
    let mut times: Vec<&str> = ledger.movements().iter().map(|movement| movement.moved_at.as_str()).collect();
    let count = times.len();
    assert!(times.is_sorted(), "{times:?}");
    times.dedup();
    assert_eq!(times.len(), count, "each movement has a time of its own, though the clock stood");
}

/// Scenario: an estimate in each queue; charges that rely upon it just before and at its end, upon none that exists, and upon
/// another wallet's.
/// Guarantees: 1,000 micros a unit, half as much again accelerated; it stands until its time, for its wallet.
#[test]
fn estimates_have_a_price_and_an_end() {
    let mut ledger = ledger(1_000_000);
    let other = NewWallet { wallet_id: "other".to_owned(), balance_micros: 9_999_999, frozen: false };
    ledger.grant(&other, NOW).expect("a grant");
    let ask = |queue| EstimateRequest { about: about(""), queue, compute_units: 333 };
    let normal = ledger.estimate(&ask(Queue::Normal), NOW, LIFE).expect("an estimate");
    let fast = ledger.estimate(&ask(Queue::Accelerated), NOW, LIFE).expect("an estimate");
    assert_eq!((normal.amount_micros, fast.amount_micros), (333_000, 499_500));
    let mut rely = |id: &str, wallet: &str, at| {
        let about = About { wallet_id: wallet.to_owned(), ..about("a") };
        let (purpose, estimate_id, queue) = (ChargePurpose::Charge, Some(id.to_owned()), None);
        let ask = ChargeRequest { about, purpose, amount_micros: 1, estimate_id, queue };
        ledger.charge("key", &ask, at).map(drop).map_err(code)
    };
    let id = normal.estimate_id;
    assert_eq!(rely(&id, "w", NOW + LIFE - 1), Ok(()));
    assert_eq!(rely(&id, "w", NOW + LIFE), Err(Code::EstimateExpired));
    assert_eq!(rely(&id, "other", NOW), Err(Code::EstimateUnknown));
    assert_eq!(rely("estimate-0", "w", NOW), Err(Code::EstimateUnknown));
    assert_eq!(rely(&id, "nobody", NOW), Err(Code::WalletUnknown));
}

/// Scenario: a licence is checked by its holder and others, used up by charges, given back by a refund, expired and revoked while
/// two tasks run under it and one has ended.
/// Guarantees: each refusal has its own code; the revocation tells the tasks that run, with what was paid for each; a second one
/// tells those that still run.
#[test]
fn licences_are_checked_used_and_revoked() {
    let mut ledger = ledger(1_000);
    let license = NewLicense {
        license_id: "l".to_owned(),
        user_id: "u".to_owned(),
        template_id: Some("t".to_owned()),
        quota_micros: 100,
        expires_at: super::rfc3339(NOW + LIFE),
    };
    ledger.tasks.license(license).expect("a licence");
    let text = |value: &str| Some(value.to_owned());
    let under = |task: &str, user: &str| About {
        license_id: text("l"),
        user_id: text(user),
        template_id: text("t"),
        ..about(task)
    };
    let check = |ledger: &Ledger, about: About, needed_micros, at| {
        let checked = ledger.tasks.check(&LicenseCheckRequest { about, needed_micros }, at);
        checked.map(|good| good.quota_remaining_micros).map_err(code)
    };
    assert_eq!(check(&ledger, under("", "u"), 100, NOW), Ok(100));
    assert_eq!(check(&ledger, under("", "u"), 101, NOW), Err(Code::LicenseQuotaExhausted));
    assert_eq!(check(&ledger, under("", "v"), 1, NOW), Err(Code::LicenseDenied));
    let elsewhere = About { template_id: text("s"), ..under("", "u") };
    assert_eq!(check(&ledger, elsewhere, 1, NOW), Err(Code::LicenseDenied));
    assert_eq!(check(&ledger, under("", "u"), 1, NOW + LIFE), Err(Code::LicenseExpired));
    let unknown = About { license_id: text("m"), ..under("", "u") };
    assert_eq!(check(&ledger, unknown, 1, NOW), Err(Code::LicenseUnknown));

    let step = |ledger: &mut Ledger, task: &str, step| {
        let ask = TransitionRequest { about: under(task, "u"), step, queue: None };
        ledger.transition(&ask).map(|taken| taken.state_version).map_err(code)
    };
    for task in ["a", "b", "c"] {
        assert_eq!(step(&mut ledger, task, TaskStep::Submitted), Ok(1));
    }
    assert_eq!(step(&mut ledger, "c", TaskStep::Succeeded), Ok(2));
    let mut pay = |purpose, amount| {
        let (about, estimate_id, queue) = (under("a", "u"), None, None);
        let ask = ChargeRequest { about, purpose, amount_micros: amount, estimate_id, queue };
        ledger.charge("key", &ask, NOW).expect("a charge");
    };
    pay(ChargePurpose::Hold, 70);
    pay(ChargePurpose::Charge, 50);
    pay(ChargePurpose::Acceleration, 7);
    assert_eq!(check(&ledger, under("", "u"), 0, NOW), Ok(50));
    let (reason, of) = (RefundReason::Overcharge, RefundOf::Charge);
    let back = RefundRequest { about: under("a", "u"), of, amount_micros: 5, reason };
    ledger.refund("key", &back, NOW).expect("a refund");
    assert_eq!(check(&ledger, under("", "u"), 0, NOW), Ok(55));

    let revoke = RevokeRequest { about: under("", "u"), moderator_id: "m".to_owned() };
    let without_case = ledger.revoke(&revoke).map(drop).map_err(code);
    assert_eq!(without_case, Err(Code::InvalidRequest));
    let about = About { case_id: text("case"), ..revoke.about };
    let revoke = RevokeRequest { about, ..revoke };
    let told = ledger.revoke(&revoke).expect("a revocation").tasks;
    let told: Vec<_> =
        told.iter().map(|task| (task.task_id.as_str(), task.held_micros, task.charged_micros)).collect();
    assert_eq!(told, [("a", 20, 52), ("b", 0, 0)]);
    assert_eq!(step(&mut ledger, "b", TaskStep::Cancelled), Ok(2));
    let again = ledger.revoke(&revoke).expect("a revocation").tasks;
    assert_eq!(again.iter().map(|task| task.task_id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(check(&ledger, under("", "u"), 0, NOW), Err(Code::LicenseRevoked));
}

/// Scenario: a task takes steps in and out of turn.
/// Guarantees: versions rise by one from 1 for steps that were taken and not for others; nothing follows the end, nothing comes
/// before the beginning, and a place in the accelerated queue is had once.
#[test]
fn tasks_take_steps_in_turn() {
    let mut ledger = ledger(0);
    let mut step = |step| {
        let ask = TransitionRequest { about: about("a"), step, queue: None };
        ledger.transition(&ask).map(|taken| (taken.state_version, taken.queue)).map_err(code)
    };
    assert_eq!(step(TaskStep::Queued), Err(Code::NotFound));
    assert_eq!(step(TaskStep::Submitted), Ok((1, Queue::Normal)));
    assert_eq!(step(TaskStep::Submitted), Err(Code::FlowConflict));
    assert_eq!(step(TaskStep::Resumed), Err(Code::FlowConflict));
    assert_eq!(step(TaskStep::SupplementSettled), Err(Code::FlowConflict));
    assert_eq!(step(TaskStep::Accelerated), Ok((2, Queue::Accelerated)));
    assert_eq!(step(TaskStep::Accelerated), Err(Code::FlowConflict));
    assert_eq!(step(TaskStep::Paused), Ok((3, Queue::Accelerated)));
    assert_eq!(step(TaskStep::Resumed), Ok((4, Queue::Accelerated)));
    assert_eq!(step(TaskStep::SupplementRequired), Ok((5, Queue::Accelerated)));
    assert_eq!(step(TaskStep::SupplementSettled), Ok((6, Queue::Accelerated)));
    assert_eq!(step(TaskStep::RolledBack), Ok((7, Queue::Accelerated)));
    assert_eq!(step(TaskStep::RolledBack), Err(Code::FlowConflict));
}
