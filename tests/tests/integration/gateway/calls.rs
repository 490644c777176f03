//! Calls through the gateway: what is answered, what the platform sees, what becomes an event.

use super::super::secrets::Watch;
use serde_json::{Value, json};
use std::time::Duration;
use tally_dashboards::identity::Role;
use tally_pipeline::gateway::mock::{Faults, Script};
use tally_schemas::Topic;
use tally_tests::gateway::{FLOW_SCOPES, Gateway, SCOPES};
use tally_tests::{Kafka, MockPlatform, Stage, eventually, skip_without};

const SETTLED: Duration = Duration::from_secs(60);
/// Credits in a wallet at first, micros.
const CREDITS: i64 = 1_000_000;

fn about(wallet: &str) -> Value {
    json!({
        "wallet_id": wallet, "policy_tag": "GENERAL_USE", "task_id": format!("{wallet}-task"), "user_id": "u-1",
        "license_id": "l-1", "template_id": "tp-1", "creator_id": "c-1",
    })
}

pub(super) fn charge(wallet: &str, purpose: &str, amount: i64) -> Value {
    json!({"about": about(wallet), "purpose": purpose, "amount_micros": amount})
}

fn refund(wallet: &str, of: &str, amount: i64) -> Value {
    json!({"about": about(wallet), "of": of, "amount_micros": amount, "reason": "ROLLBACK"})
}

fn all(faults: Faults) -> Script {
    Script { all: faults, ..Script::default() }
}

/// What stands in ClickHouse of the credit events of the gateway, in the order of their attempts.
fn credit_events(stage: &Stage<'_>, wallet: &str) -> Vec<(String, i64, String, Option<i64>, i64)> {
    let sql = format!(
        "SELECT toString(kind) AS kind, amount_micros, ifNull(toString(outcome), '') AS outcome, http_status, ifNull(attempt, 0) AS attempt \
         FROM credit_events_final WHERE wallet_id = '{wallet}' AND source = 'gateway' ORDER BY occurred_at, attempt"
    );
    let rows: Vec<Value> = stage.database.rows(&sql);
    let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    rows.iter()
        .map(|row| {
            (
                row["kind"].as_str().unwrap_or_default().to_owned(),
                number(&row["amount_micros"]).expect("an amount"),
                row["outcome"].as_str().unwrap_or_default().to_owned(),
                number(&row["http_status"]),
                number(&row["attempt"]).expect("an attempt"),
            )
        })
        .collect()
}

