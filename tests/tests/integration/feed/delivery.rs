//! What is published reaches those whom it concerns, over every transport, and can be resumed on any of them.

use super::{ids, progress};
use std::collections::BTreeSet;
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Event, Frames, Publisher};
use tally_tests::{Kafka, Stage, skip_without};

fn sorted(events: &[Event]) -> Vec<String> {
    let ids: BTreeSet<String> = events.iter().map(|event| event.id.clone()).collect();
    assert_eq!(ids.len(), events.len(), "nothing is doubled");
    ids.into_iter().collect()
}

/// Scenario: a buyer listens over WebSocket, SSE and long poll while events of theirs and of another buyer are published.
/// Guarantees: each transport gives every event of theirs once, none of the other's; `prev` chains them; what Kafka holds and
/// the route would refuse is passed over.
#[test]
fn events_reach_their_buyer_over_every_transport() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedall"), Desk::default());
    let publisher = Publisher::to(&stage);
    let service = desk.serve(&stage, &[]);
    let token = desk.pass(Role::Buyer, "user-1");
    let (mut ws, mut sse) = (service.ws(&token, "now"), service.sse(&token, "now"));
    let begun = [ws.frame("hello"), sse.frame("hello")];
    let start = service.poll(&token, "", 0)["cursor"].as_str().expect("a cursor").to_owned();
    publisher.publish(Topic::Task, &progress("user-2", 500, 20));
    publisher.raw(Topic::Task, "task-user-1-0", b"not an event");
    publisher.publish(Topic::Task, &progress("user-1", 0, 40));
    for (hello, events) in begun.iter().zip([ws.events(40), sse.events(40)]) {
        assert_eq!(hello["recovered"], true);
        assert_eq!(sorted(&events), ids(0, 40));
        let mut before = hello["cursor"].as_str().expect("a cursor").to_owned();
        for event in &events {
            assert_eq!(event.payload["data"]["user_id"], "user-1");
            assert_eq!(event.kind, "task.progressed.v1");
            assert_eq!(event.prev, before);
            before.clone_from(&event.cursor);
        }
    }
    let (mut polled, mut cursor) = (Vec::new(), start);
    while polled.len() < 40 {
        let answer = service.poll(&token, &cursor, 10);
        polled.extend(answer["events"].as_array().expect("a list").iter().map(Event::of));
        answer["cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
    }
    assert_eq!(sorted(&polled), ids(0, 40));
}
