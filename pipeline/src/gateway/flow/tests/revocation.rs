//! A licence that falls: what of the platform's answers ends a step, and what only puts it off.

use super::super::kind::Command;
use super::super::life::Flow;
use super::super::machine::{Act, Heard, Next};
use super::super::moderation::Decision;
use super::super::view::{self, TasksView};
use super::platform::{Account, Platform};
use super::{NOW, moderation as report};
use crate::gateway::code::Code;
use crate::gateway::contract::Ask;

/// A case whose licence is about to be revoked.
fn revoking() -> Flow {
    let (mut flow, _) = report("f-1");
    let moderator_id = || "m-1".to_owned();
    flow.command(Command::Review { moderator_id: moderator_id() }, NOW);
    flow.command(Command::Decide { decision: Decision::LicenseRevoked, moderator_id: moderator_id() }, NOW);
    assert_eq!(flow.state(), "REVOKING");
    flow
}

/// A platform where that is held and charged for each task.
fn platform(tasks: &[(&str, i64, i64)]) -> Platform {
    let mut platform = Platform::new(1, 0);
    let account = |(task, held, charged): &(&str, i64, i64)| {
        ((*task).to_owned(), Account { held: *held, charged: *charged })
    };
    platform.accounts = tasks.iter().map(account).collect();
    platform
}

/// Does the flow's act at the platform.
fn go_on(flow: &mut Flow, platform: &mut Platform) {
    let Next::Do(act) = flow.next() else { panic!("{} rests", flow.state()) };
    let heard = platform.perform(&flow.key(), &act, NOW).expect("nothing is lost");
    flow.heard(heard, NOW);
}

/// Scenario: the revocation of a licence is refused for the gateway's own rights and for no reason that is known, then done; the
/// pause of its task is refused for such reasons, then because the task has ended. Another licence is not known.
/// Guarantees: what says nothing of the licence or the task ends nothing: the act is tried again, later, under another key, and the
/// refusal is shown; only a task that cannot be paused any more goes on unpaused, and only a licence that never was closes the case.
#[test]
fn only_what_says_that_nothing_runs_ends_a_revocation() {
    let (mut flow, mut platform) = (revoking(), platform(&[("t-1", 5, 0)]));
    for code in [Code::LicenseRevoked, Code::LicenseDenied, Code::PlatformRefused, Code::NotFound] {
        let key = flow.key();
        flow.heard(Heard::Refused(code), NOW);
        assert_eq!((flow.state(), flow.error), ("REVOKING", Some(code)));
        assert!(flow.key() != key && flow.due_us > Some(NOW), "{code:?}");
    }
    go_on(&mut flow, &mut platform);
    for code in [Code::WalletUnknown, Code::PlatformRefused] {
        flow.heard(Heard::Refused(code), NOW);
        assert_eq!((flow.state(), flow.error), ("PAUSING", Some(code)));
        assert!(
            matches!(flow.next(), Next::Do(act) if matches!(*act, Act::Step(..))) && flow.due_us > Some(NOW),
            "{code:?}"
        );
    }
    flow.heard(Heard::Refused(Code::FlowConflict), NOW);
    assert_eq!(flow.state(), "RELEASING");
    go_on(&mut flow, &mut platform);
    assert_eq!((flow.state(), platform.free), ("CLOSED", 5));

    let mut flow = revoking();
    flow.heard(Heard::Refused(Code::LicenseUnknown), NOW);
    assert_eq!((flow.state(), flow.error), ("CLOSED", Some(Code::LicenseUnknown)));
}

/// Scenario: a licence falls under which three tasks run. The account of the first one's buyer is gone: the platform refuses whatever is
/// asked for it, six times over, and then no more.
/// Guarantees: all are paused before any is paid back; the others are paused and paid back before the first is tried again; that one is
/// tried later and later, under keys of its own, and is paid back in the end.
#[test]
fn a_task_that_is_refused_holds_up_no_other() {
    let (mut flow, mut platform) = (revoking(), platform(&[("t-1", 5, 0), ("t-2", 0, 7), ("t-3", 1, 2)]));
    go_on(&mut flow, &mut platform);
    let named = |flow: &Flow| view::of(flow).refused_tasks.map(|tasks| (tasks.count, tasks.task_ids));
    let (mut refused, mut now_us, mut order) = (Vec::new(), NOW, Vec::new());
    while let Next::Do(act) = flow.next() {
        let task = match &*act {
            Act::Step(about, _) => about.task_id.clone(),
            Act::Ask(Ask::Refund(ask)) => ask.about.task_id.clone(),
            other => panic!("{other:?}"),
        };
        let task = task.expect("a task");
        now_us = now_us.max(flow.due_us.expect("a time"));
        order.push(format!("{task} {}", flow.state()));
        if task == "t-1" && refused.len() < 6 {
            refused.push((flow.key(), now_us));
            flow.heard(Heard::Refused(Code::WalletUnknown), now_us);
            assert_eq!(named(&flow), Some((1, vec!["t-1".to_owned()])));
        } else {
            let heard = platform.perform(&flow.key(), &act, now_us).expect("nothing is lost");
            flow.heard(heard, now_us);
        }
    }
    let others = ["t-2 PAUSING", "t-3 PAUSING", "t-2 REFUNDING", "t-3 RELEASING", "t-3 REFUNDING"];
    assert_eq!(order[0], "t-1 PAUSING");
    assert_eq!(order[1..6], others);
    assert_eq!(order[6..11], ["t-1 PAUSING"; 5]);
    assert_eq!(order[11..], ["t-1 PAUSING", "t-1 RELEASING"]);
    for (round, pair) in refused.windows(2).enumerate() {
        let (pause, longest) = (pair[1].1 - pair[0].1, 200_000_i64 << round);
        assert!(pair[0].0 != pair[1].0 && pause >= longest / 2 && pause < longest, "{round}: {pause}");
    }
    assert_eq!((flow.state(), platform.free, named(&flow)), ("CLOSED", 15, None));
}

