//! The feed's routes as the table of rights and the document have them.

use super::progress;
use std::time::Duration;
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Frames, Heard, Publisher};
use tally_tests::{Kafka, Stage, python, skip_without};

const SOON: Duration = Duration::from_secs(20);

/// Scenario: every role, and somebody without a token, at every route of the feed.
/// Guarantees: a service has no feed, by no route of it, and everybody else has; without a token there are only the keys.
#[test]
fn routes_of_the_feed_are_for_those_the_table_names() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedroutes"), Desk::default());
    let service = desk.serve(&stage, &[]);
    let polled = service.poll(&desk.pass(Role::Admin, "root"), "now", 0);
    let cursor = polled["cursor"].as_str().expect("a cursor");
    let keys = "/.well-known/jwks.json";
    for role in Role::ALL {
        let token = desk.pass(role, "somebody");
        let has_feed = role != Role::Service;
        let status = |path: &str| service.get(path, &token).0;
        let expected = if has_feed { 200 } else { 403 };
        assert_eq!(
            [status("/feed/events?wait=0"), status("/feed/snapshot"), status(keys)],
            [expected, expected, 200],
            "{role}"
        );
        assert_eq!(service.ack(&token, cursor), if has_feed { 204 } else { 403 }, "{role}");
        let mut ws = service.ws(&token, "now");
        if has_feed {
            ws.frame("hello");
            service.sse(&token, "now").frame("hello");
        } else {
            assert_eq!(ws.rest(SOON).1, Heard::Closed(4003), "{role}");
            assert_eq!(status("/feed/sse"), 403, "{role}");
        }
    }
    let status = |path: &str| service.get(path, "").0;
    assert_eq!(["/feed/sse", "/feed/events", "/feed/snapshot"].map(status), [401; 3]);
    assert_eq!((service.ack("", cursor), status(keys)), (401, 200));
    assert_eq!(status("/feed/ws"), 400, "a request that is no upgrade");
}

/// Scenario: schemathesis asks the routes of the feed that come to an end, with generated values, valid and not.
/// Guarantees: no answer of 5xx, none with a status, a media type or a shape that the document does not have. A WebSocket and a
/// stream without end are documented, and not asked here.
#[test]
fn what_the_feed_answers_is_what_is_documented() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feeddocument"), Desk::default());
    Publisher::to(&stage).publish(Topic::Task, &progress("user-1", 0, 20));
    stage.catch_up(&[]);
    let unbounded = [
        "--requests-per-s-max",
        "10000",
        "--requests-burst-max",
        "10000",
        "--bad-tokens-per-min-max",
        "100000",
    ];
    let service = desk.serve(&stage, &unbounded);
    let document = format!("http://{}/api/v1/openapi.json", service.address);
    let ending = "^/(feed/(events|acks|snapshot)|[.]well-known/jwks[.]json)$";
    let ended = python::run("explore_api.py", &[&document, &desk.pass(Role::Admin, "ops"), ending], "");
    assert!(ended.stdout.contains("Tested: 4"), "{}", ended.stdout);
}