/// Scenario: estimate, hold, charge, refund, a check that is refused, a charge beyond the balance; keys again, with the same body in
/// another form and with another body.
/// Guarantees: the platform's answers come through, a key moves credits once, and every attempt is an event that Tally accepts.
#[test]
fn calls_are_answered_and_become_events() {
    let stage = Stage::shared("gateway-calls");
    let platform = MockPlatform::start(&[]);
    let mut gateway = Gateway::start(&stage, &platform, &[]);
    let token = gateway.token("scheduler", SCOPES);
    platform.grant("w-1", CREDITS);
    let call = |path: &str, key: &str, body: &Value| {
        gateway.call(path, &token, key, body).expect("an answer of the gateway")
    };
    let estimate =
        call("/credits/estimate", "", &json!({"about": about("w-1"), "queue": "NORMAL", "compute_units": 7}));
    assert_eq!(estimate.status, 200, "{}", estimate.body);
    let held = call("/credits/charge", "h", &charge("w-1", "HOLD", 500));
    assert_eq!((held.status, held.json()["held_micros"].as_i64()), (200, Some(500)), "{}", held.body);
    let charged = call("/credits/charge", "k", &charge("w-1", "CHARGE", 400));
    assert_eq!(charged.json()["balance_after_micros"], CREDITS - 400);
    assert_eq!(charged.header("idempotency-replayed"), "");
    let mut other_form = charge("w-1", "CHARGE", 400);
    other_form["about"]["audience"] = json!("CUSTOMER"); // what it means anyway
    let again = call("/credits/charge", "k", &other_form);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &charged.body));
    let conflict = call("/credits/charge", "k", &charge("w-1", "CHARGE", 401));
    assert_eq!((conflict.status, conflict.code().as_str()), (409, "idempotency_conflict"));
    assert_eq!(call("/credits/refund", "k", &refund("w-1", "CHARGE", 1)).code(), "idempotency_conflict");
    assert_eq!(call("/credits/refund", "r", &refund("w-1", "HOLD", 100)).status, 200);
    let too_much = call("/credits/charge", "m", &charge("w-1", "CHARGE", 2 * CREDITS));
    assert_eq!((too_much.status, too_much.code().as_str()), (402, "insufficient_balance"));
    assert_eq!(too_much.json()["retry"], "never");
    let unknown = call("/licenses/check", "", &json!({"about": about("w-1")}));
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "license_unknown"));
    gateway.settled(SETTLED);
    gateway.stop();
    stage.catch_up(&[]);
    let ok = |kind: &str, amount| (kind.to_owned(), amount, "OK".to_owned(), Some(200), 1);
    let moved = |kind: &str, amount| (kind.to_owned(), amount, String::new(), None, 0);
    let estimated = estimate.json()["amount_micros"].as_i64().expect("an amount");
    assert_eq!(
        credit_events(&stage, "w-1"),
        [
            ok("ESTIMATED", estimated),
            moved("HELD", 500),
            ok("ATTEMPTED", 0),
            moved("CHARGED", 400),
            ok("ATTEMPTED", 0),
            moved("ROLLED_BACK", 100),
            ok("ATTEMPTED", 0),
            ("ATTEMPTED".to_owned(), 0, "REJECTED".to_owned(), Some(402), 1),
        ],
        "{}",
        stage.reasons()
    );
    let checks = "SELECT count() FROM license_events_final WHERE kind = 'ATTEMPTED' AND error_code = 'license_unknown'";
    assert_eq!(stage.number(checks), 1);
    let moved: Vec<i64> =
        platform.statement().movements.iter().map(|movement| movement.amount_micros).collect();
    assert_eq!(moved, [CREDITS, 500, 400, 100], "the grant, and each key once");
}

/// Scenario: no token, one of nobody's, one in the name of the gateway's own flows, a buyer's, one without the scope; no key, a key that is none; bodies with a slip of the pen, too
/// long, of another kind; other methods and paths.
/// Guarantees: each is refused by its code with the field, no value is repeated, and the platform hears of none.
#[test]
fn what_is_not_in_order_never_reaches_the_platform() {
    let stage = Stage::shared("gateway-door");
    let platform = MockPlatform::start(&[]);
    let gateway = Gateway::start(&stage, &platform, &[]);
    let token = gateway.token("scheduler", SCOPES);
    let body = charge("w-1", "CHARGE", 5);
    let code = |token: &str, key: &str, body: &Value| {
        gateway.call("/credits/charge", token, key, body).expect("an answer").code()
    };
    assert_eq!(code("", "k", &body), "token_missing");
    assert_eq!(code("ey.ey.ey", "k", &body), "token_invalid");
    assert_eq!(
        code(&gateway.token("gateway-flow", SCOPES), "k", &body),
        "token_invalid",
        "a name of its own"
    );
    assert_eq!(code(&gateway.token("s", "credits:refund"), "k", &body), "scope_missing");
    assert_eq!(code(&gateway.token_of(Role::Buyer, SCOPES), "k", &body), "scope_missing");
    assert_eq!(code(&token, "", &body), "idempotency_key_missing");
    assert_eq!(code(&token, &"k".repeat(129), &body), "idempotency_key_missing");
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut body = body.clone();
        change(&mut body);
        let answer = gateway.call("/credits/charge", &token, "k", &body).expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{}", answer.body);
        let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(!detail.contains("secret"), "{detail}");
        detail
    };
    assert!(wrong(&|body| body["about"]["taskid"] = json!("secret")).contains("taskid"));
    assert!(wrong(&|body| body["amount_micros"] = json!("secret")).contains("amount_micros"));
    assert!(wrong(&|body| body["amount_micros"] = json!(0)).contains("amount_micros must be from 1"));
    assert!(wrong(&|body| body["amount_micros"] = json!(-5)).contains("amount_micros must be from 1"));
    assert!(wrong(&|body| body["purpose"] = json!("secret")).contains("purpose"));
    assert!(wrong(&|body| body["about"]["policy_tag"] = json!("secret")).contains("policy_tag"));
    assert!(
        wrong(&|body| _ = body["about"].as_object_mut().expect("about").remove("task_id"))
            .contains("task_id")
    );
    assert!(wrong(&|body| _ = body.as_object_mut().expect("a body").remove("purpose")).contains("purpose"));
    let long =
        gateway.call("/credits/charge", &token, "k", &json!({"x": "y".repeat(20_000)})).expect("an answer");
    assert_eq!(long.code(), "too_large");
    assert_eq!(gateway.call("/credits/pay", &token, "k", &body).expect("an answer").code(), "not_found");
    let (status, document) = tally_tests::stage::get(&format!("{}/openapi.json", gateway.url));
    assert!(status == 200 && document.contains("/credits/charge"));
    assert_eq!(tally_tests::stage::get(&format!("{}/credits/charge", gateway.url)).0, 405);
    assert!(platform.statement().receipts.is_empty(), "nothing reached the platform");
}