/// Scenario: two tasks are refused for ever; between the first refusal of one and the next of the other the clock goes back by a day.
/// Guarantees: each is tried again within minutes by the new clock: none is left behind until the old time comes again. However often
/// it is refused, the flow is as long under way as it is.
#[test]
fn a_clock_that_goes_back_leaves_no_refused_task_behind() {
    let (mut flow, mut platform) = (revoking(), platform(&[("t-1", 5, 0), ("t-2", 5, 0)]));
    go_on(&mut flow, &mut platform);
    let (mut now_us, busy_us) = (NOW, flow.busy_us);
    let mut tried = std::collections::BTreeMap::new();
    for round in 0..40 {
        let Next::Do(act) = flow.next() else { panic!("{} rests", flow.state()) };
        let Act::Step(about, _) = &*act else { panic!("{act:?}") };
        if round == 20 {
            now_us -= 86_400_000_000; // both have been put off by then
        }
        if round >= 20 {
            now_us =
                now_us.max(flow.due_us.filter(|due_us| *due_us <= now_us + 120_000_000).unwrap_or(now_us));
            *tried.entry(about.task_id.clone().expect("a task")).or_insert(0) += 1;
        } else {
            now_us = now_us.max(flow.due_us.expect("a time"));
        }
        flow.heard(Heard::Refused(Code::WalletUnknown), now_us);
    }
    assert_eq!(flow.busy_us, busy_us, "it has not come on, and the alert is to see that");
    assert!(tried.len() == 2 && tried.values().all(|times| *times >= 8), "{tried:?}");
}

/// Scenario: a licence falls; 100 are held for its task and nothing is charged. Before the pause the task's own flow charges 60. For
/// another 50 are charged, of which support gives 20 back.
/// Guarantees: 40 are let go and the 60 are given back; of the other the 30 come back, and the case says that it gave 90 back of 110,
/// and is closed in part.
#[test]
fn what_moved_before_the_pause_comes_back_too() {
    let (mut flow, mut platform) = (revoking(), platform(&[("t-1", 100, 0), ("t-2", 0, 50)]));
    go_on(&mut flow, &mut platform);
    platform.accounts.insert("t-1".to_owned(), Account { held: 40, charged: 60 });
    platform.accounts.insert("t-2".to_owned(), Account { held: 0, charged: 30 });
    while !flow.has_ended() {
        go_on(&mut flow, &mut platform);
    }
    assert_eq!([platform.account("t-1"), platform.account("t-2")], [Account::default(); 2]);
    assert_eq!((flow.state(), platform.free), ("CLOSED_IN_PART", 130));
    assert_eq!((flow.amounts().charged_micros, flow.amounts().refunded_micros), (110, 90));
}

/// Scenario: a licence falls; of one of its two tasks the platform tells what cannot be read.
/// Guarantees: the other is paused and paid back; the case says which one was left out, and is closed in part.
#[test]
fn a_task_that_cannot_be_read_is_named() {
    let (mut flow, mut platform) = (revoking(), platform(&[("t-1", 5, 0)]));
    let Next::Do(act) = flow.next() else { panic!("nothing to do") };
    let heard = platform.perform(&flow.key(), &act, NOW).expect("nothing is lost");
    let Heard::Revoked(mut fell) = heard else { panic!("another answer") };
    fell.odd.push("t-2".to_owned());
    flow.heard(Heard::Revoked(fell), NOW);
    while !flow.has_ended() {
        go_on(&mut flow, &mut platform);
    }
    assert_eq!((flow.state(), platform.free), ("CLOSED_IN_PART", 5));
    let view = view::of(&flow);
    assert_eq!(view.error, Some(Code::UpstreamInvalid));
    assert_eq!(view.odd_tasks, Some(TasksView { count: 1, task_ids: vec!["t-2".to_owned()] }));
}
