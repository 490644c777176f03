//! Texts that would be something else if they were spliced into what the gateway remembers, sends and publishes.

use super::super::service::injection::{TEXTS, encoded};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tally_tests::gateway::{FLOW_SCOPES, Gateway, SCOPES};
use tally_tests::{MockPlatform, Stage};

const SETTLED: Duration = Duration::from_secs(60);
/// Fields of what a call is about that take any text.
const FIELDS: [&str; 6] = ["wallet_id", "task_id", "user_id", "license_id", "template_id", "creator_id"];

fn charge() -> Value {
    super::calls::charge("w-texts", "CHARGE", 1)
}

/// What of a text may stand in a key, which has no spaces.
fn key(number: usize, text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).chain(number.to_string().chars()).collect()
}

/// Scenario: a charge with such a text in its key, or in a field of what it is about; a licence check of it; a flow of that name.
/// Guarantees: each is done or refused as the client's mistake, never an error of the gateway; a key is remembered as it is, so that its
/// repeat is a replay; what was moved is moved once, and each text that was taken stands in ClickHouse as it was sent.
#[test]
fn texts_stay_texts() {
    let stage = Stage::shared("gateway-texts");
    let platform = MockPlatform::start(&[]);
    let mut gateway = Gateway::start(&stage, &platform, &[]);
    let token = gateway.token("scheduler", &format!("{SCOPES} {FLOW_SCOPES}"));
    platform.grant("w-texts", 1_000_000);
    let call = |path: &str, key: &str, body: &Value| {
        let answer = gateway.call(path, &token, key, body).expect("an answer of the gateway");
        let is_answer = answer.status == 200 || (400..500).contains(&answer.status);
        assert!(is_answer, "{path} {key:?} {body}: {} {}", answer.status, answer.body);
        assert!(!answer.body.to_lowercase().contains("sqlite"), "{path} {key:?} {body}: {}", answer.body);
        answer
    };
    let (mut moved, mut taken) = (0, BTreeSet::new());
    for (number, text) in TEXTS.into_iter().enumerate() {
        let key = key(number, text);
        let (once, again) =
            (call("/credits/charge", &key, &charge()), call("/credits/charge", &key, &charge()));
        assert_eq!((once.status, again.status), (200, 200), "{key}: {} {}", once.body, again.body);
        assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &once.body), "{key}");
        moved += 1;
        for field in FIELDS {
            let mut body = charge();
            body["about"][field] = text.into();
            let answer = call("/credits/charge", &format!("{field}-{number}"), &body);
            if answer.status == 200 {
                moved += 1;
                taken.insert((field, text));
            }
            let check = json!({"about": body["about"], "needed_micros": 1});
            let checked = call("/licenses/check", "", &check);
            let is_refused = checked.code() == "invalid_request";
            assert_eq!(is_refused, answer.code() == "invalid_request", "{field} {text:?}: {}", checked.body);
        }
        let name = encoded(text);
        assert_eq!(gateway.get(&format!("/flows/{name}"), &token).status, 404, "{text:?}");
        for step in ["cancel", "accept"] {
            let flow = call(&format!("/flows/{name}/{step}"), &key, &json!({}));
            assert_ne!(flow.status, 200, "{text:?}: {}", flow.body);
        }
    }
    assert!(taken.iter().any(|(_, text)| text.contains("DROP TABLE")), "some are taken: {taken:?}");
    gateway.settled(SETTLED);
    gateway.kill_and_restart(); // what it remembers can be read again
    let after = gateway.call("/credits/charge", &token, &key(0, TEXTS[0]), &charge()).expect("an answer");
    assert_eq!((after.status, after.header("idempotency-replayed")), (200, "true"), "{}", after.body);
    gateway.settled(SETTLED);
    gateway.stop();
    let statement = platform.statement();
    assert_eq!(statement.movements.iter().filter(|one| one.key.is_some()).count(), moved);

    stage.catch_up(&[]);
    let columns = [&FIELDS[..], &["idempotency_key"]].concat().join(", ");
    let rows: Vec<Value> =
        stage.database.rows(&format!("SELECT {columns} FROM credit_events_final WHERE kind = 'CHARGED'"));
    assert_eq!(rows.len(), moved);
    for (field, text) in taken {
        assert!(rows.iter().any(|row| row[field] == text), "{field} {text:?}");
    }
    for (number, text) in TEXTS.into_iter().enumerate() {
        let key = format!(":{}", key(number, text));
        let has = |row: &Value| row["idempotency_key"].as_str().is_some_and(|one| one.ends_with(&key));
        assert_eq!(rows.iter().filter(|row| has(row)).count(), 1, "{key}");
    }
}
