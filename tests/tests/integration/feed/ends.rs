//! How streams end: by a revocation, a reader that takes nothing, a service that stops, a token that ends.

use super::{ids, progress};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Event, Frames, Heard, Publisher};
use tally_tests::{Kafka, Stage, eventually, skip_without};

const SOON: Duration = Duration::from_secs(20);
/// What the contract gives a revocation.
const REVOKED: Duration = Duration::from_secs(2);

fn code_of(frames: &[serde_json::Value]) -> i64 {
    frames.iter().rfind(|frame| frame["op"] == "goaway").and_then(|frame| frame["code"].as_i64()).unwrap_or(0)
}

/// Scenario: a subject is revoked in the store while it listens on all transports and a replay of 3,000 events is under way
/// to a reader that takes a few at a time; events go on being published.
/// Guarantees: two seconds later each stream has ended with 4004 and nothing is let in again.
#[test]
fn a_revocation_ends_every_stream_within_two_seconds() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedrevoke"), Desk::default());
    let publisher = Publisher::to(&stage);
    let service = desk.serve(&stage, &["--feed-ring-events-max", "1000"]);
    let token = desk.pass(Role::Buyer, "user-1");
    let start = service.poll(&token, "", 0)["cursor"].as_str().expect("a cursor").to_owned();
    let mut reader = service.ws(&token, "now");
    reader.frame("hello");
    for first in (0..3_000).step_by(500) {
        publisher.publish(Topic::Task, &progress("user-1", first, 500));
        reader.events(500);
    }
    drop(reader);
    // the service has read it all: who begins now and reads later lets nothing of it pile up, which would be 4102
    let (mut ws, mut sse) = (service.ws(&token, "now"), service.sse(&token, "now"));
    let mut replay = service.ws(&token, &start);
    ws.frame("hello");
    sse.frame("hello");
    replay.events(5);
    stage.database.query(
        "INSERT INTO revocations (kind, value, revoked_at, lifted, reason, revoked_by) VALUES ('SUBJECT', 'user-1', now64(6), false, 'a test', 'test')",
    );
    let revoked = Instant::now();
    let poll = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            // one that was let in before the revocation was known waits for events; later ones are refused at once
            let path = "/feed/events?after=now&wait=20";
            let mut answers = vec![service.get(path, &token)];
            while answers.last().is_some_and(|(status, _)| *status == 200) && revoked.elapsed() < SOON {
                answers.push(service.get(path, &token));
            }
            (answers.pop().expect("an answer"), revoked.elapsed())
        });
        for number in 0.. {
            if revoked.elapsed() > REVOKED + Duration::from_secs(1) {
                break;
            }
            publisher.publish(Topic::Task, &progress("user-1", 5_000 + number, 1));
            std::thread::sleep(Duration::from_millis(50));
        }
        waiting.join().expect("a poll")
    });
    let ((status, body), after) = poll;
    assert_eq!(status, 401, "{body}");
    assert!(body.contains("4004") && after <= REVOKED, "{body} after {after:?}");
    for frames in [ws.rest(SOON), replay.rest(SOON)] {
        assert_eq!((code_of(&frames.0), frames.1), (4004, Heard::Closed(4004)));
        assert_within(&frames.0, revoked.elapsed());
    }
    let (frames, end) = sse.rest(SOON);
    assert_eq!((code_of(&frames), end), (4004, Heard::Gone));
    assert_within(&frames, revoked.elapsed());
    let mut again = service.ws(&token, "now");
    assert_eq!(again.rest(SOON).1, Heard::Closed(4004));
}

/// No event that was published 2 s after the revocation or later is among them: 50 ms apart, from number 5,000 on.
fn assert_within(frames: &[serde_json::Value], elapsed: Duration) {
    let events: Vec<Event> = frames.iter().filter(|frame| frame["op"] == "event").map(Event::of).collect();
    let late = ids(5_000 + 40, 100);
    let late: Vec<&Event> = events.iter().filter(|event| late.contains(&event.id)).collect();
    assert!(late.is_empty(), "{late:?} {elapsed:?}");
}

