//! Every state with every command, and the moves that a walk would meet too rarely.

use super::super::kind::{Command, Kind};
use super::super::life::{Flow, Obeyed, Of};
use super::super::machine::{Act, Heard, Next, Tell};
use super::super::moderation::{self, Decision};
use super::super::requests::Start;
use super::super::{acceleration, compute, view};
use super::platform::Platform;
use super::{ANSWER, NOW, acceleration as accelerate, compute as task, moderation as report};
use crate::gateway::code::Code;
use crate::gateway::contract::{Ask, RefundReason};
use crate::gateway::platform::TaskStep;

fn every_command() -> Vec<Command> {
    let moderator_id = || "m-1".to_owned();
    vec![
        Command::Settle { actual_micros: 1, estimate_id: None },
        Command::Accept,
        Command::Decline,
        Command::Fail,
        Command::Cancel,
        Command::Refund { amount_micros: 1, reason: RefundReason::Goodwill, reference: None },
        Command::Rollback,
        Command::Review { moderator_id: moderator_id() },
        Command::Decide { decision: Decision::Approved, moderator_id: moderator_id() },
    ]
}

/// What each state takes, written down apart from the machines.
fn table(kind: Kind, state: &str) -> &'static [&'static str] {
    match (kind, state) {
        (Kind::Compute, "HELD") => &["settle", "fail", "cancel"],
        (Kind::Compute, "SUPPLEMENT_PROMPTED") => &["accept", "decline", "fail", "cancel"],
        (Kind::Compute, "SETTLED" | "REFUNDED") => &["refund"],
        (
            Kind::Compute,
            "ESTIMATING"
            | "HOLDING"
            | "CHARGING"
            | "SUPPLEMENT_REQUESTED"
            | "SUPPLEMENT_CHARGING"
            | "SUPPLEMENT_CHARGED"
            | "SUPPLEMENT_DECLINED",
        ) => &["fail", "cancel"],
        (Kind::Acceleration, "OFFERED") => &["accept", "decline"],
        (Kind::Acceleration, "CHARGING" | "ACCELERATING" | "ACCELERATED") => &["rollback"],
        (Kind::Moderation, "QUEUED") => &["review"],
        (Kind::Moderation, "REVIEWING") => &["decide"],
        _ => &[],
    }
}

/// A flow of each kind in each state.
fn everywhere() -> Vec<Flow> {
    let mut flows = Vec::new();
    for state in compute::State::ALL {
        let mut flow = task("f-1");
        let Of::Compute(machine) = &mut flow.of else { panic!("another machine") };
        (machine.state, machine.held, machine.charged) = (*state, 5, 7);
        flows.push(flow);
    }
    for state in acceleration::State::ALL {
        let mut flow = accelerate("f-1", Some(1));
        let Of::Acceleration(machine) = &mut flow.of else { panic!("another machine") };
        machine.state = *state;
        flows.push(flow);
    }
    for state in moderation::State::ALL {
        let (mut flow, _) = report("f-1");
        let Of::Moderation(machine) = &mut flow.of else { panic!("another machine") };
        machine.state = *state;
        flows.push(flow);
    }
    flows
}

/// Scenario: every command is given to a flow of every kind in every state, and then once more.
/// Guarantees: it is taken where the table says so, and elsewhere refused with the commands that the state takes, the flow left as
/// it was; given again with the same content it is the command that was taken, with another content a conflict.
#[test]
fn every_state_takes_its_commands_and_no_other() {
    for before in everywhere() {
        let takes = table(before.kind(), before.state());
        assert_eq!(before.takes(), takes, "{:?} {}", before.kind(), before.state());
        for command in every_command() {
            let mut flow = before.clone();
            let obeyed = flow.command(command.clone(), NOW);
            if !takes.contains(&command.name()) {
                assert_eq!(obeyed, Obeyed::Conflict(takes.to_vec()));
                assert_eq!(flow, before);
                continue;
            }
            assert!(matches!(obeyed, Obeyed::Now(_)), "{} {command:?} {obeyed:?}", before.state());
            assert!(before.kind().commands().contains(&command.name()));
            let taken = flow.clone();
            assert_eq!(flow.command(command.clone(), NOW), Obeyed::Before);
            assert_eq!(flow, taken);
            let other = match command {
                Command::Settle { .. } => Command::Settle { actual_micros: 2, estimate_id: None },
                Command::Refund { .. } => {
                    Command::Refund { amount_micros: 2, reason: RefundReason::Goodwill, reference: None }
                }
                Command::Review { .. } => Command::Review { moderator_id: "m-9".to_owned() },
                _ => continue,
            };
            assert!(matches!(flow.command(other, NOW), Obeyed::Conflict(_)));
        }
    }
}