/// Scenario: a charge is done and never answered; attempt after attempt; then the platform answers again. Another never reaches it.
/// Guarantees: the caller hears that it may have been done, it is followed up without being asked, credits moved once, each attempt is an
/// event; what never reached the platform is done only once its caller asks again.
#[test]
fn a_charge_without_an_answer_is_followed_up() {
    let stage = Stage::shared("gateway-follow");
    let platform = MockPlatform::start(&[]);
    let short = ["--attempt-ms-max", "200", "--call-ms-max", "2000", "--follow-up-ms", "100"];
    let mut gateway = Gateway::start(&stage, &platform, &short);
    let token = gateway.token("scheduler", SCOPES);
    platform.grant("w-1", CREDITS);
    platform.play(&all(Faults { hang_after: 1_000, ..Faults::default() }));
    let body = charge("w-1", "CHARGE", 5);
    let late = gateway.call("/credits/charge", &token, "k", &body).expect("an answer");
    assert_eq!((late.status, late.code().as_str()), (504, "upstream_timeout"));
    assert_eq!((&late.json()["retry"], late.header("retry-after")), (&json!("same_key"), "1"));
    eventually(SETTLED, "attempts that follow it up", || {
        (platform.statement().receipts.len() > 4).then_some(())
    });
    // the door, and another request under the key, say nothing of what was done before
    for (code, faults) in [
        ("denied", Faults { denied: 1_000, ..Faults::default() }),
        ("under_way", Faults { under_way: 1_000, ..Faults::default() }),
    ] {
        platform.play(&all(faults));
        let struck =
            || platform.statement().receipts.iter().filter(|one| one.faults.contains_key(code)).count();
        eventually(SETTLED, code, || (struck() > 1).then_some(()));
        assert_eq!(gateway.metric("tally_gateway_unresolved_requests"), 1.0, "{code}");
        let asked = gateway.call("/credits/charge", &token, "k", &body).expect("an answer");
        assert_eq!(asked.json()["retry"], "same_key", "{code}: {}", asked.body);
    }
    let refused =
        gateway.call("/credits/charge", &token, "k-2", &charge("w-1", "CHARGE", 7)).expect("an answer");
    assert_eq!(refused.json()["retry"], "same_key", "under way somewhere: {}", refused.body);
    platform.play(&all(Faults { denied: 1_000, ..Faults::default() }));
    let denied =
        gateway.call("/credits/charge", &token, "k-3", &charge("w-1", "CHARGE", 9)).expect("an answer");
    assert_eq!((denied.status, denied.code().as_str()), (422, "platform_refused"), "{}", denied.body);
    platform.play(&Script::default());
    gateway.settled(SETTLED); // without being asked
    // once the door is open again the key is as good as new
    let mended =
        gateway.call("/credits/charge", &token, "k-3", &charge("w-1", "CHARGE", 9)).expect("an answer");
    assert_eq!((mended.status, mended.header("idempotency-replayed")), (200, ""), "{}", mended.body);
    let known = gateway.call("/credits/charge", &token, "k", &body).expect("an answer");
    assert_eq!((known.status, known.header("idempotency-replayed")), (200, "true"), "{}", known.body);
    platform.play(&all(Faults { reset_before: 1_000, ..Faults::default() }));
    let broken =
        gateway.call("/credits/refund", &token, "b", &refund("w-1", "CHARGE", 5)).expect("an answer");
    assert_eq!((broken.status, broken.code().as_str()), (502, "upstream_unavailable"));
    platform.play(&Script::default());
    gateway.settled(SETTLED);
    gateway.stop();
    stage.catch_up(&[]);
    let statement = platform.statement();
    let moved: Vec<i64> = statement.movements.iter().map(|movement| movement.amount_micros).collect();
    assert_eq!(moved, [CREDITS, 5, 7, 9, 5], "the grant, each charge once, the refund once");
    let events = credit_events(&stage, "w-1");
    let tries = events.iter().filter(|event| event.4 > 0).count();
    assert_eq!(tries, statement.receipts.len(), "an event an attempt: {events:?}");
    let timeouts = events.iter().filter(|event| event.2 == "TIMEOUT").count();
    assert!(
        timeouts > 3
            && timeouts == events.iter().filter(|event| event.3.is_none() && event.2 == "TIMEOUT").count()
    );
    let done: Vec<&str> = events.iter().filter(|event| event.4 == 0).map(|event| event.0.as_str()).collect();
    assert_eq!(done, ["CHARGED", "CHARGED", "CHARGED", "REFUNDED"]);
}

