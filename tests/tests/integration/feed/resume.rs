//! Resuming: by one cursor, on every transport, on every replica, after a kill; or a clear word that it cannot be done.

use super::{ids, progress};
use std::collections::BTreeSet;
use std::time::Duration;
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Event, Frames, Heard, Publisher, Service};
use tally_tests::stage::PARTITIONS;
use tally_tests::{Kafka, Stage, eventually, skip_without};

const SOON: Duration = Duration::from_secs(20);

fn set(events: &[Event]) -> BTreeSet<String> {
    let ids: BTreeSet<String> = events.iter().map(|event| event.id.clone()).collect();
    assert_eq!(ids.len(), events.len(), "nothing is doubled");
    ids
}

fn numbers(from: usize, number: usize) -> BTreeSet<String> {
    ids(from, number).into_iter().collect()
}

/// A service that keeps so few events in memory that resumes go back to Kafka.
const SMALL: [&str; 2] = ["--feed-ring-events-max", "1000"];

/// Scenario: 30 events on WebSocket; 30 while nobody listens, then on over SSE at another service; 30 more, that service is
/// killed, then on by long poll at the first; last, a third service of later start and everything from `earliest`.
/// Guarantees: the one cursor works on all; every stretch is complete and nothing comes twice.
#[test]
fn one_cursor_serves_transports_replicas_and_restarts() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedresume"), Desk::default());
    let publisher = Publisher::to(&stage);
    let (first, mut second) = (desk.serve(&stage, &[]), desk.serve(&stage, &[]));
    let token = desk.pass(Role::Buyer, "user-1");
    let mut ws = first.ws(&token, "now");
    ws.frame("hello");
    publisher.publish(Topic::Task, &progress("user-1", 0, 30));
    let seen = ws.events(30);
    assert_eq!(set(&seen), numbers(0, 30));
    let cursor = seen.last().expect("thirty").cursor.clone();
    drop(ws);

    publisher.publish(Topic::Task, &progress("user-1", 30, 30));
    publisher.publish(Topic::Task, &progress("user-2", 500, 10));
    let mut sse = second.sse(&token, &cursor);
    let hello = sse.frame("hello");
    assert_eq!((&hello["recovered"], hello["cursor"].as_str()), (&true.into(), Some(&*cursor)));
    let seen = sse.events(30);
    assert_eq!(set(&seen), numbers(30, 30));
    assert_eq!(seen[0].prev, cursor);
    let cursor = seen.last().expect("thirty").cursor.clone();

    second.tally.sigkill();
    assert_eq!(sse.rest(SOON).1, Heard::Gone);
    publisher.publish(Topic::Task, &progress("user-1", 60, 30));
    let mut polled = Vec::new();
    let mut after = cursor.clone();
    while polled.len() < 30 {
        let answer = first.poll(&token, &after, 5);
        polled.extend(answer["events"].as_array().expect("a list").iter().map(Event::of));
        answer["cursor"].as_str().expect("a cursor").clone_into(&mut after);
    }
    assert_eq!(set(&polled), numbers(60, 30));

    let again = desk.serve_on(&stage, &second.address.to_string(), &[]);
    let mut ws = again.ws(&token, &cursor);
    assert_eq!(set(&ws.events(30)), numbers(60, 30));
    let mut sse = again.sse(&token, "earliest");
    assert_eq!(set(&sse.events(90)), numbers(0, 90));
}

/// Scenario: 4,000 events pass a service that keeps 1,000 in memory, while more are published during the replay.
/// Guarantees: a resume from before them is complete over either transport: replayed from Kafka, gone on with from memory.
#[test]
fn what_memory_no_longer_holds_comes_from_kafka() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedreplay"), Desk::default());
    let publisher = Publisher::to(&stage);
    let service = desk.serve(&stage, &SMALL);
    let token = desk.pass(Role::Buyer, "user-1");
    let start = service.poll(&token, "", 0)["cursor"].as_str().expect("a cursor").to_owned();
    for step in 0..4 {
        publisher.publish(Topic::Task, &progress("user-1", step * 500, 500));
        publisher.publish(Topic::Task, &progress("user-2", 10_000 + step * 500, 500));
    }
    eventually(SOON, "a full ring", || (service.metric("tally_feed_ring_events") >= 1000.0).then_some(()));
    let (mut ws, mut sse) = (service.ws(&token, &start), service.sse(&token, &start));
    publisher.publish(Topic::Task, &progress("user-1", 2_000, 500));
    assert_eq!(ws.frame("hello")["recovered"], true);
    assert_eq!(set(&ws.events(2_500)), numbers(0, 2_500));
    assert_eq!(set(&sse.events(2_500)), numbers(0, 2_500));
}

