//! What is published reaches those whom it concerns, over every transport, and can be resumed on any of them.

use super::{ids, progress};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Event, Frames, Publisher};
use tally_tests::{Kafka, Stage, eventually, skip_without};

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

/// Scenario: an event stream is asked for in HTTP/1.0, by `HEAD`, and with more requests behind the first; its client leaves
/// without a word.
/// Guarantees: what HTTP/1.0 cannot read is not sent to it; `HEAD` has a head and no stream; nothing is answered behind a
/// stream; whoever left is noticed before a heartbeat is due.
#[test]
fn an_event_stream_is_sound_http() {
    if skip_without(Kafka::real()) {
        return;
    }
    const PATIENCE: Duration = Duration::from_secs(20);
    let (stage, desk) = (Stage::shared("feedhttp"), Desk::default());
    let service = desk.serve(&stage, &[]);
    let token = desk.pass(Role::Buyer, "user-1");
    let ask = |method: &str, version: &str, behind: &str| {
        let mut stream = TcpStream::connect(service.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "{method} /feed/sse?heartbeat_ms=15000 HTTP/{version}\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n{behind}"
        );
        stream.write_all(head.as_bytes()).expect("a request");
        stream
    };
    let until = |stream: &mut TcpStream, end: &str| {
        let (mut text, mut byte) = (String::new(), [0]);
        while !text.ends_with(end) {
            stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {text}"));
            text.push(char::from(byte[0]));
        }
        text
    };
    let streams = || service.metric("tally_feed_connections{transport=\"sse\"}");

    let mut old = ask("GET", "1.0", "");
    let head = until(&mut old, "\r\n\r\n").to_lowercase();
    assert!(head.contains(" 200 ") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(until(&mut old, "\n\n"), "retry: 500\n\n");
    let hello = until(&mut old, "\n\n");
    assert!(hello.starts_with("id: ") && hello.contains("event: hello"), "{hello}");

    let mut new = ask("GET", "1.1", "GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n");
    let head = until(&mut new, "\r\n\r\n").to_lowercase();
    assert!(head.contains("transfer-encoding: chunked") && head.contains("connection: close"), "{head}");
    let hello = until(&mut new, "\n\n\r\n");
    let (size, text) = hello.split_once("\r\n").expect("a chunk");
    assert_eq!(usize::from_str_radix(size, 16).expect("a size"), text.len() - 2);
    assert!(text.starts_with("retry: 500") && text.contains("event: hello"), "{text}");
    assert!((streams() - 2.0).abs() < f64::EPSILON);

    let mut headless = String::new();
    ask("HEAD", "1.1", "").read_to_string(&mut headless).expect("an end");
    assert!(headless.starts_with("HTTP/1.1 200") && headless.ends_with("\r\n\r\n"), "{headless}");
    assert_eq!(headless.matches("\r\n\r\n").count(), 1, "{headless}");

    drop((old, new));
    eventually(Duration::from_secs(5), "streams that ended with their clients", || {
        (streams() == 0.0).then_some(())
    });
}