/// Scenario: a caller loses the answer to a charge and turns to another gateway, with the same key; then asks the first one again.
/// Guarantees: credits moved once, and what both gateways publish of the movement is one event; each attempt is one of its own.
#[test]
fn a_key_moves_credits_once_whichever_gateway_has_it() {
    let stage = Stage::shared("gateway-failover");
    let platform = MockPlatform::start(&[]);
    let mut one = Gateway::start(&stage, &platform, &[]);
    let mut other = Gateway::start(&stage, &platform, &[]);
    platform.grant("w-1", CREDITS);
    let body = charge("w-1", "CHARGE", 5);
    let ask = |gateway: &Gateway| {
        let token = gateway.token("scheduler", SCOPES);
        gateway.call("/credits/charge", &token, "k", &body).expect("an answer").body
    };
    let first = ask(&one);
    assert_eq!((ask(&other), ask(&one)), (first.clone(), first));
    for gateway in [&mut one, &mut other] {
        gateway.settled(SETTLED);
        gateway.stop();
    }
    stage.catch_up(&[]);
    let kinds: Vec<String> = credit_events(&stage, "w-1").into_iter().map(|event| event.0).collect();
    assert_eq!(kinds, ["CHARGED", "ATTEMPTED", "ATTEMPTED"]);
    assert_eq!(
        stage.number(
            "SELECT count() FROM audit_log_final WHERE topic_id = (SELECT any(topic_id) FROM credit_events)"
        ),
        4
    );
    assert_eq!(platform.statement().movements.len(), 2, "the grant and the charge");
}

