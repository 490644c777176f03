//! Role × route × ownership, against a real store.

use super::platform::platform;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use std::collections::BTreeSet;
use tally_dashboards::identity::Role::{self, Admin, Buyer, Creator, Moderator, Service as Machine};
use tally_tests::service::Service;

/// Everybody who asks: those whom the platform knows, and a stranger in every role.
const CALLERS: [(Role, &str); 13] = [
    (Buyer, "ann"),
    (Buyer, "bob"),
    (Creator, "cleo"),
    (Creator, "carl"),
    (Moderator, "mia"),
    (Moderator, "max"),
    (Admin, "root-of-ops"),
    (Machine, "svc"),
    (Buyer, "nobody"),
    (Creator, "nobody"),
    (Moderator, "nobody"),
    // the right name in the wrong role
    (Creator, "ann"),
    (Buyer, "cleo"),
];

/// A list, the field that names its rows, and the path of one of them.
const LISTS: [(&str, &str); 4] = [
    ("/api/v1/tasks", "task_id"),
    ("/api/v1/wallets", "wallet_id"),
    ("/api/v1/licenses", "license_id"),
    ("/api/v1/moderation/cases", "case_id"),
];

/// What each list must show to each caller; `None` where the route is not theirs.
fn expected(role: Role, subject: &str, list: &str) -> Option<Vec<&'static str>> {
    let everything = |list: &str| match list {
        "/api/v1/tasks" => vec!["t-ann", "t-bob", "t-free"],
        "/api/v1/wallets" => vec!["w-ann", "w-bob"],
        "/api/v1/licenses" => vec!["l-carl", "l-cleo"],
        _ => vec!["k-ann", "k-bob"],
    };
    match (role, subject, list) {
        (Admin, ..) => Some(everything(list)),
        (Moderator, _, "/api/v1/moderation/cases") => Some(everything(list)),
        (Moderator, "mia", "/api/v1/tasks") => Some(vec!["t-ann"]),
        (Moderator, "mia", "/api/v1/licenses") => Some(vec!["l-cleo"]),
        (Machine, ..) | (Creator | Moderator, _, "/api/v1/wallets") => None,
        (Buyer, "ann", "/api/v1/tasks") => Some(vec!["t-ann", "t-free"]),
        (Buyer, "bob", "/api/v1/tasks") => Some(vec!["t-bob"]),
        (Buyer, "ann", "/api/v1/wallets") => Some(vec!["w-ann"]),
        (Buyer, "bob", "/api/v1/wallets") => Some(vec!["w-bob"]),
        (Buyer, "ann", "/api/v1/licenses") => Some(vec!["l-cleo"]),
        (Buyer, "bob", "/api/v1/licenses") => Some(vec!["l-carl"]),
        // ann's case is not decided: a buyer hears of the outcome only
        (Buyer, "bob", _) => Some(vec!["k-bob"]),
        // t-free runs under no licence: it is no grantee's
        (Creator, "cleo", "/api/v1/tasks") => Some(vec!["t-ann"]),
        (Creator, "carl", "/api/v1/tasks") => Some(vec!["t-bob"]),
        (Creator, "cleo", "/api/v1/licenses") => Some(vec!["l-cleo"]),
        (Creator, "carl", "/api/v1/licenses") => Some(vec!["l-carl"]),
        (Creator, "cleo", _) => Some(vec!["k-ann"]),
        (Creator, "carl", _) => Some(vec!["k-bob"]),
        _ => Some(vec![]),
    }
}

