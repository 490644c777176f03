//! The feed on a log in memory: rights, resuming, signatures, by properties and by implementations that are not ours.

mod opening;
mod payloads;
mod replays;
mod stream;

use super::bell::{Bell, Bells, Transport};
use super::cases::Cases;
use super::cursor;
use super::event::{Event, events_of};
use super::frame;
use super::log::{EventLog, LogPartition, Shape};
use super::memory::VecLog;
use super::ring::{Ring, RingBounds};
use super::sign::{EVENT_TYPE, Signer, add_signing_key};
use super::stream::seen;
use crate::identity::{Principal, Role};
use crate::rights::Sight;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use tally_schemas::{Encoder, Topic, frame_single_object, latest};
use uuid::Uuid;

const PARTITIONS: i32 = 2;

/// What a generated event says; ids are small numbers, so that people meet.
#[derive(Clone, Debug)]
struct Said {
    topic: usize,
    kind: usize,
    user: u8,
    grantee: Option<u8>,
    creator: u8,
    licensed: bool,
    case: u8,
    task: u8,
    moderator: u8,
}

fn said() -> impl Strategy<Value = Said> {
    let people = (0u8..3, proptest::option::of(0u8..3), 0u8..3, any::<bool>());
    (0usize..4, 0usize..20, people, 0u8..3, 0u8..4, 0u8..2).prop_map(
        |(topic, kind, (user, grantee, creator, licensed), case, task, moderator)| Said {
            topic,
            kind,
            user,
            grantee,
            creator,
            licensed,
            case,
            task,
            moderator,
        },
    )
}

/// The kinds of a topic, from its contract's text.
fn kinds(topic: Topic) -> Vec<String> {
    let contract: Value = serde_json::from_str(&latest(topic).json).expect("a contract is JSON");
    let fields = contract["fields"].as_array().expect("fields");
    let kind = fields.iter().find(|field| field["name"] == "kind").expect("a kind");
    serde_json::from_value(kind["type"]["symbols"].clone()).expect("symbols")
}

impl Said {
    fn topic(&self) -> Topic {
        Topic::ALL[self.topic]
    }

    fn json(&self, number: usize) -> Value {
        let all = kinds(self.topic());
        let kind = &all[self.kind % all.len()];
        let mut event = json!({
            "event_id": Uuid::from_u128(number as u128 + 1), "occurred_at": "2026-03-01T12:00:00Z", "source": "test",
            "policy_tag": "COPYRIGHT", "actor_id": format!("m{}", self.moderator), "actor_role": "MODERATOR",
            "user_id": format!("u{}", self.user), "creator_id": format!("c{}", self.creator),
            "task_id": format!("t{}", self.task), "template_id": "p1", "kind": kind,
        });
        if self.licensed || self.topic() == Topic::License {
            event["license_id"] = format!("l{}", self.task).into();
        }
        match self.topic() {
            Topic::Task => {
                event["queue"] = "NORMAL".into();
                event["state_version"] = 3.into();
                event["progress_permille"] = 500.into();
                event["error_code"] = "out_of_memory".into();
            }
            Topic::Credit => {
                event["wallet_id"] = format!("w{}", self.user).into();
                event["amount_micros"] = 7.into();
                event["refund_reason"] = "GOODWILL".into();
                event["price_minor"] = 900.into();
                event["currency"] = "EUR".into();
                event["order_id"] = "o1".into();
                event["estimate_id"] = "e1".into();
                event["queue"] = "NORMAL".into();
            }
            Topic::License => {
                event["grantee_id"] = self.grantee.map_or(Value::Null, |who| format!("u{who}").into());
                if kind == "GRANTED" {
                    event["grantee_id"] = format!("u{}", self.grantee.unwrap_or(self.user)).into();
                }
                event["quota_remaining_micros"] = 5.into();
                event["check_result"] = "ALLOWED".into();
            }
            Topic::Moderation => {
                event["case_id"] = format!("k{}", self.case).into();
                event["risk_level"] = "HIGH".into();
                event["decision"] = "REMOVED".into();
                event["sla_due_at"] = "2026-03-02T12:00:00Z".into();
            }
        }
        if kind == "ATTEMPTED" {
            for (name, value) in [("endpoint", json!("CREDITS_CHARGE")), ("outcome", json!("OK"))] {
                event[name] = value;
            }
            for name in ["latency_ms", "attempt"] {
                event[name] = 1.into();
            }
        }
        event
    }
}