/// Does what is to be done until the flow rests.
pub(super) fn rest(flow: &mut Flow, platform: &mut Platform) -> Vec<Tell> {
    let mut tells = Vec::new();
    while let Next::Do(act) = flow.next() {
        let heard = platform.perform(&flow.key(), &act, NOW).expect("nothing is lost");
        tells.extend(flow.heard(heard, NOW));
    }
    tells
}

fn kinds(tells: &[Tell]) -> Vec<String> {
    let kind = |tell: &Tell| match tell {
        Tell::Credit { kind, amount_micros, .. } => format!("{kind} {amount_micros}"),
        Tell::Task { taken, .. } => format!("{:?}", taken.step),
        Tell::Case { kind, .. } => (*kind).to_owned(),
        Tell::Revoked { .. } => "REVOKED".to_owned(),
    };
    tells.iter().map(kind).collect()
}

/// Scenario: a task is estimated at 1,000,000 micros and costs 1,150,000; the buyer pays, declines, or says nothing for fifteen
/// minutes; another costs 800,000.
/// Guarantees: who pays is charged 1,150,000 and who does not 1,000,000, with the events and steps of the one and of the other; of
/// the cheaper task 200,000 are let go; the prompt tells the amount, the queue and the time in both languages while it stands, and
/// an answer after its time is a conflict.
#[test]
fn a_supplement_is_paid_declined_or_forgotten() {
    let settle = |micros| Command::Settle { actual_micros: micros, estimate_id: None };
    for (answer, charged) in
        [(Some(Command::Accept), 1_150_000), (Some(Command::Decline), 1_000_000), (None, 1_000_000)]
    {
        let (mut flow, mut platform) = (task("f-1"), Platform::new(1, 5_000_000));
        rest(&mut flow, &mut platform);
        assert_eq!((flow.state(), flow.amounts().held_micros), ("HELD", 1_000_000));
        let Obeyed::Now(mut tells) = flow.command(settle(1_150_000), NOW) else { panic!("not taken") };
        tells.extend(rest(&mut flow, &mut platform));
        assert_eq!(kinds(&tells), ["SUPPLEMENT_REQUESTED 150000", "SupplementRequired"]);
        let prompt = view::of(&flow).prompt.expect("a prompt");
        assert!(prompt.en.contains("0.15 credits") && prompt.en.contains("normal queue"), "{}", prompt.en);
        assert!(
            prompt.zh.contains("0.15 积分") && prompt.zh.contains("2026-01-01 00:15:00 UTC"),
            "{}",
            prompt.zh
        );
        let paid = answer == Some(Command::Accept);
        let mut told = match answer {
            Some(answer) => match flow.command(answer, NOW + ANSWER - 1) {
                Obeyed::Now(tells) => tells,
                other => panic!("not taken: {other:?}"),
            },
            None => {
                assert_eq!(flow.due_us, Some(NOW + ANSWER));
                assert_eq!(flow.command(Command::Accept, NOW + ANSWER), Obeyed::Refused(Code::FlowConflict));
                flow.expired(NOW + ANSWER)
            }
        };
        told.extend(rest(&mut flow, &mut platform));
        let expected: &[&str] =
            if paid { &["SupplementSettled"] } else { &["SUPPLEMENT_DECLINED 150000", "SupplementSettled"] };
        assert_eq!(kinds(&told), expected);
        assert_eq!((flow.state(), platform.account("t-1").charged), ("SETTLED", charged));
        assert_eq!((view::of(&flow).prompt, flow.error), (None, None));
    }
    let (mut flow, mut platform) = (task("f-2"), Platform::new(1, 5_000_000));
    rest(&mut flow, &mut platform);
    flow.command(settle(800_000), NOW);
    assert_eq!(rest(&mut flow, &mut platform), []);
    assert_eq!((flow.state(), platform.free, platform.account("t-1").held), ("SETTLED", 4_200_000, 0));
}