/// Events (by the number that their id ends in) that a timeline of that thing must show, `m` for masked.
fn expected_events(role: Role, subject: &str, thing: &str) -> Vec<&'static str> {
    match (role, subject, thing) {
        (Admin, _, "t-ann") => {
            vec!["101", "102", "103", "104", "105", "202", "203", "204", "302", "401", "402"]
        }
        (Buyer, "ann", "t-ann") => vec!["101", "102", "103", "104", "105", "202", "203"],
        (Creator, "cleo", "t-ann") => vec!["101", "102", "103", "401m", "402m"],
        (Moderator, "mia", "t-ann") => {
            vec!["101m", "102m", "103m", "105m", "203m", "401", "402"]
        }
        // not in work: supplements are every moderator's, masked, and cases are all of theirs
        (Moderator, _, "t-ann") => vec!["105m", "203m", "401", "402"],
        (Admin, _, "t-bob") => vec!["107", "108", "206", "403", "404", "405"],
        (Buyer, "bob", "t-bob") => vec!["107", "108", "206", "405m"],
        (Creator, "carl", "t-bob") => vec!["107", "108", "403m", "404m", "405m"],
        (Moderator, _, "t-bob") => vec!["403", "404", "405"],
        (Admin, _, "t-free") | (Buyer, "ann", "t-free") => vec!["106"],
        _ => vec![],
    }
}

