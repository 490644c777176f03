//! What a flow wants done at the platform, done once: through the four calls, or past them where there is no call.

use super::life::Flow;
use super::machine::{Fell, Heard};
use super::moderation::about_task;
use crate::gateway::answer::Answer;
use crate::gateway::ask::{Caller, Gateway, Told};
use crate::gateway::code::{Code, Problem, Retry};
use crate::gateway::contract::{AMOUNT_MICROS_MAX, About, Ask, ID_BYTES_MAX, parse};
use crate::gateway::platform::{RevokeRequest, RunningTask, Transition, TransitionRequest};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value as Json;
use std::time::Duration;

/// As whom flows call: their keys are apart from those of callers, and events name it as the actor.
pub(in crate::gateway) const CALLER: &str = "gateway-flow";

/// How trying an act ended.
#[derive(Debug)]
pub(super) enum Tried {
    Heard(Heard),
    /// Nobody knows, or it was not done: once more under the same key, not before that time has gone by.
    Again(Duration),
}

/// Tries one of the four calls, whose attempts are written down as those of any caller.
pub(super) async fn call(gateway: &Gateway, flow: &Flow, ask: Ask) -> Tried {
    if gateway.inner.store.is_full() {
        return Tried::Again(Duration::ZERO); // no act without its events
    }
    let caller = Caller { subject: CALLER.to_owned(), role: "SERVICE", scopes: Vec::new() };
    let key = Some(flow.key()).filter(|_| ask.endpoint().moves_money());
    let told = gateway.ask(&caller, key.as_deref(), ask.clone(), flow.trace_id.clone()).await;
    answered(&ask, &told)
}

/// What the gateway told of one of the four calls.
fn answered(ask: &Ask, told: &Told) -> Tried {
    let wait = Duration::from_secs(told.retry_after_s.unwrap_or(0));
    if told.status == StatusCode::OK.as_u16() {
        return match Answer::read(ask, &told.body) {
            Some(Answer::Estimate(estimate)) => Tried::Heard(Heard::Estimated(estimate)),
            Some(Answer::Charge(_) | Answer::Refund(_)) => Tried::Heard(Heard::Moved),
            Some(Answer::Check(_)) | None => Tried::Again(wait), // it was read once already: it does not come here
        };
    }
    match serde_json::from_slice::<Problem>(&told.body) {
        Ok(problem) if problem.code == Code::RefundExceedsCharge => {
            Tried::Heard(Heard::Exceeded(problem.remaining_micros))
        }
        Ok(problem) if problem.code.retry() == Retry::Never => Tried::Heard(Heard::Refused(problem.code)),
        Ok(_) | Err(_) => Tried::Again(wait),
    }
}

/// The answer to a step.
pub(super) fn stepped(asked: &TransitionRequest, body: &[u8]) -> Option<Heard> {
    let taken: Transition = parse(body).ok()?;
    let fits = Some(&taken.task_id) == asked.about.task_id.as_ref()
        && taken.step == asked.step
        && taken.state_version >= 1;
    fits.then_some(Heard::Stepped(taken))
}

/// A revocation whose tasks are not read yet.
#[derive(Deserialize)]
struct Unread {
    license_id: String,
    tasks: Vec<Json>,
}

/// The answer to a revocation. Each task is judged by itself: one that cannot be read keeps no other from being paused and paid back.
pub(super) fn revoked(asked: &RevokeRequest, body: &[u8]) -> Option<Heard> {
    let unread: Unread = parse(body).ok()?;
    if Some(&unread.license_id) != asked.about.license_id.as_ref() {
        return None;
    }
    let mut fell = Fell::default();
    for (place, task) in unread.tasks.into_iter().enumerate() {
        let id = task["task_id"].as_str().filter(|id| is_id(id)).map(str::to_owned);
        match serde_json::from_value(task).ok().filter(|task| is_good(&asked.about, task)) {
            Some(task) => fell.tasks.push(task),
            None => fell.odd.push(id.unwrap_or_else(|| format!("(number {} of the answer)", place + 1))),
        }
    }
    Some(Heard::Revoked(fell))
}

fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_good(about: &About, task: &RunningTask) -> bool {
    let amounts = 0..=AMOUNT_MICROS_MAX;
    about_task(about, task).check().is_ok()
        && amounts.contains(&task.held_micros)
        && amounts.contains(&task.charged_micros)
}

#[cfg(test)]
mod tests {
    use super::{revoked, stepped};
    use crate::gateway::code::{Code, Problem};
    use crate::gateway::contract::{About, Endpoint};
    use crate::gateway::flow::machine::Heard;
    use crate::gateway::platform::{RevokeRequest, TaskStep, TransitionRequest};
    use crate::gateway::upstream::{self, Raw, judge};
    use axum::http::StatusCode;
    use serde_json::json;