/// Scenario: the estimate of a task has lapsed by the time it is charged; another wallet is frozen then.
/// Guarantees: the first is charged without naming the estimate; the second is held as before, tells why, and is settled by the
/// same command once the wallet is free.
#[test]
fn a_charge_that_is_refused_loses_nothing() {
    let settle = Command::Settle { actual_micros: 900_000, estimate_id: None };
    for (code, state) in [(Code::EstimateExpired, "CHARGING"), (Code::WalletFrozen, "HELD")] {
        let (mut flow, mut platform) = (task("f-1"), Platform::new(1, 5_000_000));
        rest(&mut flow, &mut platform);
        flow.command(settle.clone(), NOW);
        let key = flow.key();
        flow.heard(Heard::Refused(code), NOW);
        assert_eq!((flow.state(), flow.error), (state, Some(code)));
        if code == Code::WalletFrozen {
            assert!(matches!(flow.command(settle.clone(), NOW), Obeyed::Now(_)));
        }
        assert_ne!(flow.key(), key, "what was refused under a key stays refused under it");
        let named = matches!(flow.next(), Next::Do(act) if format!("{act:?}").contains("estimate_id: Some"));
        assert_eq!(named, code == Code::WalletFrozen);
        rest(&mut flow, &mut platform);
        assert_eq!((flow.state(), platform.account("t-1").charged), ("SETTLED", 900_000));
    }
}

/// Scenario: a task pays for acceleration, and the platform has no place for it; another compensation is refused over and over.
/// Guarantees: the price is the difference of the two estimates and comes back; a compensation that is refused is tried again under
/// other keys, later and later, and never given up.
#[test]
fn what_was_paid_for_nothing_comes_back() {
    let (mut flow, mut platform) = (accelerate("f-1", None), Platform::new(1, 5_000_000));
    assert_eq!(kinds(&rest(&mut flow, &mut platform)), ["AccelerationOffered"]);
    let prompt = view::of(&flow).prompt.expect("an offer");
    assert!(prompt.en.contains("0.5 credits") && prompt.zh.contains("加速队列"), "{prompt:?}");
    // the price holds for ten minutes, the answer might take fifteen
    assert_eq!(flow.due_us, Some(NOW + 600_000_000));
    flow.command(Command::Accept, NOW);
    let Next::Do(act) = flow.next() else { panic!("nothing to do") };
    let heard = platform.perform(&flow.key(), &act, NOW).expect("nothing is lost");
    flow.heard(heard, NOW);
    assert_eq!((flow.state(), platform.account("t-1").charged), ("ACCELERATING", 500_000));
    flow.heard(Heard::Refused(Code::FlowConflict), NOW);
    let (mut keys, mut now_us) = (Vec::new(), NOW);
    for round in 0..12_i64 {
        assert_eq!(flow.state(), "ROLLING_BACK");
        keys.push(flow.key());
        flow.heard(Heard::Refused(Code::WalletUnknown), now_us);
        let pause = flow.due_us.expect("a time") - now_us;
        let longest = (200_000_i64 << round).min(60_000_000);
        assert!(pause >= longest / 2 && pause < longest, "{round}: {pause}");
        now_us += pause;
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 12);
    rest(&mut flow, &mut platform);
    assert_eq!(
        (flow.state(), flow.error, platform.free),
        ("ROLLED_BACK", Some(Code::WalletUnknown), 5_000_000)
    );
    assert!(platform.steps.iter().all(|(_, step)| *step == TaskStep::AccelerationOffered));
}

/// Scenario: a task was charged 100, of which support has given 10 back, and fails; so does one whose hold of 100 was charged up to 60
/// by somebody else. The platform says what is left, or does not.
/// Guarantees: the 90 and the 40 come back either way; the flow says that it gave back 90 of 100, and ends in part.
#[test]
fn what_is_left_comes_back() {
    for says in [true, false] {
        for (state, held, charged, end) in [
            (compute::State::RollingBackCharges, 0, 100, "ROLLED_BACK_IN_PART"),
            (compute::State::RollingBackHold, 100, 0, "ROLLED_BACK"),
        ] {
            let mut flow = task("f-1");
            let Of::Compute(machine) = &mut flow.of else { panic!("another machine") };
            (machine.state, machine.held, machine.charged) = (state, held, charged);
            let (mut left, mut keys) = (if held > 0 { 40 } else { 90 }, Vec::new());
            while let Next::Do(act) = flow.next() {
                let Act::Ask(Ask::Refund(ask)) = *act else { panic!("another act") };
                keys.push(flow.key());
                let heard = match ask.amount_micros > left {
                    true => Heard::Exceeded(says.then_some(left)),
                    false => Heard::Moved,
                };
                left -= if heard == Heard::Moved { ask.amount_micros } else { 0 };
                flow.heard(heard, NOW);
            }
            assert_eq!((flow.state(), left, flow.error), (end, 0, Some(Code::RefundExceedsCharge)));
            assert_eq!((flow.amounts().held_micros, flow.amounts().refunded_micros), (0, charged * 9 / 10));
            assert!(flow.has_ended());
            let asked = keys.len();
            keys.dedup();
            assert!(keys.len() == asked && asked <= if says { 2 } else { 9 }, "{asked} acts");
        }
    }
}