/// Scenario: the platform answers nothing but errors; then it is back. The token that it is shown is renewed. One call is slow, and a
/// second may not be under way beside it.
/// Guarantees: it is left alone and callers hear so at once, a known key is answered all the same, calls go through again by
/// themselves; a refused token is read anew; what is too many is refused at once; under a key every attempt, made or refused, has a
/// number of its own.
#[test]
fn the_platform_is_left_alone_and_found_again() {
    let stage = Stage::shared("gateway-circuit");
    let platform = MockPlatform::start(&[]);
    let mut gateway = Gateway::start(
        &stage,
        &platform,
        &[
            "--attempts-max",
            "1",
            "--calls-at-once-max",
            "1",
            "--attempt-ms-max",
            "20000",
            "--call-ms-max",
            "30000",
        ],
    );
    let token = gateway.token("scheduler", SCOPES);
    platform.grant("w-1", CREDITS);
    let ask = |key: &str| {
        gateway.call("/credits/charge", &token, key, &charge("w-1", "HOLD", 1)).expect("an answer")
    };
    assert_eq!(ask("known").status, 200);
    platform.play(&Script { unavailable: true, ..Script::default() });
    let opened = (0..100).find(|n| ask(&format!("k{n}")).code() == "circuit_open");
    assert!(opened.is_some_and(|calls| calls >= 25), "after a window with enough errors: {opened:?}");
    let is_open = r#"tally_gateway_circuit_open{endpoint="CREDITS_CHARGE"}"#;
    eventually(SETTLED, "an open circuit", || {
        ask("known-not"); // it is closed for a moment whenever one call finds out
        (gateway.metric(is_open) == 1.0).then_some(())
    });
    assert_eq!((ask("known").status, ask("other").code().as_str()), (200, "circuit_open"));
    platform.play(&Script::default());
    eventually(SETTLED, "calls that go through again", || (ask("back").status == 200).then_some(()));
    platform.prepare("credentials", &json!({"tokens": ["renewed"]}));
    assert_eq!(ask("old token").code(), "idempotency_key_missing", "a key has no spaces");
    assert_eq!(ask("old-token").code(), "upstream_unavailable");
    std::fs::write(&gateway.platform_token, "renewed\n").expect("written");
    eventually(SETTLED, "the renewed token", || (ask("new-token").status == 200).then_some(()));
    platform.play(&all(Faults { latency_min_ms: 2_500, latency_max_ms: 2_500, ..Faults::default() }));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let answer = ask("slow");
            assert_eq!(answer.status, 200, "{}", answer.body);
            answer.status
        });
        let is_there = || platform.statement().receipts.iter().any(|receipt| receipt.key.ends_with(":slow"));
        eventually(SETTLED, "a call that is under way", || is_there().then_some(()));
        assert_eq!(ask("beside").code(), "overloaded");
        assert_eq!(ask("known").status, 200, "an answer that is known takes no place");
        assert_eq!(slow.join().expect("no panic"), 200);
    });
    assert_eq!(ask("beside").status, 200);
    gateway.settled(SETTLED);
    gateway.stop();
    stage.catch_up(&[]);
    let twice = "SELECT count() FROM (SELECT count() AS events FROM credit_events_final WHERE kind = 'ATTEMPTED' \
                 GROUP BY idempotency_key, attempt) WHERE events > 1";
    assert_eq!(stage.number(twice), 0, "{}", stage.reasons());
    let beside = "SELECT concat(toString(attempt), ' ', error_code) AS said FROM credit_events_final \
                  WHERE kind = 'ATTEMPTED' AND endsWith(idempotency_key, ':beside') ORDER BY attempt";
    let said: Vec<serde_json::Value> = stage.database.rows(beside);
    assert_eq!(said, [json!({"said": "1 overloaded"}), json!({"said": "2 "})]);
    let refused = "SELECT count() FROM credit_events_final WHERE error_code = 'circuit_open'";
    assert!(stage.number(refused) > 1);
}

