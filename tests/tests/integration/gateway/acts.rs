//! Steps of tasks and revocations, for which there is no call: each attempt at them is an event, too, and they have a circuit of their own.

use super::flows::{END, Scene, about, compute, settle};
use super::killed::attempts_are_events;
use serde_json::json;
use tally_pipeline::gateway::mock::{Faults, Script};
use tally_tests::eventually;

const STEPS: &str = "/tasks/transitions";

/// A platform on which this goes wrong with steps, and nothing else.
fn steps(faults: Faults) -> Script {
    Script { paths: [(STEPS.to_owned(), faults)].into(), ..Script::default() }
}

/// One row of what ClickHouse has of attempts at steps.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Attempted {
    attempt: i64,
    outcome: String,
    status: i64,
    code: String,
}

/// Those at the step of a state, in the order of their numbers.
fn attempted(scene: &Scene<'_>, wallet: &str, state: &str) -> Vec<Attempted> {
    let sql = format!(
        "SELECT attempt, toString(outcome) AS outcome, ifNull(http_status, 0) AS status, error_code AS code FROM credit_events_final \
         WHERE kind = 'ATTEMPTED' AND endpoint = 'TASKS_TRANSITIONS' AND wallet_id = '{wallet}' AND task_id != '' \
         AND match(idempotency_key, '^gateway-flow:.*:{state}-') AND actor_id = 'gateway-flow' ORDER BY attempt"
    );
    scene.stage.database.rows(&sql)
}

fn one(attempt: i64, outcome: &str, status: i64, code: &str) -> Attempted {
    Attempted { attempt, outcome: outcome.to_owned(), status, code: code.to_owned() }
}

/// Scenario: a step of a task hangs, and the gateway is killed meanwhile; then the platform errs once it is asked for the next step.
/// Guarantees: the attempt that nobody has seen to its end is an event that says so, the one that came after it has the next number;
/// each attempt is one event and one count, and the flow comes to its end.
#[test]
fn an_attempt_at_a_step_is_an_event_whatever_is_killed() {
    let patient = ["--attempt-ms-max", "60000", "--call-ms-max", "60000"];
    let mut scene = Scene::new("acts-killed", &patient);
    scene.task("a");
    let flow = scene.start("compute", "k", &compute("a", 600));
    scene.comes_to(&flow, "HELD");
    scene.platform.play(&steps(Faults { hang_before: 1_000, ..Faults::default() }));
    scene.tell(&flow, "settle", &settle(1_200_000));
    let arrived = || {
        let receipts = scene.platform.statement().receipts;
        receipts.into_iter().find(|receipt| receipt.path == STEPS && receipt.key.starts_with("gateway-flow:"))
    };
    let receipt = eventually(END, "a step that hangs", arrived);
    assert_eq!((receipt.attempt.as_str(), receipt.executed), ("1", 0));
    scene.gateway.kill_and_restart();
    let again = || arrived_twice(&scene, &receipt.key);
    eventually(END, "the step once more", again);
    scene.platform.play(&Script::default()); // what hangs goes on hanging; what comes after it does not
    scene.gateway.kill_and_restart();
    scene.comes_to(&flow, "SUPPLEMENT_PROMPTED");
    scene.platform.play(&steps(Faults { error: 1_000, ..Faults::default() }));
    scene.tell(&flow, "accept", &json!({}));
    let errs = r#"tally_gateway_attempts_total{code="upstream_unavailable",endpoint="TASKS_TRANSITIONS",outcome="ERROR"}"#;
    let met =
        eventually(END, "a step that fails", || Some(scene.gateway.metric(errs)).filter(|met| *met > 0.0));
    assert!(met >= 1.0);
    scene.platform.play(&Script::default());
    scene.comes_to(&flow, "SETTLED");
    let went = r#"tally_gateway_attempts_total{code="",endpoint="TASKS_TRANSITIONS",outcome="OK"}"#;
    let (went, erred) = (scene.gateway.metric(went), scene.gateway.metric(errs));
    scene.close();
    let stopped = |number| one(number, "ERROR", 0, "adapter_stopped");
    assert_eq!(
        attempted(&scene, "w-a", "supplement_requested"),
        [stopped(1), stopped(2), one(3, "OK", 200, "")],
        "{}",
        scene.stage.reasons()
    );
    let charged = attempted(&scene, "w-a", "supplement_charged");
    let (last, failed) = charged.split_last().expect("attempts at the second step");
    let numbers: Vec<i64> = charged.iter().map(|row| row.attempt).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    assert_eq!((last.outcome.as_str(), last.status), ("OK", 200));
    assert!(failed.iter().all(|row| row.code == "upstream_unavailable" && row.outcome == "ERROR"));
    // the process that lived to see them counts what it saw
    assert_eq!((went, erred), (2.0, failed.len() as f64));
    attempts_are_events(&scene.stage, &scene.platform.statement(), "gateway-flow:");
}

fn arrived_twice(scene: &Scene<'_>, key: &str) -> Option<()> {
    let receipts = scene.platform.statement().receipts;
    receipts.iter().any(|receipt| receipt.key == key && receipt.attempt == "2").then_some(())
}

/// Scenario: the platform errs on every step of a task, for flows of twelve tasks; then it is well.
/// Guarantees: it is left alone with steps, and with nothing else; then each flow goes on; every attempt is an event, and what was
/// not sent is none.
#[test]
fn steps_have_a_circuit_of_their_own() {
    let mut scene = Scene::new("acts-circuit", &[]);
    let names: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
    names.iter().for_each(|name| scene.task(name));
    let flows: Vec<_> = names.iter().map(|name| scene.start("compute", name, &compute(name, 600))).collect();
    flows.iter().for_each(|flow| _ = scene.comes_to(flow, "HELD"));
    scene.platform.play(&steps(Faults { error: 1_000, ..Faults::default() }));
    std::thread::scope(|scope| {
        let scene = &scene;
        flows.iter().for_each(|flow| _ = scope.spawn(move || scene.tell(flow, "settle", &settle(1_200_000))));
    });
    let open = |endpoint: &str| {
        scene.gateway.metric(&format!("tally_gateway_circuit_open{{endpoint=\"{endpoint}\"}}"))
    };
    eventually(END, "an open circuit", || (open("TASKS_TRANSITIONS") > 0.0).then_some(()));
    let estimate = json!({"about": about("c0"), "queue": "NORMAL", "compute_units": 1_000});
    let token = scene.gateway.token("scheduler", "credits:estimate");
    let answer = scene.gateway.call("/credits/estimate", &token, "", &estimate).expect("an answer");
    assert_eq!((answer.status, open("CREDITS_ESTIMATE"), open("CREDITS_CHARGE")), (200, 0.0, 0.0));
    scene.platform.play(&Script::default());
    flows.iter().for_each(|flow| _ = scene.comes_to(flow, "SUPPLEMENT_PROMPTED"));
    scene.close();
    attempts_are_events(&scene.stage, &scene.platform.statement(), "gateway-flow:");
    let unsent = "SELECT count() FROM credit_events_final WHERE endpoint = 'TASKS_TRANSITIONS' AND error_code = 'circuit_open'";
    assert_eq!(scene.stage.number(unsent), 0, "{}", scene.stage.reasons());
}
