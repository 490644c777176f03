//! Flows of tasks among the calls of the long run: begun, told what happens to their tasks, and come to their ends whatever is killed.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tally_pipeline::gateway::mock::{Kind, Statement};
use tally_tests::gateway::call;
use tally_tests::service::Answer;

/// For a flow to come to its end.
const END: Duration = Duration::from_secs(180);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(40);
/// What a thousand units of compute are held for at the mock's price in the normal queue, micros.
const HELD: i64 = 1_000_000;

/// The task of a flow that has ended, and what it was to cost.
pub(super) struct Driven {
    task_id: String,
    cost_micros: i64,
}

/// Drives the flow of a task: a third of the tasks fail, a third cost less than was held, and of the rest a part comes back later.
pub(super) fn drive(url: &str, token: &str, (seed, number): (u64, u64), wallet: &str) -> Driven {
    let task_id = format!("flow-{seed}-{number}");
    let about = json!({"wallet_id": wallet, "policy_tag": "BILLING", "task_id": task_id, "user_id": "u-1"});
    let start =
        json!({"about": about, "queue": "NORMAL", "compute_units": 1_000, "answer_s": 600}).to_string();
    let begun = Instant::now();
    let id = until(begun, || {
        let answer = call(url, "/flows/compute", token, &task_id, &start)?;
        assert!(answer.status < 300 || answer.json()["retry"] != "never", "{}", answer.body);
        (answer.status < 300).then(|| answer.json()["id"].as_str().expect("an id").to_owned())
    });
    let tell = |command: &str, body: &Value| {
        // it may come too early, twice, or to a gateway that is about to be killed
        let told = call(url, &format!("/flows/{id}/{command}"), token, "", &body.to_string());
        let told = told.map(|answer| answer.code()).unwrap_or_default();
        assert!(["", "flow_conflict", "overloaded"].contains(&told.as_str()), "{command}: {told}");
    };
    let cost_micros = until(begun, || {
        let seen = look(url, token, &id)?.json();
        match (seen["state"].as_str()?, number % 3) {
            ("HELD", 0) => tell("fail", &json!({})),
            ("HELD", _) => tell("settle", &json!({"actual_micros": HELD / 10 * 8})),
            ("SETTLED", 2) => tell("refund", &json!({"amount_micros": HELD / 10 * 3, "reason": "GOODWILL"})),
            ("ROLLED_BACK", _) => return Some(0),
            ("SETTLED", _) => return Some(HELD / 10 * 8),
            ("REFUNDED", _) => return Some(HELD / 10 * 5),
            _ => {}
        }
        None
    });
    Driven { task_id, cost_micros }
}

/// Asks again and again.
fn until<T>(begun: Instant, mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(begun.elapsed() < END, "a flow has no end");
        std::thread::sleep(PAUSE);
    }
}

/// The flow, if the gateway is there.
fn look(url: &str, token: &str, id: &str) -> Option<Answer> {
    let request = ureq::get(format!("{url}/flows/{id}")).header("authorization", format!("Bearer {token}"));
    let request = request.config().timeout_global(Some(END)).http_status_as_error(false).proxy(None).build();
    let mut response = request.call().ok()?;
    let body = response.body_mut().read_to_string().ok()?;
    let answer = Answer { status: response.status().as_u16(), headers: response.headers().clone(), body };
    (answer.status == 200).then_some(answer)
}

/// Each task has cost at the platform what it was to cost, and nothing is held for it.
pub(super) fn costs_are_right(statement: &Statement, driven: &[Driven]) {
    assert!(!driven.is_empty());
    for Driven { task_id, cost_micros } in driven {
        let of = || statement.movements.iter().filter(|moved| moved.task_id.as_ref() == Some(task_id));
        let cost: i64 = of()
            .map(|moved| match moved.kind {
                Kind::Charge | Kind::Supplement => moved.amount_micros,
                Kind::Refund => -moved.amount_micros,
                _ => 0,
            })
            .sum();
        let held = of().next_back().map(|moved| moved.held_after_micros);
        assert_eq!((cost, held), (*cost_micros, Some(0)), "{task_id}: {:?}", of().collect::<Vec<_>>());
    }
}
