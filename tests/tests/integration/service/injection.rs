//! Texts that would be something else if they were spliced.

use super::platform::platform;
use tally_dashboards::identity::Role;
use tally_tests::service::Service;

pub(in crate::integration) const TEXTS: [&str; 12] = [
    "' OR 1=1 --",
    "') OR ('1'='1",
    "x' UNION ALL SELECT password FROM system.users --",
    "t-ann'; DROP TABLE task_events; --",
    "\\' OR 1=1 --",
    "t-ann\\",
    "{scope:String}",
    "task_id} = 'x' OR {by:Identifier",
    "`task_id`",
    "\u{0}t-ann",
    "t-ann\t\n\r",
    "']; SELECT 1; --",
];

/// Parameters that take any text.
const QUERIES: [&str; 9] = [
    "tasks?template_id=",
    "tasks?policy_tag=",
    "moderation/cases?risk_level=",
    "moderation/cases?policy_tag=",
    "dead-letters?topic=",
    "dead-letters?reason=",
    "audit/results?job=",
    "audit/results?verdict=",
    "deliveries?subject=",
];
/// Parameters that take numbers, times, words or cursors.
const TYPED: [&str; 20] = [
    "tasks?from=",
    "tasks?to=",
    "tasks?cursor=",
    "tasks?limit=",
    "wallets?cursor=",
    "licenses?cursor=",
    "moderation/cases?open=",
    "moderation/cases?cursor=",
    "dead-letters?cursor=",
    "audit/results?latest=",
    "audit/results?cursor=",
    "seals?cursor=",
    "seals?from=",
    "deliveries?cursor=",
    "revocations?cursor=",
    "figures/revenue?from=",
    "figures/queues?to=",
    "me?x=",
    "tasks?scope=",
    "wallets?subject=",
];
/// Routes with an id in the path.
const PATHS: [&str; 8] = [
    "tasks/",
    "wallets/",
    "licenses/",
    "moderation/cases/",
    "audit/results/",
    "proofs/",
    "schemas/",
    "dead-letters/",
];

/// What a client sends for it.
pub(in crate::integration) fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Scenario: every parameter of every route, in the path, in the query and in the token's subject, holds such a text.
/// Guarantees: nothing but an empty answer, 400 or 404 comes back, never a row and never a 5xx; tables and rows stay.
#[test]
fn texts_stay_texts() {
    let database = platform();
    let service =
        Service::start(&database, &["--requests-per-s-max", "10000", "--requests-burst-max", "10000"]);
    let admin = service.token(Role::Admin, "ops");
    let count = "SELECT (SELECT count() FROM task_events), (SELECT count() FROM credit_events), (SELECT count() FROM moderation_events), (SELECT count() FROM revocations)";
    let before = database.query(count);
    for text in TEXTS.map(encoded) {
        for query in QUERIES {
            let answer = service.get(&format!("/api/v1/{query}{text}"), &admin);
            assert_eq!(answer.status, 200, "{query}{text}: {}", answer.body);
            assert_eq!(
                answer.json()["items"].as_array().map(Vec::len),
                Some(0),
                "{query}{text}: {}",
                answer.body
            );
        }
        for query in TYPED {
            let answer = service.get(&format!("/api/v1/{query}{text}"), &admin);
            let ignored = query.starts_with("me?"); // takes no parameters and reads none
            assert!(
                answer.status == 400 || ignored && answer.status == 200,
                "{query}{text}: {} {}",
                answer.status,
                answer.body
            );
        }
        for path in PATHS {
            for path in [format!("{path}{text}"), format!("{path}{text}/1"), format!("{path}{text}/0/42")] {
                let answer = service.get(&format!("/api/v1/{path}"), &admin);
                assert!([400, 404].contains(&answer.status), "{path}: {} {}", answer.status, answer.body);
            }
        }
    }
    for text in TEXTS {
        for role in [Role::Buyer, Role::Creator, Role::Moderator] {
            let token = service.token(role, text);
            for list in ["tasks", "wallets", "licenses"] {
                let answer = service.get(&format!("/api/v1/{list}"), &token);
                let nothing =
                    answer.status == 403 || answer.json()["items"].as_array().is_some_and(Vec::is_empty);
                assert!(nothing, "{role} {text} {list}: {} {}", answer.status, answer.body);
            }
        }
        let body = serde_json::json!({ "kind": "subject", "value": text, "reason": text }).to_string();
        let answer = service.post("/api/v1/revocations", &admin, "application/json", &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
        let listed = service.get("/api/v1/revocations?limit=1", &admin).json();
        assert_eq!(listed["items"][0]["value"], text, "what was written is what is read");
    }
    let after = database.query(count);
    assert_eq!(
        before.trim().rsplit_once('\t').map(|parts| parts.0),
        after.trim().rsplit_once('\t').map(|parts| parts.0)
    );
}
