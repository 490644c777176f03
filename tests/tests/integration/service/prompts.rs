//! What a buyer was asked, and what became of it.

use tally_dashboards::identity::Role;
use tally_tests::service::Service;

/// A task, its events as `topic kind minute`, and the state that each prompt is in after them, in the order in which they were shown.
type Case = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// Events of one buyer.
const CASES: [Case; 12] = [
    ("offered", &["task SUBMITTED 0", "task ACCELERATION_OFFERED 1"], &[("ACCELERATION", "SHOWN")]),
    (
        "taken",
        &["task SUBMITTED 0", "task ACCELERATION_OFFERED 1", "task ACCELERATED 2", "task STARTED 3"],
        &[("ACCELERATION", "ACCEPTED")],
    ),
    (
        "passed",
        &["task SUBMITTED 0", "task ACCELERATION_OFFERED 1", "task STARTED 3"],
        &[("ACCELERATION", "EXPIRED")],
    ),
    (
        "undone",
        &["task ACCELERATION_OFFERED 1", "task ACCELERATED 2", "task ROLLED_BACK 4"],
        &[("ACCELERATION", "ROLLED_BACK")],
    ),
    ("asked", &["task STARTED 0", "credit SUPPLEMENT_REQUESTED 1"], &[("SUPPLEMENT", "SHOWN")]),
    (
        "paid",
        &[
            "task STARTED 0",
            "credit SUPPLEMENT_REQUESTED 1",
            "credit SUPPLEMENT_CHARGED 2",
            "task SUCCEEDED 3",
        ],
        &[("SUPPLEMENT", "ACCEPTED")],
    ),
    (
        "refused",
        &[
            "task STARTED 0",
            "credit SUPPLEMENT_REQUESTED 1",
            "credit SUPPLEMENT_DECLINED 2",
            "task CANCELLED 3",
        ],
        &[("SUPPLEMENT", "DECLINED")],
    ),
    (
        "ignored",
        &["task STARTED 0", "credit SUPPLEMENT_REQUESTED 1", "task CANCELLED 3"],
        &[("SUPPLEMENT", "EXPIRED")],
    ),
    (
        "both",
        &[
            "task ACCELERATION_OFFERED 1",
            "task ACCELERATED 2",
            "task STARTED 3",
            "credit SUPPLEMENT_REQUESTED 4",
            "credit SUPPLEMENT_CHARGED 5",
            "credit ROLLED_BACK 6",
        ],
        &[("ACCELERATION", "ACCEPTED"), ("SUPPLEMENT", "ROLLED_BACK")],
    ),
    (
        "taken back",
        &[
            "task ACCELERATION_OFFERED 1",
            "task ACCELERATED 2",
            "task STARTED 3",
            "credit SUPPLEMENT_REQUESTED 4",
            "credit SUPPLEMENT_CHARGED 5",
            "task ROLLED_BACK 6",
        ],
        &[("ACCELERATION", "ROLLED_BACK"), ("SUPPLEMENT", "ROLLED_BACK")],
    ),
    (
        "asked twice",
        &[
            "task STARTED 0",
            "credit SUPPLEMENT_REQUESTED 1",
            "credit SUPPLEMENT_CHARGED 2",
            "credit SUPPLEMENT_REQUESTED 3",
        ],
        &[("SUPPLEMENT", "ACCEPTED"), ("SUPPLEMENT", "SHOWN")],
    ),
    (
        "asked thrice",
        &[
            "task STARTED 0",
            "credit SUPPLEMENT_REQUESTED 1",
            "credit SUPPLEMENT_REQUESTED 2",
            "credit SUPPLEMENT_DECLINED 3",
            "credit SUPPLEMENT_REQUESTED 4",
            "credit SUPPLEMENT_CHARGED 5",
            "credit ROLLED_BACK 6",
            "task SUCCEEDED 7",
            "credit SUPPLEMENT_REQUESTED 8",
        ],
        &[
            ("SUPPLEMENT", "EXPIRED"),
            ("SUPPLEMENT", "DECLINED"),
            ("SUPPLEMENT", "ROLLED_BACK"),
            ("SUPPLEMENT", "SHOWN"),
        ],
    ),
];

/// Scenario: tasks of one buyer on which acceleration was offered or a supplement asked for, answered in every way or not at all; a task
/// of another buyer; supplements that were asked for more than once.
/// Guarantees: each prompt is in the state that its events give; another buyer sees none of them.
#[test]
fn prompts_are_in_the_state_that_their_events_give() {
    let database = super::platform::platform();
    for (number, (task, events, _)) in CASES.iter().enumerate() {
        for (version, event) in events.iter().enumerate() {
            let mut words = event.split(' ');
            let (topic, kind, minute) = (
                words.next().expect("a topic"),
                words.next().expect("a kind"),
                words.next().expect("a minute"),
            );
            let id = format!("00000000-0000-7000-8000-0000000{number:02}9{version:02}");
            let at = format!("2026-06-03 10:0{minute}:00.000000");
            database.query(&match topic {
                "task" => format!("INSERT INTO task_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, task_id, user_id, kind, queue, state_version, audience, topic) VALUES ('{id}', '{at}', '{at}', 's', 'BILLING', 'SERVICE', '{task}', 'zoe', '{kind}', 'NORMAL', {version}, 'CUSTOMER', 'task-events')"),
                _ => format!("INSERT INTO credit_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, task_id, wallet_id, user_id, kind, amount_micros, audience, topic) VALUES ('{id}', '{at}', '{at}', 's', 'BILLING', 'SERVICE', '{task}', 'w-zoe', 'zoe', '{kind}', 1500000, 'CUSTOMER', 'credit-events')"),
            });
        }
    }
    let service = Service::start(&database, &[]);
    let path = "/api/v1/panels/my-prompts?from=2026-06-01T00:00:00Z&to=2026-06-05T00:00:00Z";
    let states = |subject: &str| -> Vec<(String, String, String)> {
        let said = service.get(path, &service.token(Role::Buyer, subject)).json();
        let text = |row: &serde_json::Value, at: usize| row[at].as_str().unwrap_or_default().to_owned();
        let rows = said["rows"].as_array().unwrap_or_else(|| panic!("{said}"));
        let mut rows: Vec<_> =
            rows.iter().map(|row| (text(row, 0), text(row, 3), text(row, 1), text(row, 2))).collect();
        rows.sort();
        rows.into_iter().map(|(task, _, what, state)| (task, what, state)).collect()
    };
    let expected = CASES.iter().flat_map(|(task, _, prompts)| {
        prompts.iter().map(move |(what, state)| (task.to_string(), what.to_string(), state.to_string()))
    });
    let mut expected: Vec<_> = expected.collect();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(states("zoe"), expected);
    assert_eq!(states("bob"), []);
    assert_eq!(service.get(path, &service.token(Role::Moderator, "m")).status, 403);
}