/// Scenario: a reader over WebSocket and one over SSE stop reading while thousands of events of theirs are published; another
/// subject listens meanwhile. Later both resume from the last cursor that they read.
/// Guarantees: each is let go with 4102, told where to go on, and counted; the other subject loses nothing; the resumes are
/// complete.
#[test]
fn a_stalled_reader_is_let_go_and_resumes_without_loss() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedstall"), Desk::default());
    let publisher = Publisher::to(&stage);
    let service = desk.serve(&stage, &[]);
    let (token, other) = (desk.pass(Role::Buyer, "user-1"), desk.pass(Role::Buyer, "user-2"));
    let (mut ws, mut sse, mut calm) =
        (service.ws(&token, "now"), service.sse(&token, "now"), service.ws(&other, "now"));
    for hello in [ws.frame("hello"), sse.frame("hello"), calm.frame("hello")] {
        assert_eq!(hello["recovered"], true);
    }
    let slow = "tally_feed_closes_total{reason=\"slow_consumer\"}";
    let mut published = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while service.metric(slow) < 2.0 {
        assert!(Instant::now() < deadline, "a stalled reader is counted after {published} events");
        publisher.publish(Topic::Task, &progress("user-1", published, 500));
        publisher.publish(Topic::Task, &progress("user-2", 500_000 + published / 500, 1));
        published += 500;
    }
    // they have some seconds to come back and hear why
    let ((read, end), (read_sse, end_sse)) = std::thread::scope(|scope| {
        let over_sse = scope.spawn(|| sse.rest(SOON));
        (ws.rest(SOON), over_sse.join().expect("a reader"))
    });
    assert_eq!((code_of(&read), end), (4102, Heard::Closed(4102)));
    assert_eq!((code_of(&read_sse), end_sse), (4102, Heard::Gone));
    for read in [&read, &read_sse] {
        let last = read.iter().rfind(|frame| frame["op"] == "event").expect("events before the stall");
        let goaway = read.iter().rfind(|frame| frame["op"] == "goaway").expect("a goaway");
        assert_eq!(goaway["cursor"], last["cursor"], "nobody is told of a position that was not reached");
    }
    calm.events(published / 500);
    for (read, mut again) in [(read, true), (read_sse, false)].map(|(read, over_sse)| {
        let events: Vec<Event> = read.iter().filter(|frame| frame["op"] == "event").map(Event::of).collect();
        let cursor = events.last().map_or("earliest", |event| event.cursor.as_str()).to_owned();
        let again: Box<dyn Frames> = if over_sse {
            Box::new(service.sse(&token, &cursor))
        } else {
            Box::new(service.ws(&token, &cursor))
        };
        (events, again)
    }) {
        let mut all: BTreeSet<String> = read.iter().map(|event| event.id.clone()).collect();
        assert!(all.len() < published, "the reader did stall");
        let missing = published - all.len();
        all.extend(again.events(missing).into_iter().map(|event| event.id));
        assert_eq!(all, ids(0, published).into_iter().collect());
    }
}

/// Scenario: the service is told to stop while clients listen.
/// Guarantees: each is told 4200 and may come back at once; the process ends soon.
#[test]
fn a_stopping_service_says_goodbye() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feeddrain"), Desk::default());
    let mut service = desk.serve(&stage, &[]);
    let token = desk.pass(Role::Buyer, "user-1");
    let (mut ws, mut sse) = (service.ws(&token, "now"), service.sse(&token, "now"));
    ws.frame("hello");
    sse.frame("hello");
    service.tally.sigterm();
    let goodbye = ws.frame("goaway");
    assert_eq!((&goodbye["code"], &goodbye["reconnect"]), (&4200.into(), &true.into()));
    assert_eq!(ws.rest(SOON).1, Heard::Closed(4200));
    let (frames, end) = sse.rest(SOON);
    assert_eq!((code_of(&frames), end), (4200, Heard::Gone));
    service.tally.expect_success(SOON);
}

