//! The delivery ledger, the snapshot, and what moderators see of their cases: the feed and the store together.

use super::{ids, progress};
use crate::integration::audit_jobs::ledger::said;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Event, Frames, Heard, Publisher};
use tally_tests::{Kafka, Stage, eventually, examples, skip_without};

const SOON: Duration = Duration::from_secs(20);
/// Long enough for an event to have come, if it were to come.
const A_WHILE: Duration = Duration::from_secs(2);

/// The example of a kind for that user, with an id of its own.
fn of(topic: Topic, kind: &str, user: &str, number: usize) -> Value {
    let found = examples::valid(topic).into_iter().find(|event| event["kind"] == kind);
    let mut event = found.expect("every kind has an example");
    event["event_id"] = examples::id(number).into();
    event["user_id"] = user.into();
    event
}

/// A prompt, an offer, a decision and a step: the ledger keeps the first three.
fn day(user: &str, number: usize) -> [(Topic, Value); 4] {
    [
        (Topic::Credit, of(Topic::Credit, "SUPPLEMENT_REQUESTED", user, number)),
        (Topic::Task, of(Topic::Task, "ACCELERATION_OFFERED", user, number + 1)),
        (Topic::Moderation, of(Topic::Moderation, "DECIDED", user, number + 2)),
        (Topic::Task, of(Topic::Task, "PROGRESSED", user, number + 3)),
    ]
}

fn last(events: &[Event]) -> &str {
    events.last().map_or("", |event| event.cursor.as_str())
}

/// Scenario: prompts, offers and decisions go to three buyers: over WebSocket, acknowledged by a frame; over SSE, acknowledged by
/// a request; and to one whose service is killed before it acknowledges, so that it resumes at another service and
/// acknowledges there. Then the audit looks.
/// Guarantees: one row a delivery that counts and none of another, each acknowledged, also the one that a dead service sent;
/// the resume is recovered; `tally audit realtime` says PASS.
#[test]
fn deliveries_and_acknowledgements_are_audited() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedledger"), Desk::default());
    let publisher = Publisher::to(&stage);
    let (mut doomed, service) = (desk.serve(&stage, &[]), desk.serve(&stage, &[]));
    let clock =
        || stage.database.query("SELECT formatDateTime(now('UTC'), '%Y-%m-%dT%H:%i:%SZ')").trim().to_owned();
    let from = clock();
    let pass = |user: &str| desk.pass(Role::Buyer, user);
    let tokens = [pass("user-1"), pass("user-2"), pass("user-3")];
    let mut ws = service.ws(&tokens[0], "now");
    let mut sse = service.sse(&tokens[1], "now");
    let mut cut = doomed.ws(&tokens[2], "now");
    let start = cut.frame("hello")["cursor"].as_str().expect("a cursor").to_owned();
    ws.frame("hello");
    sse.frame("hello");
    for (place, user) in ["user-1", "user-2", "user-3"].into_iter().enumerate() {
        day(user, place * 10).into_iter().for_each(|(topic, event)| publisher.publish(topic, &[event]));
    }
    let seen = [ws.events(4), sse.events(4), cut.events(4)];
    ws.say(&json!({ "op": "ack", "cursor": last(&seen[0]) }));
    assert_eq!(service.ack(&tokens[1], last(&seen[1])), 204);
    assert_eq!(service.ack(&tokens[1], "nonsense"), 400);
    stage_rows(&stage, 9); // the doomed service has written what it sent
    doomed.tally.sigkill();
    assert_eq!(cut.rest(SOON).1, Heard::Gone);
    let mut resumed = service.ws(&tokens[2], &start);
    assert_eq!(resumed.frame("hello")["recovered"], true);
    let again = resumed.events(4);
    let set = |events: &[Event]| events.iter().map(|event| event.id.clone()).collect::<BTreeSet<_>>();
    assert_eq!(set(&again), set(&seen[2]));
    resumed.say(&json!({ "op": "ack", "cursor": last(&again) }));

    eventually(SOON, "twelve deliveries, all acknowledged", || {
        let counted =
            stage.number("SELECT countIf(acked_at IS NOT NULL) * 1000 + count() FROM feed_deliveries_final");
        (counted == 12_012).then_some(())
    });
    let kept = stage.database.query("SELECT DISTINCT type FROM feed_deliveries_final ORDER BY type");
    let expected =
        ["credit.supplement_requested.v1", "moderation.decided.v1", "task.acceleration_offered.v1"];
    assert_eq!(kept.lines().collect::<Vec<_>>(), expected);
    let resumes = "SELECT countIf(outcome = 'FIRST') * 100 + countIf(outcome = 'RESUMED' AND recovered_at IS NOT NULL) FROM feed_resumes_final";
    eventually(SOON, "three first connects and one recovery", || {
        (stage.number(resumes) == 301).then_some(())
    });

    std::thread::sleep(Duration::from_secs(1)); // the window ends with a whole second
    let to = clock();
    stage.catch_up(&[]);
    std::thread::sleep(Duration::from_secs(1));
    stage.catch_up(&[]); // heads that were seen after the window's end
    let window = ["--from", &from, "--to", &to, "--grace-minutes", "0", "--no-record"];
    let said = said(&[&["audit", "realtime"][..], &stage.at_clickhouse(), &window].concat());
    said.says("PASS", 0).counts(&[
        ("deliveries", 12),
        ("in_time", 12),
        ("resumes", 1),
        ("recovered_in_time", 1),
    ]);
}