/// Scenario: a case under LIKENESS is reported, whose dictionary gives eight hours; its risk is not said.
/// Guarantees: it is due eight hours after the report, with the risk of the dictionary.
#[test]
fn a_case_has_the_time_of_its_policy() {
    let body = br#"{"about": {"wallet_id": "w", "policy_tag": "LIKENESS", "case_id": "k", "license_id": "l"}, "reporter_id": "u"}"#;
    let start = Start::read(Kind::Moderation, body).expect("a report");
    let service = super::By { id: "svc".to_owned(), role: "SERVICE" };
    let (_, tells) = start.machine(service, NOW);
    assert_eq!(kinds(&tells), ["REPORTED", "QUEUED"]);
    let Tell::Case { due_us, risk_level, .. } = &tells[1] else { panic!("no case") };
    assert_eq!((*due_us, *risk_level), (Some(NOW + 8 * 3_600_000_000), super::RiskLevel::High));
}

/// Scenario: bodies of starts and commands that lack a field, have one too many, or one out of its bounds.
/// Guarantees: each is refused with the field's name; every command that a kind knows can be read, and is what its name says.
#[test]
fn what_is_not_of_the_contract_is_refused() {
    let about = r#""about": {"wallet_id": "w", "policy_tag": "GENERAL_USE", "task_id": "t"}"#;
    let starts = [
        (Kind::Compute, format!(r#"{{{about}, "queue": "NORMAL", "compute_units": 0}}"#), "compute_units"),
        (
            Kind::Compute,
            format!(r#"{{{about}, "queue": "NORMAL", "compute_units": 1, "answer_s": 90000}}"#),
            "answer_s",
        ),
        (Kind::Compute, format!(r#"{{{about}, "compute_units": 1}}"#), "queue"),
        (
            Kind::Acceleration,
            format!(r#"{{{about}, "compute_units": 1, "normal_micros": -1}}"#),
            "normal_micros",
        ),
        (Kind::Acceleration, format!(r#"{{{about}, "compute_units": 1, "more": 1}}"#), "more"),
        (Kind::Moderation, format!(r#"{{{about}, "reporter_id": "u"}}"#), "case_id"),
    ];
    for (kind, body, field) in starts {
        let refused = Start::read(kind, body.as_bytes()).expect_err(&body);
        assert!(refused.detail.contains(field), "{body}: {}", refused.detail);
    }
    let commands = [
        ("settle", "{}"),
        ("settle", r#"{"actual_micros": -1}"#),
        ("refund", r#"{"amount_micros": 0, "reason": "GOODWILL"}"#),
        ("accept", r#"{"yes": true}"#),
        ("accept", ""),
        ("decide", r#"{"decision": "MAYBE", "moderator_id": "m"}"#),
        ("review", r#"{"moderator_id": ""}"#),
    ];
    for (name, body) in commands {
        assert!(Command::read(name, body.as_bytes()).is_err(), "{name} {body}");
    }
    for name in Kind::ALL.into_iter().flat_map(|kind| kind.commands()) {
        let body = match *name {
            "settle" => r#"{"actual_micros": 5}"#,
            "refund" => r#"{"amount_micros": 5, "reason": "GOODWILL"}"#,
            "review" => r#"{"moderator_id": "m"}"#,
            "decide" => r#"{"decision": "APPROVED", "moderator_id": "m"}"#,
            _ => "{}",
        };
        assert_eq!(
            Command::read(name, body.as_bytes()).ok().flatten().map(|command| command.name()),
            Some(*name)
        );
    }
    assert_eq!(Command::read("explode", b"{}").ok(), Some(None));
}