/// Scenario: nothing of one's own for a while, but much of others'; then a resume from the last heartbeat's cursor.
/// Guarantees: heartbeats move the cursor past what is filtered, also past records that are no events; the resume gives what
/// came after, and its `prev` is the heartbeat's.
#[test]
fn heartbeats_move_the_cursor_past_what_is_filtered() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedbeat"), Desk::default());
    let publisher = Publisher::to(&stage);
    let service = desk.serve(&stage, &SMALL);
    let token = desk.pass(Role::Buyer, "user-1");
    let mut ws = service.ws(&token, "now");
    let first = ws.frame("hello")["cursor"].clone();
    publisher.publish(Topic::Task, &progress("user-2", 0, 2_000));
    publisher.raw(Topic::Credit, "wallet-1", b"no event");
    publisher.publish(Topic::Task, &progress("user-2", 2_000, 10));
    let moved = eventually(SOON, "a heartbeat that does not move any more", || {
        let (one, two) = (ws.frame("heartbeat"), ws.frame("heartbeat"));
        (one == two && one["cursor"] != first).then_some(one)
    });
    let cursor = moved["cursor"].as_str().expect("a cursor");
    publisher.publish(Topic::Task, &progress("user-1", 9_000, 1));
    assert_eq!(ws.events(1)[0].prev, cursor);
    // from memory: the old position would need Kafka, since 2,000 events lie behind it
    let mut again = service.ws(&token, cursor);
    assert_eq!(again.frame("hello")["recovered"], true);
    assert_eq!(set(&again.events(1)), numbers(9_000, 1));
}

fn refused(service: &Service, token: &str, cursor: &str, reason: &str) {
    let mut ws = service.ws(token, cursor);
    let hello = ws.frame("hello");
    assert_eq!(hello["recovered"], false, "{reason}");
    let resync = ws.frame("resync");
    assert_eq!((&resync["reason"], &resync["snapshot"]), (&reason.into(), &"/feed/snapshot".into()));
    let (more, end) = ws.rest(SOON);
    assert!(more.iter().all(|frame| frame["op"] == "goaway"), "{more:?}");
    assert_eq!(end, Heard::Closed(4203));
    let mut sse = service.sse(token, cursor);
    let (frames, end) = sse.rest(SOON);
    let ops: Vec<&str> = frames.iter().filter_map(|frame| frame["op"].as_str()).collect();
    assert_eq!((ops, end), (vec!["hello", "resync", "goaway"], Heard::Gone));
    assert_eq!(frames[1]["reason"], reason);
    let (status, body) = service.get(&format!("/feed/events?after={cursor}"), token);
    assert_eq!(status, 410, "{body}");
    assert!(body.contains(&format!("\"{reason}\"")), "{body}");
}