fn stage_rows(stage: &Stage<'_>, number: i64) {
    eventually(SOON, "the rows of the ledger", || {
        (stage.number("SELECT count() FROM feed_deliveries_final") >= number).then_some(())
    });
}

/// Scenario: a buyer's tasks are in the store, more steps of them only in Kafka, more follow after the snapshot.
/// Guarantees: the snapshot has the tasks of nobody else, its state and the stream behind its cursor together have everything;
/// an open supplement stands at its task, and a task that pauses has the progress that it had; it is signed with a published key.
#[test]
fn a_snapshot_and_what_follows_it_are_whole() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedsnap"), Desk::default());
    let publisher = Publisher::to(&stage);
    publisher.publish(Topic::Task, &progress("user-1", 0, 10));
    publisher.publish(Topic::Task, &progress("user-2", 100, 10));
    let mut prompt = of(Topic::Credit, "SUPPLEMENT_REQUESTED", "user-1", 900);
    prompt["task_id"] = "task-user-1-3".into();
    publisher.publish(Topic::Credit, &[prompt.clone()]);
    let moved = progress("user-3", 200, 1);
    let mut paused = of(Topic::Task, "PAUSED", "user-3", 950);
    (paused["task_id"], paused["state_version"]) = (moved[0]["task_id"].clone(), 999.into());
    paused["progress_permille"] = Value::Null;
    publisher.publish(Topic::Task, &[moved[0].clone(), paused]);
    stage.catch_up(&[]);
    let service = desk.serve(&stage, &[]);
    publisher.publish(Topic::Task, &progress("user-1", 10, 5));
    let token = desk.pass(Role::Buyer, "user-1");
    let (status, body) = service.get("/feed/snapshot", &token);
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let state: Value = serde_json::from_str(answer["payload"].as_str().expect("a text")).expect("JSON");
    assert_eq!((&state["complete"], &state["total"]), (&true.into(), &5.into()));
    let tasks = state["tasks"].as_array().expect("tasks");
    let known: BTreeSet<(String, i64)> = tasks
        .iter()
        .map(|task| {
            (
                task["task_id"].as_str().expect("an id").to_owned(),
                task["state_version"].as_i64().expect("a number"),
            )
        })
        .collect();
    // ten steps over five tasks: the latter five are the state
    assert_eq!(known, (0..5).map(|task| (format!("task-user-1-{task}"), task + 6)).collect());
    for task in tasks {
        assert_eq!(task["user_id"], "user-1");
        let amount = (task["task_id"] == "task-user-1-3").then_some(&prompt["amount_micros"]);
        assert_eq!(task["supplement"]["amount_micros"].as_str(), amount.map(Value::to_string).as_deref());
    }
    let (_, other) = service.get("/feed/snapshot", &desk.pass(Role::Buyer, "user-3"));
    let other: Value = serde_json::from_str(&other).expect("JSON");
    let other: Value = serde_json::from_str(other["payload"].as_str().expect("a text")).expect("JSON");
    let task = &other["tasks"][0];
    assert_eq!(
        (&task["kind"], &task["progress_permille"]),
        (&"PAUSED".into(), &moved[0]["progress_permille"])
    );
    assert!(task["progress_permille"].is_i64(), "{task}");
    let (_, keys) = service.get("/.well-known/jwks.json", "");
    assert!(keys.contains(answer["kid"].as_str().expect("a name")) && !keys.contains("\"d\""), "{keys}");
    let mut ws = service.ws(&token, answer["cursor"].as_str().expect("a cursor"));
    assert_eq!(ws.frame("hello")["recovered"], true);
    publisher.publish(Topic::Task, &progress("user-1", 15, 5));
    let followed: BTreeSet<String> = ws.events(10).into_iter().map(|event| event.id).collect();
    assert_eq!(followed, ids(10, 10).into_iter().collect());
}