    fn heard(status: u16, body: &serde_json::Value) -> Option<Heard> {
        let about = About { task_id: Some("t-1".to_owned()), ..About::default() };
        let asked = TransitionRequest { about, step: TaskStep::Paused, queue: None };
        let status = StatusCode::from_u16(status).expect("a status");
        let raw = Raw::Answer { status, retry_after: None, body: Some(body.to_string().into()) };
        match judge(Endpoint::TasksTransitions, raw, |body| stepped(&asked, &body)).heard {
            upstream::Heard::Done(heard) => Some(heard),
            upstream::Heard::Refused(code) => Some(Heard::Refused(code)),
            upstream::Heard::NotDone | upstream::Heard::Unknown => None,
        }
    }

    /// Scenario: a step is answered as asked, for another task, for another step, without a version, with refusals known and
    /// unknown, with pages of a proxy, with errors, and not at all.
    /// Guarantees: only the first is done; only a 4xx with a problem document of the contract whose code is about the deed is a refusal;
    /// everything else is tried again under the same key.
    #[test]
    fn only_what_is_certain_counts() {
        let good = json!({"task_id": "t-1", "step": "PAUSED", "state_version": 4, "queue": "NORMAL"});
        assert!(matches!(heard(200, &good), Some(Heard::Stepped(taken)) if taken.state_version == 4));
        for (field, value) in
            [("task_id", json!("t-2")), ("step", json!("RESUMED")), ("state_version", json!(0))]
        {
            let mut wrong = good.clone();
            wrong[field] = value;
            assert_eq!(heard(200, &wrong), None, "{field}");
        }
        let problem = |code| serde_json::to_value(Problem::new(code)).expect("JSON");
        assert_eq!(heard(409, &problem(Code::FlowConflict)), Some(Heard::Refused(Code::FlowConflict)));
        assert_eq!(heard(404, &problem(Code::NotFound)), Some(Heard::Refused(Code::NotFound)));
        let mut unknown = problem(Code::FlowConflict);
        (unknown["type"], unknown["code"]) = (json!("urn:tally:problem:moon_phase"), json!("moon_phase"));
        assert_eq!(heard(409, &unknown), None);
        assert_eq!(heard(403, &problem(Code::ScopeMissing)), None);
        unknown["type"] = json!("about:blank");
        for (status, page) in [(404, json!("<html>not found</html>")), (403, json!({})), (409, unknown)] {
            assert_eq!(heard(status, &page), None, "{status} {page}");
        }
        for status in [201, 302, 401, 408, 429, 500, 503] {
            assert_eq!(heard(status, &problem(Code::Internal)), None, "{status}");
        }
        for raw in [Raw::Late, Raw::Broken] {
            let judged = judge(Endpoint::LicensesRevoke, raw, |_| Some(()));
            assert!(matches!(judged.heard, upstream::Heard::Unknown), "{judged:?}");
        }
    }

    /// Scenario: a revocation tells of 2,000 tasks, and of some more: with a tag outside the dictionary, an id too long, a charge below
    /// 0, no wallet, and one that is no task at all. Another is told of another licence.
    /// Guarantees: the 2,000 are heard, the others are named by their ids, or by their places where they have none that is one; what is
    /// said of another licence is not heard.
    #[test]
    fn one_odd_task_hides_no_other() {
        let task = |id: &str| {
            json!({
                "task_id": id, "wallet_id": "w-1", "user_id": "u-1", "audience": "CUSTOMER", "policy_tag": "GENERAL_USE",
                "queue": "NORMAL", "held_micros": 3, "charged_micros": 4,
            })
        };
        let with = |id: &str, field: &str, value: serde_json::Value| {
            let mut task = task(id);
            task[field] = value;
            task
        };
        let mut tasks: Vec<_> = (0..2_000).map(|number| task(&format!("t-{number}"))).collect();
        tasks.insert(0, with("odd-tag", "policy_tag", json!("NEVER_HEARD_OF")));
        tasks.insert(1_000, with(&"x".repeat(257), "held_micros", json!(1)));
        tasks.push(with("odd-charge", "charged_micros", json!(-1)));
        tasks.push(with("odd-wallet", "wallet_id", json!(null)));
        tasks.push(json!(17));
        let about = About {
            wallet_id: "w-0".to_owned(),
            policy_tag: "LIKENESS".to_owned(),
            license_id: Some("l-1".to_owned()),
            ..About::default()
        };
        let asked = RevokeRequest { about, moderator_id: "m-1".to_owned() };
        let read = |license: &str| {
            let body = json!({"license_id": license, "tasks": tasks}).to_string();
            revoked(&asked, body.as_bytes())
        };
        let Some(Heard::Revoked(fell)) = read("l-1") else { panic!("not heard") };
        assert_eq!(fell.tasks.len(), 2_000);
        assert!((0..2_000).all(|number| fell.tasks[number].task_id == format!("t-{number}")));
        let named = [
            "odd-tag",
            "(number 1001 of the answer)",
            "odd-charge",
            "odd-wallet",
            "(number 2005 of the answer)",
        ];
        assert_eq!((fell.odd.count, fell.odd.first), (5, named.map(str::to_owned).to_vec()));
        assert_eq!(read("l-2"), None);
    }
}