/// Scenario: wrong first frames, no first frame, wrong tokens, a token that ends and one that is renewed, too many
/// connections, a foreign page, a role without a feed; an acknowledgement of nothing; too many wrong tokens.
/// Guarantees: each is answered by its code; what a WebSocket is told in a frame is the API's document.
#[test]
fn who_is_not_let_in_is_told_why() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feeddoor"), Desk::default());
    let service = desk.serve(&stage, &["--feed-connections-per-subject-max", "2"]);
    let token = desk.pass(Role::Buyer, "user-1");
    let closed = |token: &str, cursor: &str| service.ws(token, cursor).rest(SOON).1;
    assert_eq!(closed("", "now"), Heard::Closed(4001));
    assert_eq!(closed("no token", "now"), Heard::Closed(4001));
    assert_eq!(closed(&Desk::default().pass(Role::Admin, "root"), "now"), Heard::Closed(4001));
    assert_eq!(closed(&token, "no cursor"), Heard::Closed(4000));
    assert_eq!(closed(&desk.pass(Role::Service, "billing"), "now"), Heard::Closed(4003));
    let (mut one, mut two) = (service.ws(&token, "now"), service.ws(&token, "now"));
    one.frame("hello");
    two.frame("hello");
    assert_eq!(closed(&token, "now"), Heard::Closed(4005));
    let (status, body) = service.get("/feed/events?wait=1", &token);
    assert_eq!(status, 429, "{body}");
    let problem: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        (&problem["type"], &problem["close"], problem["request_id"].is_string()),
        (&"urn:tally:problem:rate_limited".into(), &4005.into(), true)
    );
    one.say(&json!({ "op": "ack", "cursor": "nonsense" }));
    let problem = one.frame("error")["problem"].clone();
    let said =
        ["type", "title", "code", "detail"].map(|name| problem[name].as_str().expect("a text").to_owned());
    assert_eq!(
        said,
        [
            "urn:tally:problem:invalid_cursor",
            "the cursor is not one of this route",
            "invalid_cursor",
            "the cursor is no position of this log"
        ]
    );
    assert_eq!((&problem["status"], problem["request_id"].as_str().map(str::len)), (&400.into(), Some(36)));
    one.say(&json!({ "op": "connect", "token": token }));
    assert_eq!(one.rest(SOON).1, Heard::Closed(4000));
    two.say(&json!({ "op": "refresh", "token": desk.pass(Role::Buyer, "user-2") }));
    assert_eq!(two.rest(SOON).1, Heard::Closed(4003));
    assert_eq!(service.get("/feed/events", "").0, 401);
    let bounded = desk.serve(&stage, &["--bad-tokens-per-min-max", "2"]);
    let tried = [(); 4].map(|()| bounded.ws("no token", "now").rest(SOON).1);
    assert_eq!(tried, [4001, 4001, 4100, 4100].map(Heard::Closed));
    let (status, body) = bounded.get("/feed/events", "no token");
    assert!(status == 429 && body.contains("\"close\":4100"), "{status} {body}");
    bounded.ws(&token, "now").frame("hello"); // a good one is let in all the same

    // a token of 62 seconds is asked for another within two; one of three seconds ends
    let mut renewed = service.ws(&desk.token(Role::Buyer, "user-1", 62).0, "now");
    renewed.frame("reauth");
    renewed.say(&json!({ "op": "refresh", "token": token }));
    let mut short = service.ws(&desk.token(Role::Buyer, "user-1", 3).0, "now");
    let (frames, end) = short.rest(SOON);
    assert_eq!((code_of(&frames), end), (4201, Heard::Closed(4201)));
    eventually(SOON, "a heartbeat after the renewal", || {
        (renewed.frame("heartbeat")["op"] == "heartbeat").then_some(())
    });
}
