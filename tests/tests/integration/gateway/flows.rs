//! Flows through the gateway: begun, told, killed in the middle; the mock platform's books and the events in ClickHouse afterwards.

use super::killed::attempts_are_events;
use serde_json::{Value, json};
use std::time::Duration;
use tally_pipeline::gateway::mock::{Faults, Kind, Script};
use tally_tests::gateway::{FLOW_SCOPES, Gateway};
use tally_tests::service::Answer;
use tally_tests::{MockPlatform, Stage, eventually};

/// For a flow to come where it is going, whatever is in its way.
pub(super) const END: Duration = Duration::from_secs(120);
/// Credits in a wallet at first, micros.
const CREDITS: i64 = 10_000_000;
/// A thousand units of compute at the mock's price in the normal queue, micros.
const ESTIMATE: i64 = 1_000_000;

pub(super) fn about(name: &str) -> Value {
    json!({
        "wallet_id": format!("w-{name}"), "policy_tag": "GENERAL_USE", "task_id": format!("t-{name}"),
        "user_id": format!("u-{name}"), "license_id": "l-1", "template_id": "tp-1", "creator_id": "c-1",
    })
}

pub(super) fn compute(name: &str, answer_s: u32) -> Value {
    json!({"about": about(name), "queue": "NORMAL", "compute_units": 1_000, "answer_s": answer_s})
}

/// A stage, a platform, a gateway between them, and a caller.
pub(super) struct Scene<'a> {
    pub(super) stage: Stage<'a>,
    pub(super) platform: MockPlatform,
    pub(super) gateway: Gateway,
    token: String,
}

