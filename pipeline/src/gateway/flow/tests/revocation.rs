//! A licence that falls: what of the platform's answers ends a step, and what only puts it off.

use super::super::kind::Command;
use super::super::life::Flow;
use super::super::machine::{Act, Heard, Next};
use super::super::moderation::Decision;
use super::platform::{Account, Platform};
use super::{NOW, moderation as report};
use crate::gateway::code::Code;

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
        assert!(matches!(flow.next(), Next::Do(Act::Step(..))) && flow.due_us > Some(NOW), "{code:?}");
    }
    flow.heard(Heard::Refused(Code::FlowConflict), NOW);
    assert_eq!(flow.state(), "RELEASING");
    go_on(&mut flow, &mut platform);
    assert_eq!((flow.state(), platform.free), ("CLOSED", 5));

    let mut flow = revoking();
    flow.heard(Heard::Refused(Code::LicenseUnknown), NOW);
    assert_eq!((flow.state(), flow.error), ("CLOSED", Some(Code::LicenseUnknown)));
}