/// Scenario: Kafka is away while calls go on, the gateway is killed meanwhile, then Kafka is back; at last so many events wait that
/// no more may.
/// Guarantees: calls are answered, every event comes, in the order of its wallet; without room for an event no call is made.
#[test]
fn events_outlive_kafka_and_the_process() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let kafka = Kafka::start();
    let stage = Stage::on(&kafka, tally_tests::ClickHouse::shared(), "gateway-outbox");
    let platform = MockPlatform::start(&[]);
    let mut gateway = Gateway::start(&stage, &platform, &["--outbox-events-max", "1000"]);
    let token = gateway.token("scheduler", SCOPES);
    let wallets = ["w-1", "w-2", "w-3"];
    wallets.iter().for_each(|wallet| platform.grant(wallet, CREDITS));
    let mut number = 0;
    let mut ask = |gateway: &Gateway| {
        number += 1;
        let wallet = wallets[number % 3];
        let key = format!("k{number}");
        gateway.call("/credits/charge", &token, &key, &charge(wallet, "HOLD", 1)).expect("an answer")
    };
    for _ in 0..30 {
        assert_eq!(ask(&gateway).status, 200);
    }
    kafka.kill();
    for _ in 0..200 {
        assert_eq!(ask(&gateway).status, 200, "calls go on without Kafka");
    }
    gateway.kill_and_restart();
    assert!(gateway.metric("tally_gateway_outbox_events") >= 0.0);
    let full = (0..2_000).find(|_| {
        let answer = ask(&gateway);
        assert!([200, 503].contains(&answer.status), "{}", answer.body);
        answer.code() == "outbox_full"
    });
    assert!(
        full.is_some_and(|calls| (200..=330).contains(&calls)),
        "at its bound, with two events a call: {full:?}"
    );
    kafka.restart();
    gateway.settled(Duration::from_secs(120));
    assert_eq!(ask(&gateway).status, 200, "there is room again");
    gateway.settled(SETTLED);
    gateway.stop();
    stage.catch_up(&[]);
    let held = platform.statement().movements.iter().filter(|movement| movement.key.is_some()).count();
    let sql = "SELECT count() FROM credit_events_final WHERE kind = 'HELD'";
    assert_eq!(stage.number(sql), i64::try_from(held).expect("a count"));
    // the offsets of a wallet's events rise with their times: the order in which they happened
    let sql = "SELECT count() FROM (SELECT wallet_id, occurred_at, min(offset) AS at, lagInFrame(at) OVER (PARTITION BY wallet_id \
               ORDER BY occurred_at) AS before FROM credit_events_final WHERE kind = 'HELD' GROUP BY wallet_id, occurred_at) WHERE at < before";
    assert_eq!(stage.number(sql), 0, "{}", stage.topic(Topic::Credit));
}

/// Scenario: schemathesis, which knows nothing but `gateway.openapi.json`, asks every call with generated values, valid and not, of a
/// gateway that logs at trace; its own token, the platform's and the values of the requests are looked for in its log.
/// Guarantees: no status, code or body that the document does not know, no error of ours, and no secret in the log.
#[test]
fn the_document_is_the_gateway_and_the_log_has_no_secret() {
    let stage = Stage::shared("gateway-document");
    let platform = MockPlatform::start(&[]);
    let gateway = Gateway::start(&stage, &platform, &["--log", "trace"]);
    std::fs::write(&gateway.platform_token, "planted-platform-token").expect("written");
    platform.grant("w-planted-wallet", CREDITS);
    let token = gateway.token("scheduler", &format!("{SCOPES} {FLOW_SCOPES}"));
    let answer = gateway.call(
        "/credits/charge",
        &token,
        "planted-key-of-a-call",
        &charge("w-planted-wallet", "CHARGE", 5),
    );
    assert_eq!(answer.expect("an answer").status, 200);
    let document = tally_tests::repository().join("pipeline/docs/gateway.openapi.json");
    let said = tally_tests::python::schemathesis(&gateway.url, &document, &token);
    assert!(said.contains("/licenses/check") && said.contains("/flows/compute"), "{said}");
    std::thread::sleep(Duration::from_secs(2)); // until the token's file was read again
    assert_eq!(
        gateway
            .call("/credits/charge", &token, "k2", &charge("w-planted-wallet", "HOLD", 5))
            .expect("an answer")
            .status,
        200
    );
    let log = gateway.tally.stderr();
    assert!(log.contains("TRACE"), "it logs at trace");
    let mut watch = Watch::default();
    watch.hide("the platform's token", "planted-platform-token");
    watch.hide("a bearer token", token.rsplit('.').next().expect("a signature"));
    watch.hide("a wallet", "w-planted-wallet");
    watch.hide("a key of a call", "planted-key-of-a-call");
    watch.see("the gateway's log", log);
    watch.assert_clean();
}