fn ids(answer: &Value, field: &str) -> Vec<String> {
    let items = answer["items"].as_array().expect("a page has items");
    let mut ids: Vec<_> = items.iter().map(|item| item[field].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

/// Scenario: everybody asks every list, and every one of its rows by its id.
/// Guarantees: each sees exactly their own; another's row is answered like one that does not exist; a route that is not
/// theirs is refused.
#[test]
fn everybody_sees_exactly_what_is_theirs() {
    let database = platform();
    let service =
        Service::start(&database, &["--requests-per-s-max", "10000", "--requests-burst-max", "10000"]);
    for (role, subject) in CALLERS {
        let token = service.token(role, subject);
        for (list, field) in LISTS {
            let who = format!("{role} {subject} at {list}");
            let answer = service.get(list, &token);
            let Some(mine) = expected(role, subject, list) else {
                assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{who}");
                assert_eq!(service.get(&format!("{list}/x"), &token).status, 403, "{who}");
                continue;
            };
            assert_eq!(answer.status, 200, "{who}: {}", answer.body);
            assert_eq!(ids(&answer.json(), field), mine, "{who}");
            for one in expected(Admin, "", list).expect("everything") {
                let sees_task = list.ends_with("tasks") && !expected_events(role, subject, one).is_empty();
                let status = if mine.contains(&one) || sees_task { 200 } else { 404 };
                let answer = service.get(&format!("{list}/{one}"), &token);
                assert_eq!(answer.status, status, "{who}: {one}: {}", answer.body);
            }
        }
    }
}

/// Scenario: everybody asks for every timeline one event at a time, and with a cursor made by hand that lies before all events.
/// Guarantees: each cursor names the event that was just shown, and the last page has none; together the pages are what the
/// table allows; what is not theirs is answered like what does not exist, whatever the cursor.
#[test]
fn cursors_name_nothing_that_is_hidden() {
    let database = platform();
    let service =
        Service::start(&database, &["--requests-per-s-max", "10000", "--requests-burst-max", "10000"]);
    let before_all = BASE64_URL_SAFE_NO_PAD.encode(format!("[\"task_id\",[{},\"\",\"\"]]", i64::MIN));
    for (role, subject) in CALLERS.into_iter().filter(|(role, _)| *role != Machine) {
        let token = service.token(role, subject);
        for task in ["t-ann", "t-bob", "t-free", "t-none"] {
            let who = format!("{role} {subject}: {task}");
            let expected = expected_events(role, subject, task);
            let (mut seen, mut next) = (Vec::new(), Some(before_all.clone()));
            while let Some(cursor) = next.take() {
                let answer = service.get(&format!("/api/v1/tasks/{task}?limit=1&cursor={cursor}"), &token);
                if expected.is_empty() {
                    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"), "{who}");
                    break;
                }
                let answer = answer.json();
                let event = &answer["events"][0]["fields"]["event_id"];
                let id = event.as_str().unwrap_or_else(|| panic!("{who}: {answer}")).to_owned();
                if let Some(cursor) = answer["next"].as_str() {
                    let place = BASE64_URL_SAFE_NO_PAD.decode(cursor).expect("base64");
                    let place: Value = serde_json::from_slice(&place).expect("JSON");
                    assert_eq!(place[1][2], id, "{who}");
                    next = Some(cursor.to_owned());
                }
                seen.push(id[id.len() - 3..].to_owned());
            }
            let expected: Vec<&str> = expected.iter().map(|id| id.trim_end_matches('m')).collect();
            seen.sort();
            assert_eq!(seen, expected, "{who}");
        }
    }
}

/// Scenario: everybody asks for the timeline of every task.
/// Guarantees: exactly the events of the table are there, masked where it says so, and no masked one names anybody.
#[test]
fn timelines_hold_what_the_table_allows() {
    let database = platform();
    let service = Service::start(&database, &[]);
    let people = ["ann", "bob", "cleo", "carl", "mia", "max", "reporter-rae", "w-ann", "w-bob", "svc"];
    for (role, subject) in CALLERS {
        let token = service.token(role, subject);
        for task in ["t-ann", "t-bob", "t-free"] {
            let who = format!("{role} {subject}: {task}");
            let answer = service.get(&format!("/api/v1/tasks/{task}"), &token);
            if answer.status != 200 {
                assert_eq!(expected_events(role, subject, task), Vec::<&str>::new(), "{who}");
                continue;
            }
            let mut seen = Vec::new();
            for event in answer.json()["events"].as_array().expect("events") {
                let masked = event["masked"].as_bool().expect("masked or not");
                let id = event["fields"]["event_id"].as_str().expect("an id");
                seen.push(format!("{}{}", &id[id.len() - 3..], if masked { "m" } else { "" }));
                let texts: BTreeSet<&str> =
                    event["fields"].as_object().expect("fields").values().filter_map(Value::as_str).collect();
                let named = people.iter().find(|name| texts.contains(*name));
                assert!(!masked || named.is_none(), "{who}: {event}");
            }
            seen.sort();
            assert_eq!(seen, expected_events(role, subject, task), "{who}");
        }
    }
}

/// Scenario: what masks hide is looked for in whole answers: of a moderator's tasks, a buyer's and a creator's cases.
/// Guarantees: names, wallets and reviewers are null there, and there only.
#[test]
fn summaries_are_masked_too() {
    let database = platform();
    let service = Service::start(&database, &[]);
    let one = |role, subject, path: &str| service.get(path, &service.token(role, subject)).json();
    let task = one(Moderator, "mia", "/api/v1/tasks/t-ann")["task"].clone();
    for hidden in ["user_id", "creator_id", "wallet_id"] {
        assert!(task[hidden].is_null(), "{task}");
    }
    assert_eq!(task["state"], "SUPPLEMENT_REQUIRED");
    let case = one(Buyer, "bob", "/api/v1/moderation/cases/k-bob")["case"].clone();
    assert_eq!(
        (case["decision"].as_str(), case["decided_at"].as_str()),
        (Some("RESTRICTED"), Some("2026-06-01T13:20:00.000000Z"))
    );
    for hidden in ["risk_level", "due_at", "clock", "state", "opened_at", "reviewer_id", "creator_id"] {
        assert!(case[hidden].is_null(), "{case}");
    }
    let case = one(Creator, "cleo", "/api/v1/moderation/cases/k-ann")["case"].clone();
    assert_eq!((case["risk_level"].as_str(), case["clock"].as_str()), (Some("HIGH"), Some("overdue")));
    for hidden in ["reviewer_id", "user_id"] {
        assert!(case[hidden].is_null(), "{case}");
    }
    let case = one(Moderator, "max", "/api/v1/moderation/cases/k-ann")["case"].clone();
    assert_eq!((case["reviewer_id"].as_str(), case["user_id"].as_str()), (Some("mia"), Some("ann")));
    assert!(case["due_in_s"].as_i64().is_some_and(|seconds| seconds < 0), "{case}");
}

/// Scenario: every role at every other route, with what is there to be found.
/// Guarantees: the status is that of the table written down here; only an admin gets the bytes of a dead letter.
#[test]
fn other_routes_are_for_those_the_table_names() {
    let database = platform();
    let service = Service::start(&database, &[]);
    let result = "/api/v1/audit/results/00000000-0000-4000-8000-000000000502";
    let routes: [(&str, &[Role]); 28] = [
        ("/api/v1/me", &Role::ALL),
        ("/api/v1/schemas", &Role::ALL),
        ("/api/v1/schemas/task-events/2", &Role::ALL),
        ("/api/v1/policy-tags", &Role::ALL),
        ("/api/v1/figures/revenue", &[Admin]),
        ("/api/v1/figures/task-success", &[Admin]),
        ("/api/v1/figures/queues", &[Admin]),
        ("/api/v1/figures/acceleration", &[Admin]),
        ("/api/v1/figures/supplements", &[Admin]),
        ("/api/v1/figures/endpoints", &[Admin]),
        ("/api/v1/figures/moderation", &[Moderator, Admin]),
        ("/api/v1/figures/quotas", &[Creator, Admin]),
        ("/api/v1/live", &[Moderator, Admin]),
        ("/api/v1/dead-letters", &[Moderator, Admin, Machine]),
        ("/api/v1/dead-letters/task-events/0/42", &[Moderator, Admin, Machine]),
        ("/api/v1/dead-letters/task-events/0/42/raw", &[Admin]),
        ("/api/v1/dead-letters/task-events/0/42/decoded", &[Admin]),
        ("/api/v1/dead-letters/task-events/0/42/replays", &[Moderator, Admin]),
        ("/api/v1/tasks/t-ann/evidence", &[Moderator, Admin]),
        ("/api/v1/audit/results", &[Moderator, Admin]),
        ("/api/v1/audit/tiling", &[Moderator, Admin]),
        ("/api/v1/audit/verdicts", &[Moderator, Admin]),
        ("/api/v1/audit/verifications", &[Moderator, Admin]),
        (result, &[Moderator, Admin]),
        ("/api/v1/deliveries", &[Moderator, Admin]),
        ("/api/v1/seals", &[Moderator, Admin]),
        ("/api/v1/revocations", &[Admin]),
        ("/api/v1/nothing", &[]),
    ];
    let secret = "raw secret of ann".bytes().map(|byte| format!("{byte:02X}")).collect::<String>();
    for role in Role::ALL {
        let token = service.token(role, "somebody");
        for (path, allowed) in routes {
            let answer = service.get(path, &token);
            let status = match allowed {
                [] => 404,
                _ if allowed.contains(&role) => 200,
                _ => 403,
            };
            assert_eq!(answer.status, status, "{role} {path}: {}", answer.body);
            let bytes = answer.body.contains(&secret) || answer.body.contains("raw secret");
            assert_eq!(bytes, role == Admin && path.ends_with("raw"), "{role} {path}");
        }
        let body = r#"{"kind":"token","value":"some-token","reason":"a test"}"#;
        let answer = service.post("/api/v1/revocations", &token, "application/json", body);
        assert_eq!(answer.status, if role == Admin { 201 } else { 403 }, "{role}: {}", answer.body);
    }
    let quotas = service.get(
        "/api/v1/figures/quotas?from=2026-06-01T00:00:00Z&to=2026-06-02T00:00:00Z",
        &service.token(Creator, "cleo"),
    );
    let groups = quotas.json()["groups"].clone();
    assert_eq!(groups.as_array().map(Vec::len), Some(1), "{groups}");
    assert_eq!(
        (groups[0]["name"].as_str(), groups[0]["values"]["quota_remaining_micros"].as_str()),
        (Some("cleo"), Some("7000000"))
    );
}
