//! What a clock ends, and what comes more than once.

use super::super::kind::Command;
use super::super::life::{COMMANDS_MAX, Flow, Obeyed};
use super::super::machine::Heard;
use super::super::view;
use super::platform::Platform;
use super::table::rest;
use super::{HOLD, NOW, compute as task};
use crate::gateway::code::Code;
use crate::gateway::contract::RefundReason;

/// Free credits at first, micros.
const FREE: i64 = 10_000_000;

fn held() -> (Flow, Platform) {
    let (mut flow, mut platform) = (task("f-1"), Platform::new(1, FREE));
    rest(&mut flow, &mut platform);
    assert_eq!(flow.state(), "HELD");
    (flow, platform)
}

/// Scenario: credits are held for a task that nobody settles.
/// Guarantees: they are held for the time that was said and no longer; the flow says until when, and why they were let go, in both
/// languages; nothing is left held.
#[test]
fn a_hold_has_an_end() {
    let (mut flow, mut platform) = held();
    let until_us = NOW + HOLD;
    assert_eq!((flow.due_us, flow.busy_us), (Some(until_us), None));
    assert_eq!(view::of(&flow).waits_until.as_deref(), Some("2026-01-08T00:00:00.000000Z"));
    assert!(flow.expired(until_us - 1).is_empty());
    assert_eq!(flow.state(), "HELD");
    flow.expired(until_us);
    assert_eq!((flow.state(), flow.busy_us), ("ROLLING_BACK_HOLD", Some(until_us)));
    rest(&mut flow, &mut platform);
    let seen = view::of(&flow);
    assert_eq!((seen.state.as_str(), seen.ended, seen.error), ("ROLLED_BACK", true, Some(Code::HoldExpired)));
    let text = seen.error_text.expect("a text");
    assert!(text.en.contains("free again") && text.zh.contains("已释放"), "{text:?}");
    assert_eq!((platform.free, platform.accounts["t-1"].held), (FREE, 0));
}

/// Scenario: of a task that was charged some comes back, then some more, then as much as at first; each is told twice. Another refund
/// is refused by the platform.
/// Guarantees: what is told again comes back once; what differs in its amount or its reference comes back as well; never more than was
/// charged; of a refund that was refused alone it is forgotten that it was told.
#[test]
fn refunds_come_more_than_once() {
    let (mut flow, mut platform) = held();
    let settle = Command::Settle { actual_micros: 800_000, estimate_id: None };
    assert!(matches!(flow.command(settle, NOW), Obeyed::Now(_)));
    rest(&mut flow, &mut platform);
    let refund = |amount_micros, reference: Option<&str>| Command::Refund {
        amount_micros,
        reason: RefundReason::Goodwill,
        reference: reference.map(str::to_owned),
    };
    let mut back = 0;
    for (amount, reference) in [(300_000, None), (150_000, None), (300_000, Some("second"))] {
        assert!(
            matches!(flow.command(refund(amount, reference), NOW), Obeyed::Now(_)),
            "{amount} {reference:?}"
        );
        rest(&mut flow, &mut platform);
        back += amount;
        assert_eq!((flow.state(), flow.amounts().refunded_micros), ("REFUNDED", back));
        assert_eq!(platform.accounts["t-1"].charged, 800_000 - back);
        assert_eq!(flow.command(refund(amount, reference), NOW), Obeyed::Before);
    }
    assert_eq!(flow.command(refund(60_000, None), NOW), Obeyed::Refused(Code::RefundExceedsCharge));
    let last = refund(50_000, None);
    assert!(matches!(flow.command(last.clone(), NOW), Obeyed::Now(_)));
    flow.heard(Heard::Refused(Code::WalletUnknown), NOW);
    assert_eq!((flow.state(), flow.error), ("REFUNDED", Some(Code::WalletUnknown)));
    assert_eq!(flow.command(refund(150_000, None), NOW), Obeyed::Before, "that one has come back");
    assert!(matches!(flow.command(last, NOW), Obeyed::Now(_)));
    rest(&mut flow, &mut platform);
    assert_eq!((platform.accounts["t-1"].charged, flow.takes()), (0, Vec::<&str>::new()));
}

/// Scenario: a flow gives back a micro at a time, for as often as it takes commands.
/// Guarantees: it takes no more than it remembers, and does not say that its state is wrong.
#[test]
fn what_is_spent_says_so() {
    let (mut flow, mut platform) = held();
    assert!(matches!(
        flow.command(Command::Settle { actual_micros: 800_000, estimate_id: None }, NOW),
        Obeyed::Now(_)
    ));
    rest(&mut flow, &mut platform);
    let refund = |number: usize| Command::Refund {
        amount_micros: 1,
        reason: RefundReason::Goodwill,
        reference: Some(number.to_string()),
    };
    let mut taken = 0;
    while let Obeyed::Now(_) = flow.command(refund(taken), NOW) {
        rest(&mut flow, &mut platform);
        taken += 1;
    }
    assert_eq!(taken, COMMANDS_MAX - 1, "one was to settle");
    assert_eq!(flow.command(refund(taken), NOW), Obeyed::Spent);
    assert_eq!(flow.command(refund(0), NOW), Obeyed::Before);
}