fn log() -> VecLog {
    VecLog::new(PARTITIONS, [1, 2, 3, 4].map(Uuid::from_u128))
}

/// Publishes; keys decide the partition, as in Kafka. Returns how many were accepted is not known here: the log judges.
fn publish(log: &VecLog, events: &[Said]) {
    for (number, event) in events.iter().enumerate() {
        let contract = latest(event.topic());
        let json = event.json(number);
        let key = json[event.topic().key_field()].as_str().expect("a key").to_owned();
        let body = Encoder::new(contract).expect("a contract").encode(&json).expect("an event");
        let partition = i32::from(key.as_bytes().last().copied().unwrap_or(0)) % PARTITIONS;
        let value = frame_single_object(contract, &body);
        log.append(event.topic(), partition, &value, 1_772_366_400_000).expect("a partition");
    }
}

/// How far a partition was read, and the events.
type Part = (i64, Vec<Arc<Event>>);

async fn read_all(log: &VecLog) -> (Arc<Shape>, Vec<(usize, i64, Vec<Arc<Event>>)>) {
    let shape = Arc::new(log.shape().await.expect("a shape"));
    let bounds = log.bounds(&shape).await.expect("bounds");
    let from = vec![0; bounds.len()];
    let mut reader = log.read(&shape, &from).await.expect("a reader");
    let (mut at, mut parts) = (from, Vec::new());
    while at.iter().zip(&bounds).any(|(at, bound)| *at < bound.high) {
        let batch = reader.next().await.expect("a batch");
        at[batch.place] = batch.next;
        let events = events_of(&shape, &batch).into_iter().map(Arc::new).collect();
        parts.push((batch.place, batch.next, events));
    }
    (shape, parts)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

/// FEED.md's table once more, from the published event and not from the code: what `role` called `subject` may see of it.
fn may_see(
    role: Role,
    subject: &str,
    event: &Value,
    in_work: &BTreeMap<String, (String, String, String)>,
) -> bool {
    let data = &event["data"];
    let is = |name: &str| data[name] == subject;
    let kind = data["kind"].as_str().expect("a kind");
    let of = event["type"].as_str().expect("a type").split('.').next().expect("a topic");
    let own = if data["grantee_id"].is_null() { is("user_id") } else { is("grantee_id") };
    let is_prompt = kind.starts_with("SUPPLEMENT") || kind.starts_with("ACCELERAT");
    let is_call = kind == "ATTEMPTED" || kind == "CHECKED";
    let reviewed = in_work.iter().any(|(case, (moderator, task, licence))| {
        let same = |name: &str, id: &str| !id.is_empty() && data[name] == id;
        moderator == subject
            && (same("case_id", case)
                || same("task_id", task)
                || (of == "license" && same("license_id", licence)))
    });
    match role {
        Role::Admin => true,
        Role::Service => false,
        Role::Buyer => match of {
            "moderation" => own && ["DECIDED", "CLOSED"].contains(&kind),
            _ => own && !is_call,
        },
        Role::Creator => match of {
            "task" => is("creator_id") && !data["license_id"].is_null() && !is_prompt,
            "license" => is("creator_id") && !is_call,
            "moderation" => is("creator_id"),
            _ => false,
        },
        Role::Moderator => match of {
            "moderation" => true,
            "task" | "license" if !is_prompt && !is_call => reviewed,
            _ => kind.starts_with("SUPPLEMENT"),
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Scenario: random events of all topics, kinds, owners and cases; every role, three subjects each.
    /// Guarantees: exactly what FEED's table gives is seen, judged from the payloads; masked payloads name no person, wallet or
    /// amount; and a bell is rung by everything that its owner may see.
    #[test]
    fn nobody_sees_what_is_anothers(events in proptest::collection::vec(said(), 1..40)) {
        let log = log();
        publish(&log, &events);
        let (_, parts) = block_on(read_all(&log));
        let folder = tempfile::tempdir().expect("a folder");
        let signer = Signer::open(folder.path()).expect("a key");
        let mut cases = Cases::default();
        let mut in_work: BTreeMap<String, (String, String, String)> = BTreeMap::new();
        let subjects = ["u0", "u1", "c0", "c1", "m0", "m1"];
        for event in parts.iter().flat_map(|(_, _, events)| events) {
            cases.take(event);
            let payload = payload(event, Sight::Full, &signer);
            let data = &payload["data"];
            let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
            if event.topic == Topic::Moderation {
                match data["kind"].as_str() {
                    Some("REVIEW_STARTED") => {
                        in_work.insert(text("case_id"), (text("actor_id"), text("task_id"), text("license_id")));
                    }
                    Some("DECIDED" | "ESCALATED" | "CLOSED") => drop(in_work.remove(&text("case_id"))),
                    _ => {}
                }
            }
            for role in Role::ALL {
                for subject in subjects {
                    let sight = seen(&role, subject, event, &cases);
                    let expected = may_see(role, subject, &payload, &in_work);
                    prop_assert_eq!(sight != Sight::Hidden, expected, "{} {} {}", role, subject, payload);
                    if sight == Sight::Masked {
                        let masked = self::payload(event, Sight::Masked, &signer);
                        for gone in ["actor_id", "user_id", "wallet_id", "amount_micros", "grantee_id", "price_minor"] {
                            prop_assert!(masked["data"][gone].is_null(), "{}", masked);
                        }
                        prop_assert!(masked["subject"] != payload["data"]["wallet_id"] || masked["subject"].is_null());
                    }
                    let owned = matches!(role, Role::Buyer | Role::Creator) && sight != Sight::Hidden;
                    prop_assert!(!owned || event.owners().any(|owner| owner == subject), "a bell that is not rung");
                }
            }
        }
    }

    /// Scenario: a ring that holds 1 to 30 of up to 60 events, resumed from any position, its partitions read in any order.
    /// Guarantees: where the ring says that it covers a position, it holds every event behind it, by owner too, and cursors are
    /// positions that only grow; else something behind it is gone.
    #[test]
    fn the_ring_knows_what_it_holds(events in proptest::collection::vec(said(), 1..60), held in 1usize..30, order in any::<u64>(), at in proptest::collection::vec(0i64..12, 8)) {
        let log = log();
        publish(&log, &events);
        let (shape, parts) = block_on(read_all(&log));
        // any interleaving that keeps each partition's order
        let mut random = order;
        let mut lanes: BTreeMap<usize, Vec<Part>> = BTreeMap::new();
        for (place, next, events) in parts {
            lanes.entry(place).or_default().push((next, events));
        }
        let mut ring = Ring::new(shape.clone(), vec![0; shape.partitions().len()], RingBounds { events_max: held, bytes_max: usize::MAX });
        let mut all: Vec<Arc<Event>> = Vec::new();
        while !lanes.is_empty() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let place = *lanes.keys().nth((random >> 33) as usize % lanes.len()).expect("a lane");
            let (next, events) = lanes.get_mut(&place).expect("a lane").remove(0);
            lanes.retain(|_, rest| !rest.is_empty());
            all.extend(events.iter().cloned());
            ring.push(events, place, next);
        }
        let behind = |event: &&Arc<Event>| event.offset >= at[event.place];
        let wanted: BTreeSet<Uuid> = all.iter().filter(behind).map(|event| event.event_id).collect();
        let held: Vec<&Arc<Event>> = ring.from(0, None).map(|(_, entry)| &entry.event).collect();
        let there: BTreeSet<Uuid> = held.iter().copied().filter(behind).map(|event| event.event_id).collect();
        prop_assert_eq!(ring.covers(&at), wanted == there);
        for owner in ["u0", "u1", "c0"] {
            let by_owner: Vec<Uuid> = ring.from(0, Some(owner)).map(|(_, entry)| entry.event.event_id).collect();
            let by_hand: Vec<Uuid> = held.iter().filter(|e| e.owners().any(|one| one == owner)).map(|e| e.event_id).collect();
            prop_assert_eq!(ring.count_from(0, owner), by_hand.len());
            prop_assert_eq!(by_owner, by_hand);
        }
        let positions: Vec<Vec<i64>> = ring.from(0, None).map(|(_, entry)| cursor::offsets(&entry.cursor)).collect();
        prop_assert!(positions.windows(2).all(|two| two[0].iter().zip(&two[1]).all(|(a, b)| a <= b)));
        for (position, event) in positions.iter().zip(&held) {
            prop_assert_eq!(position[event.place], event.offset + 1);
        }
    }
}

/// Scenario: one event of every kind of every contract, as the properties above draw them.
/// Guarantees: each is accepted, so the properties speak of all of them.
#[test]
fn every_kind_that_is_drawn_is_accepted() {
    let (log, mut published) = (log(), 0);
    for (place, topic) in Topic::ALL.into_iter().enumerate() {
        for kind in 0..kinds(topic).len() {
            let said = Said {
                topic: place,
                kind,
                user: 0,
                grantee: None,
                creator: 0,
                licensed: true,
                case: 0,
                task: 0,
                moderator: 0,
            };
            publish(&log, &[said]);
            published += 1;
        }
    }
    let (_, parts) = block_on(read_all(&log));
    assert_eq!(parts.iter().map(|(_, _, events)| events.len()).sum::<usize>(), published);
}

fn frame_of(event: &Event, sight: Sight, signer: &Signer) -> Value {
    let mut text = String::new();
    frame::event(&mut text, "c", "p", event.frame_end(sight, signer).expect("not hidden"));
    serde_json::from_str(&text).expect("a frame is JSON")
}

fn payload(event: &Event, sight: Sight, signer: &Signer) -> Value {
    let frame = frame_of(event, sight, signer);
    serde_json::from_str(frame["payload"].as_str().expect("a text")).expect("a payload is JSON")
}

fn one_event(user: u8) -> (Arc<Shape>, Arc<Event>) {
    let log = log();
    let said = Said {
        topic: 2,
        kind: 3,
        user,
        grantee: None,
        creator: 0,
        licensed: true,
        case: 0,
        task: 1,
        moderator: 0,
    };
    publish(&log, &[said]);
    let (shape, parts) = block_on(read_all(&log));
    let event = parts.into_iter().flat_map(|(_, _, events)| events).next().expect("an accepted event");
    (shape, event)
}

/// Holds a frame against the published keys with another implementation than the one that signed: that of `jsonwebtoken`.
fn is_signed(frame: &Value, keys: &Value) -> bool {
    let text = |name: &str| frame[name].as_str().expect("a text");
    let key = keys["keys"].as_array().expect("keys").iter().find(|key| key["kid"] == text("kid"));
    let x = key.and_then(|key| key["x"].as_str()).expect("the key is published");
    let key = jsonwebtoken::DecodingKey::from_ed_components(x).expect("a key");
    let payload = text("payload");
    let signed = format!("DSSEv1 28 {EVENT_TYPE} {} {payload}", payload.len());
    let signature = BASE64_STANDARD.decode(text("sig")).expect("base64");
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    jsonwebtoken::crypto::verify(&signature, signed.as_bytes(), &key, jsonwebtoken::Algorithm::EdDSA)
        .expect("an answer")
}

/// Scenario: an event is sent in both sights; a payload is altered; a key is laid down for later and another for now.
/// Guarantees: another implementation of Ed25519 accepts each signature over DSSE's encoding and none of an altered payload; an
/// event is signed once; a key is published before it is used, and old ones stay.
#[test]
fn frames_are_signed_once_and_verify_elsewhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Signer::open(folder.path()).expect("a key");
    let (_, event) = one_event(0);
    let (full, masked) = (frame_of(&event, Sight::Full, &first), frame_of(&event, Sight::Masked, &first));
    assert!(is_signed(&full, &first.key_set()) && is_signed(&masked, &first.key_set()));
    assert_ne!(full["payload"], masked["payload"]);
    let mut altered = full.clone();
    altered["payload"] = full["payload"].as_str().expect("a text").replace("u0", "u1").into();
    assert!(!is_signed(&altered, &first.key_set()));

    let later = add_signing_key(folder.path(), 3_600).expect("room");
    let rolled = Signer::open(folder.path()).expect("two keys");
    let published = rolled.key_set().to_string();
    assert!(published.contains(&later) && published.contains(full["kid"].as_str().expect("a name")));
    let (_, other) = one_event(1);
    assert_eq!(frame_of(&other, Sight::Full, &rolled)["kid"], full["kid"], "not used before its time");
    // the rendered end is kept: another signer is not asked
    assert_eq!(frame_of(&event, Sight::Full, &rolled)["sig"], full["sig"]);
    assert!(!published.contains("\"d\""), "private parts stay private");
}

/// Scenario: names of keys as others compute them: the example of RFC 8037, appendix A.
/// Guarantees: ours is that one.
#[test]
fn a_key_has_the_name_that_others_give_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = json!({
        "kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let path = folder.path().join("1.jwk");
    std::fs::write(&path, key.to_string()).expect("a file");
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    let set = Signer::open(folder.path()).expect("a key").key_set();
    assert_eq!(set["keys"][0]["kid"], "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

fn bell(subject: &str, role: Role) -> Arc<Bell> {
    let who = Principal {
        subject: subject.to_owned(),
        role,
        scopes: Vec::new(),
        token_id: "t".to_owned(),
        issued_at_s: 0,
        expires_at_s: 900,
    };
    Arc::new(Bell::new(who, Transport::Sse))
}

/// Scenario: an event of one buyer rings; one bell is taken down; a subject hangs up more than it may.
/// Guarantees: only bells of those concerned count it; what is gone is not rung; the bound holds.
#[test]
fn only_those_concerned_are_rung() {
    let (_, event) = one_event(0);
    let (mut bells, all) = (
        Bells::default(),
        [("u0", Role::Buyer), ("u1", Role::Buyer), ("c0", Role::Creator), ("root", Role::Admin)],
    );
    let hung = all.map(|(subject, role)| bell(subject, role));
    hung.iter().for_each(|one| bells.hang(one, 1).expect("room"));
    assert!(bells.hang(&bell("u0", Role::Buyer), 1).is_err());
    bells.ring(std::slice::from_ref(&event));
    assert_eq!(hung.each_ref().map(|one| one.rung().0), [1, 0, 1, 1]);
    bells.take_down(&hung[0]);
    bells.ring(&[event]);
    assert_eq!(hung.each_ref().map(|one| one.rung().0), [1, 0, 2, 2]);
}

/// Scenario: the same partitions listed in another order; a topic created anew.
/// Guarantees: every replica has one order and one identity; another topic identity is another log.
#[test]
fn replicas_agree_on_the_log() {
    let part = |contract, number, id| LogPartition {
        contract,
        topic: "t".to_owned(),
        topic_id: Uuid::from_u128(id),
        number,
    };
    let one = Shape::new(vec![part(Topic::Task, 1, 3), part(Topic::Credit, 0, 1), part(Topic::Task, 0, 3)]);
    let two = Shape::new(vec![part(Topic::Credit, 0, 1), part(Topic::Task, 0, 3), part(Topic::Task, 1, 3)]);
    assert_eq!(one, two);
    let anew = Shape::new(vec![part(Topic::Credit, 0, 1), part(Topic::Task, 0, 4), part(Topic::Task, 1, 4)]);
    assert_ne!(one.identity(), anew.identity());
}
