//! Bounds around the feed: connections, rates, times, slow readers, a store that is gone.

use super::{ids, progress};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Frames, Heard, Publisher};
use tally_tests::{Kafka, Proxy, Stage, eventually, skip_without};

const SOON: Duration = Duration::from_secs(20);

/// Scenario: two WebSockets where two connections are allowed, and a third client; one of them leaves.
/// Guarantees: an upgraded connection keeps its place and is counted; the third is served once there is room.
#[test]
fn websockets_are_connections_too() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedplaces"), Desk::default());
    let service = desk.serve(&stage, &["--connections-max", "2"]);
    let token = desk.pass(Role::Buyer, "user-1");
    let (mut one, mut two) = (service.ws(&token, "now"), service.ws(&token, "now"));
    one.frame("hello");
    two.frame("hello");
    let mut third = TcpStream::connect(service.address).expect("a place in the queue");
    third.write_all(b"GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("a request");
    third.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let mut said = [0; 12];
    assert!(third.read(&mut said).is_err(), "served beyond the bound");
    assert!((service.metric("tally_service_connections") - 2.0).abs() < f64::EPSILON);
    drop(one);
    third.set_read_timeout(Some(SOON)).expect("a timeout");
    third.read_exact(&mut said).expect("an answer");
    assert_eq!(&said, b"HTTP/1.1 404");
}

/// Scenario: requests may take one second; a poll waits three, another bears no token.
/// Guarantees: the poll is answered after its own time, not cut; both are counted under the route.
#[test]
fn a_long_poll_has_its_own_time_and_is_counted() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedtime"), Desk::default());
    let service = desk.serve(&stage, &["--request-s-max", "1"]);
    let begun = Instant::now();
    let (status, body) = service.get("/feed/events?after=now&wait=3", &desk.pass(Role::Buyer, "user-1"));
    assert_eq!(status, 200, "{body}");
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert_eq!(service.get("/feed/events", "").0, 401);
    let counted = ["200", "401"].map(|status| {
        service.metric(&format!("tally_service_requests_total{{route=\"/feed/events\",status=\"{status}\"}}"))
    });
    assert!(counted.iter().all(|count| (count - 1.0).abs() < f64::EPSILON), "{counted:?}");
}

/// Scenario: one subject asks the feed more often than its rate; another one asks once.
/// Guarantees: it is refused on every route of the feed and of the API, with 4100; the other is served.
#[test]
fn the_rate_holds_for_feed_and_api_together() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedrate"), Desk::default());
    let service = desk.serve(&stage, &["--requests-per-s-max", "1", "--requests-burst-max", "4"]);
    let (token, other) = (desk.pass(Role::Buyer, "user-1"), desk.pass(Role::Buyer, "user-2"));
    let spend = || {
        let answers = (0..40).map(|_| service.get("/feed/snapshot", &token));
        answers.into_iter().find(|(status, _)| *status == 429).expect("a refusal").1
    };
    assert!(spend().contains("4100"));
    for path in ["/feed/events?after=now", "/feed/sse", "/feed/snapshot", "/api/v1/me"] {
        spend();
        assert_eq!(service.get(path, &token).0, 429, "{path}");
    }
    spend();
    assert_eq!(service.ack(&token, "x"), 429);
    spend();
    assert_eq!(service.ws(&token, "now").rest(SOON).1, Heard::Closed(4100));
    assert_eq!(service.get("/api/v1/me", &other).0, 200);
    assert_eq!(service.poll(&other, "now", 0)["recovered"], true);
}

/// Scenario: a reader over SSE that takes 80 kB a second, steadily, while it is sent more than a socket's buffers hold.
/// Guarantees: it is given every event: who reads is not taken for one who does not, however large the system's buffers.
#[test]
fn a_slow_but_steady_reader_gets_everything() {
    if skip_without(Kafka::real()) {
        return;
    }
    const EVENTS: usize = 4_000;
    const BYTES_AT_ONCE: usize = 8_000;
    let (stage, desk) = (Stage::shared("feedslow"), Desk::default());
    let publisher = Publisher::to(&stage);
    let service = desk.serve(&stage, &[]);
    let token = desk.pass(Role::Buyer, "user-1");
    let start = service.poll(&token, "", 0)["cursor"].as_str().expect("a cursor").to_owned();
    publisher.publish(Topic::Task, &progress("user-1", 0, EVENTS));
    // the service has them all before the reader comes: what is new while a write is blocked counts against its reader
    let (mut after, mut seen) = (start.clone(), 0);
    while seen < EVENTS {
        let page = service.poll(&token, &after, 5);
        seen += page["events"].as_array().expect("events").len();
        after = page["cursor"].as_str().expect("a cursor").to_owned();
    }
    let mut stream = TcpStream::connect(service.address).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let head = format!(
        "GET /feed/sse?cursor={start} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("a request");
    let (mut text, mut buffer) = (String::new(), vec![0; BYTES_AT_ONCE]);
    let begun = Instant::now();
    let wanted: BTreeSet<String> = ids(0, EVENTS).into_iter().collect();
    for turn in 1.. {
        let read = stream.read(&mut buffer).expect("bytes");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        // chunks of HTTP may cut a line; an id is looked for in the whole text, now and then
        let is_end = read == 0 || text.matches("event: event").count() >= EVENTS;
        if is_end && (read == 0 || read < BYTES_AT_ONCE) {
            break;
        }
        sleep((Duration::from_millis(100) * turn).saturating_sub(begun.elapsed()));
    }
    let missing = wanted.iter().filter(|id| !text.contains(id.as_str())).count();
    let end = text.get(text.len().saturating_sub(300)..).unwrap_or_default();
    assert_eq!(
        missing,
        0,
        "of {EVENTS} events, {} bytes in {:?} that end so: {end}",
        text.len(),
        begun.elapsed()
    );
    assert!(text.len() > 3_000_000, "{} bytes would fit into a socket's buffers", text.len());
}

/// Scenario: streams and the API of a service whose store stops answering; later it answers again.
/// Guarantees: within 2 s each stream is closed with 4103, requests are refused with 503 and the service is not ready; all
/// of that ends with the trouble.
#[test]
fn what_may_be_revoked_unseen_is_closed() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedblind"), Desk::default());
    let store = Proxy::before(stage.database.url().trim_start_matches("http://"));
    let service = desk.serve_over(&stage, &store.url(), &[]);
    let token = desk.pass(Role::Buyer, "user-1");
    let (mut ws, mut sse) = (service.ws(&token, "now"), service.sse(&token, "now"));
    ws.frame("hello");
    sse.frame("hello");
    assert_eq!(service.get("/api/v1/me", &token).0, 200);
    store.block(&[""]);
    let begun = Instant::now();
    let (frames, end) = ws.rest(SOON);
    let after = begun.elapsed();
    assert_eq!(end, Heard::Closed(4103), "{frames:?}");
    assert!(after <= Duration::from_secs(2), "{after:?}");
    let (frames, end) = sse.rest(SOON);
    assert_eq!((frames.last().map(|frame| frame["code"].clone()), end), (Some(4103.into()), Heard::Gone));
    assert!(begun.elapsed() <= Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(service.get("/api/v1/me", &token).0, 503);
    assert_eq!(service.get("/feed/events", &token).0, 503);
    store.block(&[]);
    eventually(SOON, "a service that lets people in again", || {
        (service.get("/api/v1/me", &token).0 == 200).then_some(())
    });
    service.ws(&token, "now").frame("hello");
}