/// Scenario: a buyer has 230 tasks, another one three.
/// Guarantees: the snapshot has the 200 tasks that moved last, says that these are not all, and of how many; what the other
/// buyer gets is complete.
#[test]
fn a_snapshot_of_many_tasks_says_that_it_is_not_whole() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedsnapmany"), Desk::default());
    let publisher = Publisher::to(&stage);
    let task = |user: &str, number: usize| {
        let mut event = progress(user, number, 1).remove(0);
        event["task_id"] = format!("many-{user}-{number:03}").into();
        event["occurred_at"] = format!("2025-03-03T10:{:02}:{:02}Z", number % 300 / 60, number % 60).into();
        event
    };
    let many: Vec<Value> = (0..230).map(|number| task("user-1", number)).collect();
    publisher.publish(Topic::Task, &many);
    publisher.publish(Topic::Task, &(300..303).map(|number| task("user-2", number)).collect::<Vec<_>>());
    stage.catch_up(&[]);
    let service = desk.serve(&stage, &[]);
    let state = |user: &str| -> Value {
        let (status, body) = service.get("/feed/snapshot", &desk.pass(Role::Buyer, user));
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).expect("JSON");
        serde_json::from_str(answer["payload"].as_str().expect("a text")).expect("JSON")
    };
    let shown = |state: &Value| -> Vec<String> {
        let tasks = state["tasks"].as_array().expect("tasks").iter();
        tasks.map(|task| task["task_id"].as_str().expect("an id").to_owned()).collect()
    };
    let whole = state("user-1");
    assert_eq!((&whole["complete"], &whole["total"]), (&false.into(), &230.into()));
    let latest: Vec<String> = (30..230).rev().map(|number| format!("many-user-1-{number:03}")).collect();
    assert_eq!(shown(&whole), latest);
    let few = state("user-2");
    assert_eq!((&few["complete"], &few["total"], shown(&few).len()), (&true.into(), &3.into(), 3));
}

/// Scenario: a moderator begins the review of a task's case, the case reaches the store and leaves Kafka, a service starts; the
/// task moves, another task moves, the case is decided, the task moves again. All of it is replayed to the moderator after.
/// Guarantees: steps of the task are seen, masked, while the case is in work and by nobody else's moderator; live and replay
/// are judged by the rights of the moment: after the decision not even the old steps are replayed.
#[test]
fn moderators_see_the_tasks_of_cases_in_work() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedcases"), Desk::default());
    let publisher = Publisher::to(&stage);
    let case = |kind: &str, number| {
        let mut event = of(Topic::Moderation, kind, "user-1", number);
        event["actor_id"] = "m-1".into();
        event["case_id"] = "case-1".into();
        event["task_id"] = "task-user-1-0".into();
        event
    };
    publisher.publish(Topic::Moderation, &[case("REVIEW_STARTED", 900)]);
    stage.catch_up(&[]);
    for partition in 0..3 {
        let topic = stage.topic(Topic::Moderation);
        let (_, high) = stage.kafka.watermarks(&topic, partition);
        stage.kafka.delete_records_before(&topic, partition, high);
    }
    let service = desk.serve(&stage, &[]);
    let (reviewer, colleague) = (desk.pass(Role::Moderator, "m-1"), desk.pass(Role::Moderator, "m-2"));
    let (mut ws, mut other) = (service.ws(&reviewer, "now"), service.ws(&colleague, "now"));
    let start = ws.frame("hello")["cursor"].as_str().expect("a cursor").to_owned();
    publisher.publish(Topic::Task, &progress("user-1", 0, 6)); // two of task 0, one of each other
    let mut seen = ws.events(2);
    publisher.publish(Topic::Moderation, &[case("DECIDED", 901)]);
    seen.extend(ws.events(1));
    let kinds = |events: &[Event]| events.iter().map(|event| event.kind.clone()).collect::<Vec<_>>();
    let mut sorted = kinds(&seen);
    sorted.sort();
    assert_eq!(sorted, ["moderation.decided.v1", "task.progressed.v1", "task.progressed.v1"]);
    for step in seen.iter().filter(|event| event.kind.starts_with("task")) {
        let data = &step.payload["data"];
        assert_eq!((&data["task_id"], &data["user_id"]), (&"task-user-1-0".into(), &Value::Null));
    }
    assert_eq!(kinds(&other.events(1)), ["moderation.decided.v1"]);
    publisher.publish(Topic::Task, &progress("user-1", 10, 1));
    for quiet in [&mut ws, &mut other] {
        let (frames, _) = quiet.rest(A_WHILE);
        assert!(frames.iter().all(|frame| frame["op"] != "event"), "{frames:?}");
    }
    let replayed = service.poll(&reviewer, &start, 1);
    let replayed: Vec<Event> = replayed["events"].as_array().expect("a list").iter().map(Event::of).collect();
    assert_eq!(kinds(&replayed), ["moderation.decided.v1"]);
}
