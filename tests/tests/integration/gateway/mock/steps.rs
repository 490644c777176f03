//! Tasks and licences over HTTP: versions, queues, and what a revocation tells.

use serde_json::{Value, json};
use tally_tests::MockPlatform;

use super::{about, charge};

fn with(mut about: Value, more: &[(&str, &str)]) -> Value {
    for (name, value) in more {
        about[*name] = json!(value);
    }
    about
}

/// Scenario: two tasks run under a licence and are paid for; a check, a step that is out of turn, a repeated step; the licence is
/// revoked.
/// Guarantees: versions count the steps that were taken, once each; the revocation tells both tasks with what is held and was
/// charged; nobody may run under it any more; what was charged counts against the quota.
#[test]
fn tasks_run_under_a_licence_until_it_is_revoked() {
    let platform = MockPlatform::start(&["--wallets", "1", "--balance-micros", "1000"]);
    let license =
        json!({"license_id": "l", "user_id": "u", "quota_micros": 500, "expires_at": "2100-01-01T00:00:00Z"});
    platform.prepare("licenses", &json!([license]));
    let whom = |task: &str| {
        with(about("wallet-1", task), &[("license_id", "l"), ("user_id", "u"), ("audience", "TEST")])
    };
    let step = |key: &str, task: &str, step: &str| {
        let mut body = json!({"about": whom(task), "step": step});
        if step == "SUBMITTED" {
            body["queue"] = json!("ACCELERATED");
        }
        let answer = platform.call("/tasks/transitions", key, 1, &body);
        let said = answer.json();
        (
            answer.code(),
            said["state_version"].as_i64().unwrap_or(0),
            said["queue"].as_str().unwrap_or("").to_owned(),
        )
    };
    let taken = |version| (String::new(), version, "ACCELERATED".to_owned());
    let refused = |code: &str| (code.to_owned(), 0, String::new());
    assert_eq!(step("k1", "a", "STARTED"), refused("not_found"));
    assert_eq!(step("k2", "a", "SUBMITTED"), taken(1));
    assert_eq!(step("k3", "b", "SUBMITTED"), taken(1));
    assert_eq!(step("k4", "a", "STARTED"), taken(2));
    assert_eq!(step("k4", "a", "STARTED"), taken(2), "the same key, the same step");
    assert_eq!(step("k5", "a", "ACCELERATED"), refused("flow_conflict"));
    assert_eq!(step("k6", "a", "PAUSED"), taken(3));

    for (key, purpose, amount) in [("p1", "HOLD", 300), ("p2", "CHARGE", 200)] {
        let mut body = charge("wallet-1", "a", purpose, amount);
        body["about"] = whom("a");
        assert_eq!(platform.call("/credits/charge", key, 1, &body).status, 200);
    }
    let check = |needed: i64| {
        let answer =
            platform.call("/licenses/check", "", 1, &json!({"about": whom("a"), "needed_micros": needed}));
        (answer.code(), answer.json()["quota_remaining_micros"].as_i64())
    };
    assert_eq!(check(300), (String::new(), Some(300)));
    assert_eq!(check(301), ("license_quota_exhausted".to_owned(), None));
    let body = json!({"about": with(whom("a"), &[("case_id", "c")]), "moderator_id": "m"});
    let told = platform.call("/licenses/revoke", "r1", 1, &body);
    let task = |id: &str, held: i64, charged: i64| {
        json!({"task_id": id, "wallet_id": "wallet-1", "user_id": "u", "audience": "TEST", "queue": "ACCELERATED",
               "policy_tag": "GENERAL_USE", "held_micros": held, "charged_micros": charged})
    };
    assert_eq!(told.json(), json!({"license_id": "l", "tasks": [task("a", 100, 200), task("b", 0, 0)]}));
    assert_eq!(platform.call("/licenses/revoke", "r1", 2, &body).body, told.body);
    let again = platform.call("/licenses/revoke", "r2", 1, &body);
    assert_eq!(again.json(), told.json(), "one that is revoked says which tasks still run");
    assert_eq!(check(0), ("license_revoked".to_owned(), None));
    let stands = &platform.statement().tasks["a"];
    assert_eq!((stands.state_version, stands.paused), (3, true));
}
