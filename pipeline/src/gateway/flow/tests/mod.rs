//! The machines, held against a platform of few lines that keeps accounts of its own.

mod platform;
mod revocation;
mod table;
mod times;
mod walks;

use super::acceleration::Acceleration;
use super::compute::{Compute, Times};
use super::events;
use super::life::{Begun, Flow, Of};
use super::machine::{By, Tell};
use super::moderation::{Moderation, ReporterRole, RiskLevel};
use crate::gateway::contract::{About, Queue};
use std::collections::BTreeMap;
use tally_schemas::{Checker, Topic};

/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600_000_000;
/// Seconds that a buyer has, in microseconds.
const ANSWER: i64 = 900_000_000;
/// A week for which credits are held, in microseconds.
const HOLD: i64 = 604_800_000_000;
/// Bytes of an event's value.
const VALUE_BYTES_MAX: usize = 1 << 20;

fn about() -> About {
    About {
        wallet_id: "w-1".to_owned(),
        policy_tag: "LIKENESS".to_owned(),
        task_id: Some("t-1".to_owned()),
        user_id: Some("u-1".to_owned()),
        creator_id: Some("c-1".to_owned()),
        license_id: Some("l-1".to_owned()),
        template_id: Some("m-1".to_owned()),
        case_id: Some("k-1".to_owned()),
        ..About::default()
    }
}

fn flow(id: &str, of: Of) -> Flow {
    let begun = Begun {
        id: id.to_owned(),
        caller: "svc-tasks".to_owned(),
        role: "SERVICE".to_owned(),
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
        digest: "d".to_owned(),
        about: about(),
        of,
    };
    Flow::begin(begun, NOW)
}

fn compute(id: &str) -> Flow {
    flow(id, Of::Compute(Compute::new(Queue::Normal, 1_000, Times { answer_us: ANSWER, hold_us: HOLD })))
}

fn acceleration(id: &str, normal: Option<i64>) -> Flow {
    flow(id, Of::Acceleration(Acceleration::new(normal, 1_000, ANSWER)))
}

fn moderation(id: &str) -> (Flow, Vec<Tell>) {
    let service = By { id: "svc-moderation".to_owned(), role: "SERVICE" };
    let reporter = ("u-2".to_owned(), ReporterRole::Buyer);
    let (machine, tells) = Moderation::report(&about(), RiskLevel::High, reporter, service, NOW);
    (flow(id, Of::Moderation(machine)), tells)
}

/// Encodes events as they are sent and holds them against the rules of their contracts, as the route does.
struct Judge(BTreeMap<&'static str, Checker>);

impl Judge {
    fn new() -> Judge {
        Judge(
            Topic::ALL
                .into_iter()
                .map(|topic| (topic.name(), Checker::new(topic, VALUE_BYTES_MAX)))
                .collect(),
        )
    }

    /// Panics where one of them is no event of its contract.
    fn judge(&mut self, flow: &Flow, tells: &[Tell], now_us: i64) {
        for tell in tells {
            let kept = events::encode(flow, tell, now_us).unwrap_or_else(|error| panic!("{tell:?}: {error}"));
            assert!(!kept.key.is_empty(), "{tell:?} has no key");
            let checker = self.0.get_mut(kept.contract.name()).expect("a checker of every topic");
            let judged = checker.check(&kept.value, now_us / 1_000);
            assert!(
                judged.is_ok(),
                "{tell:?}: {}",
                judged.err().map(|fault| fault.sentence).unwrap_or_default()
            );
        }
    }
}