/// Scenario: cursors of another log, of more than this log has, of what retention took, and of too much to replay.
/// Guarantees: each is refused by its reason on every transport; no event is sent, nothing is partial.
#[test]
fn what_cannot_be_resumed_is_said() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, other, desk) = (Stage::shared("feedsync"), Stage::shared("feedother"), Desk::default());
    let (publisher, elsewhere) = (Publisher::to(&stage), Publisher::to(&other));
    let token = desk.pass(Role::Buyer, "user-1");
    let cursor_of =
        |service: &Service| service.poll(&token, "", 0)["cursor"].as_str().expect("a cursor").to_owned();
    let small = desk.serve(&stage, &[&SMALL[..], &["--feed-replay-offsets-max", "1000"]].concat());
    let start = cursor_of(&small);
    {
        let service = desk.serve(&other, &[]);
        elsewhere.publish(Topic::Task, &progress("user-1", 0, 3));
        refused(&small, &token, &cursor_of(&service), "foreign");
    }
    for step in 0..3 {
        publisher.publish(Topic::Task, &progress("user-1", step * 1_000, 1_000));
    }
    eventually(SOON, "a full ring", || (small.metric("tally_feed_ring_events") >= 1000.0).then_some(()));
    refused(&small, &token, &start, "too_many");
    for partition in 0..3 {
        let topic = stage.topic(Topic::Task);
        let (_, high) = stage.kafka.watermarks(&topic, partition);
        stage.kafka.delete_records_before(&topic, partition, (high - 10).max(0));
    }
    refused(&small, &token, &start, "evicted");
    refused(&small, &token, &ahead(&start), "ahead");
}

/// Scenario: the tasks' topic is deleted and created again while a service serves streams over both transports; the new one gets
/// fewer events than the old one had.
/// Guarantees: each stream is ended, to be resumed; the old cursor is refused as foreign everywhere, though its offsets exist
/// again; all of the new topic is there for whoever begins anew, from the past and live, and nothing of the old one.
#[test]
fn a_topic_created_anew_is_another_log() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedanew"), Desk::default());
    let service = desk.serve(&stage, &[]);
    let token = desk.pass(Role::Buyer, "user-1");
    let (mut ws, mut sse) = (service.ws(&token, "now"), service.sse(&token, "now"));
    ws.frame("hello");
    sse.frame("hello");
    Publisher::to(&stage).publish(Topic::Task, &progress("user-1", 0, 300));
    let (over_ws, over_sse) = (ws.events(300), sse.events(300));
    assert_eq!((set(&over_ws), set(&over_sse)), (numbers(0, 300), numbers(0, 300)));
    let cursor = over_ws[29].cursor.clone();

    let topic = stage.topic(Topic::Task);
    stage.kafka.delete_topic(&topic);
    stage.kafka.create_topic(&topic, PARTITIONS, &[]);
    let ended = [ws.rest(SOON), sse.rest(SOON)];
    for (frames, end) in &ended {
        let last = frames.last().expect("a goaway");
        // 4103 where the topic was gone for longer than a log may be silent
        assert!(last["code"] == 4203 || last["code"] == 4103, "{last} {end:?}");
        assert_eq!(last["reconnect"], true);
        assert!(frames.iter().all(|frame| frame["op"] != "event"), "{frames:?}");
    }
    Publisher::to(&stage).publish(Topic::Task, &progress("user-1", 1_000, 200));
    eventually(SOON, "a service that serves the new topic", || {
        let (status, body) = service.get(&format!("/feed/events?after={cursor}"), &token);
        (status == 410).then_some(body)
    });
    refused(&service, &token, &cursor, "foreign");
    let (mut ws, mut sse) = (service.ws(&token, "earliest"), service.sse(&token, "earliest"));
    assert_eq!((set(&ws.events(200)), set(&sse.events(200))), (numbers(1_000, 200), numbers(1_000, 200)));
    Publisher::to(&stage).publish(Topic::Task, &progress("user-1", 2_000, 20));
    assert_eq!((set(&ws.events(20)), set(&sse.events(20))), (numbers(2_000, 20), numbers(2_000, 20)));
}

/// The same log, a million offsets later in its first partition: written by hand after the cursor's description.
fn ahead(cursor: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bits = 0u32;
    let mut held = 0;
    let mut bytes = Vec::new();
    for digit in cursor.bytes() {
        let value = DIGITS.iter().position(|one| *one == digit).expect("base64url");
        bits = bits << 6 | u32::try_from(value).expect("six bits");
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).expect("a byte"));
        }
    }
    // version, eight bytes of the log, twelve partitions; the first one's offset is 0
    assert_eq!((bytes[9], bytes[10]), (12, 0));
    bytes.splice(10..11, [0xc0, 0x84, 0x3d]);
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            let digit = word >> (18 - 6 * place) & 63;
            text.push(char::from(DIGITS[usize::try_from(digit).expect("six bits")]));
        }
    }
    text
}