impl Scene<'_> {
    pub(super) fn new(name: &str, more: &[&str]) -> Scene<'static> {
        let stage = Stage::shared(name);
        let platform = MockPlatform::start(&[]);
        let gateway = Gateway::start(&stage, &platform, more);
        let token = gateway.token("scheduler", FLOW_SCOPES);
        Scene { stage, platform, gateway, token }
    }

    /// A wallet with credits, and a task that runs: its first three steps are the platform's own.
    pub(super) fn task(&self, name: &str) {
        self.platform.grant(&format!("w-{name}"), CREDITS);
        for (place, step) in ["SUBMITTED", "QUEUED", "STARTED"].into_iter().enumerate() {
            let body = json!({"about": about(name), "step": step, "queue": "NORMAL"});
            let taken = self.platform.call("/tasks/transitions", &format!("{name}-{place}"), 1, &body);
            assert_eq!(taken.status, 200, "{}", taken.body);
        }
    }

    fn post(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.gateway.call(path, &self.token, key, body).expect("an answer of the gateway")
    }

    pub(super) fn start(&self, kind: &str, key: &str, body: &Value) -> Value {
        let answer = self.post(&format!("/flows/{kind}"), key, body);
        assert!([200, 202].contains(&answer.status), "{}", answer.body);
        answer.json()
    }

    pub(super) fn tell(&self, flow: &Value, command: &str, body: &Value) -> Value {
        let id = flow["id"].as_str().expect("an id");
        let answer = self.post(&format!("/flows/{id}/{command}"), "", body);
        assert!([200, 202].contains(&answer.status), "{command}: {}", answer.body);
        answer.json()
    }

    fn look(&self, flow: &Value) -> Answer {
        let id = flow["id"].as_str().expect("an id");
        self.gateway.get(&format!("/flows/{id}"), &self.token)
    }

    pub(super) fn comes_to(&self, flow: &Value, state: &str) -> Value {
        eventually(END, &format!("a flow that is {state}"), || {
            let seen = self.look(flow).json();
            (seen["state"] == state).then_some(seen)
        })
    }

    /// What moved in a wallet after its grant: kinds and amounts in order, by the platform's books.
    fn moved(&self, name: &str) -> Vec<(Kind, i64)> {
        let movements = self.platform.statement().movements.into_iter();
        let of =
            movements.filter(|moved| moved.wallet_id == format!("w-{name}") && moved.kind != Kind::Grant);
        of.map(|moved| (moved.kind, moved.amount_micros)).collect()
    }

    /// Balance and held credits of a wallet.
    fn wallet(&self, name: &str) -> (i64, i64) {
        let statement = self.platform.statement();
        let wallet = &statement.wallets[&format!("w-{name}")];
        (wallet.balance_micros, wallet.held_micros)
    }

    /// Stops the gateway and brings all events to ClickHouse.
    pub(super) fn close(&mut self) {
        self.gateway.settled(END);
        self.gateway.stop();
        self.stage.catch_up(&[]);
    }

    /// The kinds of a topic's events under a condition, in the order of their times.
    fn kinds(&self, table: &str, condition: &str) -> Vec<String> {
        let sql = format!(
            "SELECT toString(kind) AS kind FROM {table}_final WHERE source = 'gateway' AND toString(kind) <> 'ATTEMPTED' AND {condition} ORDER BY occurred_at, offset"
        );
        let rows: Vec<Value> = self.stage.database.rows(&sql);
        rows.iter().map(|row| row["kind"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn state(flow: &Value) -> &str {
    flow["state"].as_str().unwrap_or_default()
}

pub(super) fn settle(micros: i64) -> Value {
    json!({"actual_micros": micros})
}

/// Scenario: four tasks are estimated and held; one costs less, one more and the buyer pays, of one the buyer says nothing for two
/// seconds, one fails; one is forgotten while it is held. The first is refunded in part later, twice. Then what does not fit: the key again, another body, commands at the
/// wrong moment and of other kinds, another caller, a token without the scope, a wallet with too little in it.
/// Guarantees: the platform's books say exactly what each has cost and nothing is left held; the events in ClickHouse tell each step
/// in its order, versions of the task without a gap; answers name states and codes.
#[test]
fn credits_of_tasks_are_held_charged_topped_up_and_given_back() {
    let mut scene = Scene::new("flows-compute", &[]);
    ["less", "more", "late", "fail"].iter().for_each(|name| scene.task(name));
    let held = |name: &str| {
        let flow = scene.start(
            "compute",
            &format!("k-{name}"),
            &compute(name, if name == "late" { 2 } else { 600 }),
        );
        let flow = scene.comes_to(&flow, "HELD");
        assert_eq!(flow["amounts"]["held_micros"], ESTIMATE);
        flow
    };
    let less = held("less");
    scene.tell(&less, "settle", &settle(800_000));
    scene.comes_to(&less, "SETTLED");
    assert_eq!(
        scene.moved("less"),
        [(Kind::Hold, ESTIMATE), (Kind::Charge, 800_000), (Kind::Release, 200_000)]
    );
    scene.tell(&less, "refund", &json!({"amount_micros": 300_000, "reason": "GOODWILL"}));
    scene.comes_to(&less, "REFUNDED");
    assert_eq!(scene.wallet("less"), (CREDITS - 500_000, 0));
    scene.tell(&less, "refund", &json!({"amount_micros": 100_000, "reason": "GOODWILL"}));
    eventually(END, "a further refund", || (scene.wallet("less") == (CREDITS - 400_000, 0)).then_some(()));
    let more = held("more");
    scene.tell(&more, "settle", &settle(1_200_000));
    let asked = scene.comes_to(&more, "SUPPLEMENT_PROMPTED");
    let prompt = &asked["prompt"];
    assert!(prompt["en"].as_str().is_some_and(|text| text.contains("0.2 credits")), "{asked}");
    assert!(prompt["zh"].as_str().is_some_and(|text| text.contains("0.2 积分")), "{asked}");
    assert!(prompt["expires_at"].is_string(), "{asked}");
    scene.tell(&more, "accept", &json!({}));
    scene.comes_to(&more, "SETTLED");
    assert_eq!(scene.wallet("more"), (CREDITS - 1_200_000, 0));
    let late = held("late");
    scene.tell(&late, "settle", &settle(1_200_000));
    let settled = scene.comes_to(&late, "SETTLED"); // nobody answers
    assert_eq!(
        (scene.wallet("late"), &settled["amounts"]["asked_micros"]),
        ((CREDITS - ESTIMATE, 0), &json!(200_000))
    );
    let failed = held("fail");
    scene.tell(&failed, "fail", &json!({}));
    scene.comes_to(&failed, "ROLLED_BACK");
    assert_eq!(
        (scene.moved("fail"), scene.wallet("fail")),
        (vec![(Kind::Hold, ESTIMATE), (Kind::Release, ESTIMATE)], (CREDITS, 0))
    );
    scene.task("forgotten");
    let mut brief = compute("forgotten", 600);
    brief["hold_s"] = json!(1);
    let forgotten = scene.start("compute", "k-forgotten", &brief);
    let forgotten = scene.comes_to(&forgotten, "ROLLED_BACK");
    assert_eq!((&forgotten["error"], scene.wallet("forgotten")), (&json!("hold_expired"), (CREDITS, 0)));
    refusals(&scene, &less);
    scene.close();
    let credit = |name: &str| scene.kinds("credit_events", &format!("wallet_id = 'w-{name}'"));
    assert_eq!(
        credit("less"),
        ["ESTIMATED", "HELD", "CHARGED", "ROLLED_BACK", "REFUNDED", "REFUNDED"],
        "{}",
        scene.stage.reasons()
    );
    assert_eq!(
        credit("more"),
        ["ESTIMATED", "HELD", "CHARGED", "SUPPLEMENT_REQUESTED", "SUPPLEMENT_CHARGED"]
    );
    assert_eq!(
        credit("late"),
        ["ESTIMATED", "HELD", "CHARGED", "SUPPLEMENT_REQUESTED", "SUPPLEMENT_DECLINED"]
    );
    assert_eq!(credit("fail"), ["ESTIMATED", "HELD", "ROLLED_BACK"]);
    for name in ["more", "late"] {
        let steps = scene.kinds("task_events", &format!("task_id = 't-{name}' AND state_version IN (4, 5)"));
        assert_eq!(steps, ["SUPPLEMENT_REQUIRED", "SUPPLEMENT_SETTLED"]);
    }
}

/// What does not fit, of the flow that was refunded and of others.
fn refusals(scene: &Scene<'_>, refunded: &Value) {
    let again = scene.post("/flows/compute", "k-less", &compute("less", 600));
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, "true"));
    assert_eq!((&again.json()["id"], state(&again.json())), (&refunded["id"], "REFUNDED"));
    let code = |path: &str, key: &str, body: &Value| scene.post(path, key, body).code();
    assert_eq!(code("/flows/compute", "k-less", &compute("less", 3)), "idempotency_conflict");
    assert_eq!(code("/flows/compute", "", &compute("less", 600)), "idempotency_key_missing");
    assert_eq!(
        code("/flows/laundry", "k", &compute("less", 600)),
        "method_not_allowed",
        "flows are looked at there"
    );
    let id = refunded["id"].as_str().expect("an id");
    assert_eq!(code(&format!("/flows/{id}/review"), "", &json!({"moderator_id": "m"})), "not_found");
    let twice = scene.post(
        &format!("/flows/{id}/refund"),
        "",
        &json!({"amount_micros": 300_000, "reason": "GOODWILL"}),
    );
    assert_eq!(
        (twice.status, state(&twice.json())),
        (200, "REFUNDED"),
        "the same command twice is the state that is"
    );
    let conflict = scene.post(&format!("/flows/{id}/accept"), "", &json!({}));
    let detail = conflict.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert_eq!((conflict.status, conflict.code().as_str()), (409, "flow_conflict"));
    assert!(detail.ends_with("the flow is REFUNDED, which takes: refund"), "{detail}");
    let call = |token: &str| {
        let path = format!("/flows/{id}/fail");
        scene.gateway.call(&path, token, "", &json!({})).expect("an answer").code()
    };
    assert_eq!(call(&scene.gateway.token("another", FLOW_SCOPES)), "not_found");
    assert_eq!(call(&scene.gateway.token("scheduler", "flows:moderation")), "scope_missing");
    assert_eq!(call(&scene.gateway.token("scheduler", "credits:charge")), "scope_missing");
    scene.platform.grant("w-poor", ESTIMATE - 1);
    let poor = scene.start("compute", "k-poor", &compute("poor", 2));
    let poor = scene.comes_to(&poor, "REFUSED");
    assert_eq!(poor["error"], "hold_failed");
    assert!(poor["error_text"]["zh"].as_str().is_some_and(|text| text.contains("1 积分")), "{poor}");
}

/// Scenario: three tasks are offered a place in the accelerated queue: one takes it and gives it back, one declines, one takes it
/// after it was ended.
/// Guarantees: the first pays the difference of the two estimates and gets it back; the second pays nothing; the third is charged,
/// refused by the platform, and paid back; no task is told that it was rolled back.
#[test]
fn a_place_in_the_queue_is_paid_or_given_back() {
    let mut scene = Scene::new("flows-acceleration", &[]);
    ["takes", "declines", "ended"].iter().for_each(|name| scene.task(name));
    let offered = |name: &str, normal: Option<i64>| {
        let mut body = json!({"about": about(name), "compute_units": 1_000});
        if let Some(normal) = normal {
            body["normal_micros"] = json!(normal);
        }
        let flow = scene.start("acceleration", &format!("k-{name}"), &body);
        scene.comes_to(&flow, "OFFERED")
    };
    let takes = offered("takes", None);
    assert!(takes["prompt"]["en"].as_str().is_some_and(|text| text.contains("0.5 credits")), "{takes}");
    scene.tell(&takes, "accept", &json!({}));
    scene.comes_to(&takes, "ACCELERATED");
    assert_eq!(scene.wallet("takes"), (CREDITS - 500_000, 0));
    scene.tell(&takes, "rollback", &json!({}));
    scene.comes_to(&takes, "ROLLED_BACK");
    let declines = offered("declines", Some(ESTIMATE));
    let declined = scene.tell(&declines, "decline", &json!({}));
    assert_eq!((state(&declined), scene.moved("declines")), ("DECLINED", vec![]));
    let ended = offered("ended", Some(900_000));
    let step = json!({"about": about("ended"), "step": "SUCCEEDED"});
    assert_eq!(scene.platform.call("/tasks/transitions", "ended", 1, &step).status, 200);
    scene.tell(&ended, "accept", &json!({}));
    let back = scene.comes_to(&ended, "ROLLED_BACK");
    assert_eq!(back["error"], "flow_conflict");
    assert_eq!(scene.moved("ended"), [(Kind::Acceleration, 600_000), (Kind::Refund, 600_000)]);
    assert_eq!([scene.wallet("takes"), scene.wallet("ended")], [(CREDITS, 0); 2]);
    scene.close();
    let steps = |name: &str| scene.kinds("task_events", &format!("task_id = 't-{name}'"));
    assert_eq!(steps("takes"), ["ACCELERATION_OFFERED", "ACCELERATED"], "{}", scene.stage.reasons());
    assert_eq!(steps("ended"), ["ACCELERATION_OFFERED"]);
    let reasons = "kind = 'REFUNDED' AND toString(refund_reason) = 'ROLLBACK'";
    assert_eq!(scene.kinds("credit_events", reasons).len(), 2);
}

/// Scenario: a licence is reported under which one task runs with held credits, one with charged ones, and one has ended; a moderator
/// revokes it. Another report is dismissed.
/// Guarantees: the running tasks are paused and keep nothing held or charged, the ended one is left as it is, under the policy of
/// the tasks and not of the case; the case's events come in their order, due as the policy tag says; the licence is revoked; every
/// attempt, that at the revocation among them, is an event.
#[test]
fn a_licence_is_revoked_and_its_tasks_are_paid_back() {
    let mut scene = Scene::new("flows-moderation", &[]);
    ["holds", "paid", "over"].iter().for_each(|name| scene.task(name));
    scene.platform.prepare(
        "licenses",
        &json!([{"license_id": "l-1", "user_id": "u-holds", "quota_micros": 1_000_000_000, "expires_at": "2090-01-01T00:00:00Z"}]),
    );
    let charge = |name: &str, purpose: &str| {
        let body = json!({"about": about(name), "purpose": purpose, "amount_micros": 700});
        assert_eq!(
            scene.platform.call("/credits/charge", &format!("{name}-{purpose}"), 1, &body).status,
            200
        );
    };
    charge("holds", "HOLD");
    charge("paid", "CHARGE");
    charge("over", "CHARGE");
    let step = json!({"about": about("over"), "step": "SUCCEEDED"});
    assert_eq!(scene.platform.call("/tasks/transitions", "over", 1, &step).status, 200);
    let report = |case: &str| {
        let mut subject = about("holds");
        (subject["case_id"], subject["policy_tag"]) = (json!(case), json!("LIKENESS"));
        scene.start(
            "moderation",
            case,
            &json!({"about": subject, "reporter_id": "u-9", "risk_level": "CRITICAL"}),
        )
    };
    let (falls, dismissed) = (report("case-1"), report("case-2"));
    assert_eq!(state(&falls), "QUEUED");
    scene.tell(&falls, "review", &json!({"moderator_id": "m-1"}));
    scene.tell(&falls, "decide", &json!({"decision": "LICENSE_REVOKED", "moderator_id": "m-1"}));
    let closed = scene.comes_to(&falls, "CLOSED");
    assert_eq!(
        (&closed["amounts"]["refunded_micros"], &closed["amounts"]["held_micros"]),
        (&json!(700), &json!(0))
    );
    scene.tell(&dismissed, "review", &json!({"moderator_id": "m-2"}));
    let dismissed =
        scene.tell(&dismissed, "decide", &json!({"decision": "DISMISSED", "moderator_id": "m-2"}));
    assert_eq!(state(&dismissed), "CLOSED");
    assert_eq!(
        [scene.wallet("holds"), scene.wallet("paid"), scene.wallet("over")],
        [(CREDITS, 0), (CREDITS, 0), (CREDITS - 700, 0)]
    );
    let statement = scene.platform.statement();
    let paused = |name: &str| statement.tasks[&format!("t-{name}")].paused;
    assert_eq!((paused("holds"), paused("paid"), paused("over")), (true, true, false));
    assert!(statement.licenses["l-1"].revoked);
    scene.close();
    for case in ["case-1", "case-2"] {
        let kinds = scene.kinds("moderation_events", &format!("case_id = '{case}'"));
        assert_eq!(
            kinds,
            ["REPORTED", "QUEUED", "REVIEW_STARTED", "DECIDED", "CLOSED"],
            "{}",
            scene.stage.reasons()
        );
    }
    assert_eq!(scene.kinds("license_events", "license_id = 'l-1'"), ["REVOKED"]);
    attempts_are_events(&scene.stage, &statement, "gateway-flow:");
    let revoked = "SELECT count() FROM license_events_final WHERE kind = 'ATTEMPTED' AND endpoint = 'LICENSES_REVOKE' \
                   AND license_id = 'l-1' AND outcome = 'OK' AND http_status = 200 AND attempt = 1";
    assert_eq!(scene.stage.number(revoked), 1);
    let paused = "kind = 'PAUSED' AND state_version = 4 AND toString(policy_tag) = 'GENERAL_USE' AND case_id = 'case-1'";
    assert_eq!(scene.kinds("task_events", paused).len(), 2);
    // the dictionary gives LIKENESS eight hours
    let sql = "SELECT count() FROM moderation_events_final WHERE kind = 'QUEUED' AND sla_due_at = occurred_at + INTERVAL 8 HOUR";
    assert_eq!(scene.stage.number(sql), 2);
}

/// Scenario: twelve tasks are held, charged and topped up, or fail, while the platform errs, hangs and breaks off before and after it
/// has done what was asked, and the gateway is killed six times.
/// Guarantees: every flow comes to its end; no key moves credits twice; each task has cost exactly what it should, nothing is left
/// held; the task's steps were taken once each; ClickHouse has each movement once, and each attempt that the platform received.
#[test]
fn flows_go_on_whatever_is_killed() {
    let short = ["--attempt-ms-max", "300", "--call-ms-max", "1000", "--follow-up-ms", "100"];
    let mut scene = Scene::new("flows-killed", &short);
    let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
    names.iter().for_each(|name| scene.task(name));
    let faults = Faults {
        latency_max_ms: 20,
        error: 30,
        error_after: 30,
        hang_before: 20,
        hang_after: 20,
        reset_before: 30,
        reset_after: 30,
        wrong_body: 30,
        duplicate: 50,
        ..Faults::default()
    };
    scene.platform.play(&Script { seed: 7, all: faults, ..Script::default() });
    let flows: Vec<Value> =
        names.iter().map(|name| scene.start("compute", name, &compute(name, 600))).collect();
    for round in 0..6_u64 {
        std::thread::sleep(Duration::from_millis(37 * (round + 1) % 200));
        scene.gateway.kill_and_restart();
        for (place, flow) in flows.iter().enumerate() {
            push(&scene, place, flow);
        }
    }
    let ends = |place: usize| if place.is_multiple_of(3) { "ROLLED_BACK" } else { "SETTLED" };
    for (place, flow) in flows.iter().enumerate() {
        eventually(END, "a flow at its end", || {
            push(&scene, place, flow);
            (state(&scene.look(flow).json()) == ends(place)).then_some(())
        });
    }
    scene.platform.play(&Script::default());
    for (place, name) in names.iter().enumerate() {
        let cost = [0, 800_000, 1_250_000][place % 3];
        assert_eq!(scene.wallet(name), (CREDITS - cost, 0), "{name}");
        let statement = scene.platform.statement();
        let steps = if place % 3 == 2 { 5 } else { 3 };
        assert_eq!(statement.tasks[&format!("t-{name}")].state_version, steps, "{name}");
    }
    scene.close();
    let movements = scene.platform.statement().movements;
    let mut keys: Vec<&str> = movements.iter().filter_map(|moved| moved.key.as_deref()).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "a key moved credits twice");
    let moved = "kind IN ('HELD', 'CHARGED', 'SUPPLEMENT_CHARGED', 'ROLLED_BACK', 'REFUNDED')";
    assert_eq!(scene.kinds("credit_events", moved).len(), all, "{}", scene.stage.reasons());
    assert_eq!(scene.kinds("task_events", "1").len(), 4 * 2, "two steps of each task that asked");
    attempts_are_events(&scene.stage, &scene.platform.statement(), "gateway-flow:");
}

/// Tells a flow what happens to its task next: a third of them fail, a third cost less than was held, a third more. Commands may come
/// too early, twice, or to a gateway that is about to be killed.
fn push(scene: &Scene<'_>, place: usize, flow: &Value) {
    let id = flow["id"].as_str().expect("an id");
    let tell = |command: &str, body: Value| {
        let told = scene.gateway.call(&format!("/flows/{id}/{command}"), &scene.token, "", &body);
        let told = told.map(|answer| answer.code()).unwrap_or_default();
        assert!(["", "flow_conflict", "overloaded"].contains(&told.as_str()), "{command}: {told}");
    };
    let seen = scene.look(flow).json();
    match (state(&seen), place % 3) {
        ("HELD", 0) => tell("fail", json!({})),
        ("HELD", 1) => tell("settle", settle(800_000)),
        ("HELD", _) => tell("settle", settle(1_250_000)),
        ("SUPPLEMENT_PROMPTED", _) => tell("accept", json!({})),
        _ => {}
    }
}
