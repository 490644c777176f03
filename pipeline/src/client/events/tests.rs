//! The typed events against the contracts, both ways.

use super::{
    Audience, Author, Call, CallOutcome, CheckResult, CreditEvent, CreditKind, Decision, Endpoint, Event,
    Head, LicenseEvent, LicenseKind, ModerationEvent, ModerationKind, Moment, PolicyTag, Queue, RefundReason,
    RiskLevel, Subject, TaskEvent, TaskKind,
};
use crate::client::events::ActorRole;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tally_schemas::{Checker, Encoder, Topic, frame_single_object, latest, policy_tags};
use uuid::Uuid;

const VALUE_BYTES_MAX: usize = 1 << 20;

/// The symbols that a type takes: serde names them when it is given none of them.
fn symbols<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = serde_json::from_value::<T>(json!("?")).err().expect("no symbol").to_string();
    error.split('`').skip(1).step_by(2).skip(1).map(str::to_owned).collect()
}

fn contract(topic: Topic) -> Json {
    serde_json::from_str(&latest(topic).json).expect("a contract is JSON")
}

/// The symbols of each enum of every newest contract, by its name.
fn contract_enums() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for topic in Topic::ALL {
        for field in contract(topic)["fields"].as_array().expect("fields") {
            let plain = if field["type"].is_array() { &field["type"][1] } else { &field["type"] };
            if plain["type"] == "enum" {
                let symbols = plain["symbols"].as_array().expect("symbols").iter();
                let symbols = symbols.map(|symbol| symbol.as_str().expect("a symbol").to_owned()).collect();
                let name = plain["name"].as_str().expect("a name").to_owned();
                let before = found.insert(name.clone(), BTreeSet::clone(&symbols));
                assert!(before.is_none_or(|before| before == symbols), "{name} differs between contracts");
            }
        }
    }
    found
}

/// Scenario: a contract gets a symbol, or a type does.
/// Guarantees: every enum of the contracts has a type, with the same symbols, and tags have the order of the dictionary.
#[test]
fn symbols_are_those_of_the_contracts() {
    let types: BTreeMap<String, BTreeSet<String>> = [
        ("PolicyTag", symbols::<PolicyTag>()),
        ("ActorRole", symbols::<ActorRole>()),
        ("Audience", symbols::<Audience>()),
        ("Queue", symbols::<Queue>()),
        ("RefundReason", symbols::<RefundReason>()),
        ("Endpoint", symbols::<Endpoint>()),
        ("Outcome", symbols::<CallOutcome>()),
        ("CreditKind", symbols::<CreditKind>()),
        ("LicenseKind", symbols::<LicenseKind>()),
        ("CheckResult", symbols::<CheckResult>()),
        ("TaskKind", symbols::<TaskKind>()),
        ("ModerationKind", symbols::<ModerationKind>()),
        ("RiskLevel", symbols::<RiskLevel>()),
        ("Decision", symbols::<Decision>()),
    ]
    .map(|(name, symbols)| (name.to_owned(), symbols))
    .into();
    assert_eq!(types, contract_enums());
    for tag in policy_tags() {
        let typed: PolicyTag = serde_json::from_value(json!(tag.symbol)).expect("a tag");
        assert_eq!(typed.symbol(), tag.symbol);
    }
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn head() -> Head {
    let author = Author::new("billing", "service-billing", ActorRole::Service).traced("trace");
    Head { event_id: Uuid::now_v7(), occurred_at: Moment::now(), policy_tag: PolicyTag::Billing, author }
}

fn subject() -> Subject {
    Subject {
        task_id: text("t"),
        wallet_id: text("w"),
        user_id: text("u"),
        creator_id: text("c"),
        license_id: text("l"),
        template_id: text("tp"),
        case_id: text("cs"),
    }
}

fn call() -> Call {
    Call {
        endpoint: Endpoint::CreditsCharge,
        outcome: CallOutcome::Ok,
        http_status: Some(200),
        error_code: text("none"),
        latency_ms: 1,
        attempt: 1,
    }
}

// Every field of each, without `..`: a new field does not compile until it stands here.

fn credit() -> CreditEvent {
    CreditEvent {
        head: head(),
        subject: subject(),
        kind: CreditKind::Charged,
        amount_micros: 1,
        estimate_id: text("e"),
        queue: Some(Queue::Accelerated),
        refund_reason: Some(RefundReason::Goodwill),
        price_minor: Some(1),
        currency: text("EUR"),
        order_id: text("o"),
        gift: Some(true),
        balance_after_micros: Some(-1),
        call: Some(call()),
        idempotency_key: text("k"),
        audience: Audience::Staff,
    }
}

fn license() -> LicenseEvent {
    LicenseEvent {
        head: head(),
        subject: subject(),
        kind: LicenseKind::Checked,
        check_result: Some(CheckResult::Allowed),
        grantee_id: text("g"),
        quota_remaining_micros: Some(1),
        expires_at: Some(Moment::now()),
        call: Some(call()),
        idempotency_key: text("k"),
    }
}

fn task() -> TaskEvent {
    TaskEvent {
        head: head(),
        subject: subject(),
        kind: TaskKind::Progressed,
        queue: Queue::Normal,
        progress_permille: Some(500),
        state_version: 3,
        error_code: text("x"),
        audience: Audience::Canary,
    }
}

fn moderation() -> ModerationEvent {
    ModerationEvent {
        head: head(),
        subject: subject(),
        kind: ModerationKind::Decided,
        risk_level: RiskLevel::High,
        decision: Some(Decision::LicenseRevoked),
        sla_due_at: Some(Moment::now()),
    }
}

fn judged(topic: Topic, event: &Json) -> Result<(), String> {
    let encoder = Encoder::new(latest(topic)).expect("a plan");
    let body = encoder.encode(event).map_err(|error| error.to_string())?;
    let framed = frame_single_object(encoder.contract(), &body);
    let now_ms = Moment::now().micros() / 1_000;
    Checker::new(topic, VALUE_BYTES_MAX).check(&framed, now_ms).map_err(|fault| fault.path)
}

fn fields_hold<E: Event + DeserializeOwned + PartialEq + std::fmt::Debug>(event: &E) {
    let Json::Object(written) = serde_json::to_value(event).expect("JSON") else { panic!("no object") };
    let contract = contract(E::TOPIC);
    let names = contract["fields"].as_array().expect("fields").iter();
    let names: BTreeSet<&str> = names.map(|field| field["name"].as_str().expect("a name")).collect();
    let ours: BTreeSet<&str> = written.keys().map(String::as_str).collect();
    assert_eq!(ours, names, "{}", E::TOPIC);
    assert_eq!(judged(E::TOPIC, &Json::Object(written.clone())), Ok(()), "{}", E::TOPIC);
    assert_eq!(event.key(), written[E::TOPIC.key_field()].as_str());
    let again: E = serde_json::from_value(Json::Object(written)).expect("reads back");
    assert_eq!(&again, event);
}

/// Scenario: an event of each topic with every field it can have.
/// Guarantees: its fields are those of the newest contract, no more and no fewer; the route would take it; it reads back the same.
#[test]
fn fields_are_those_of_the_contracts() {
    fields_hold(&credit());
    fields_hold(&license());
    fields_hold(&task());
    fields_hold(&moderation());
}

fn example_is_typed<E: Event + DeserializeOwned>(name: &str, example: &Json) {
    let event: E = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let encoder = Encoder::new(latest(E::TOPIC)).expect("a plan");
    let bytes = |event: &Json| encoder.encode(event).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(bytes(&serde_json::to_value(&event).expect("JSON")), bytes(example), "{name}");
}

/// Scenario: the examples of every kind that the contracts come with.
/// Guarantees: as typed events they are the same bytes: nothing is lost or renamed.
#[test]
fn the_examples_are_typed_events() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/examples");
    let mut seen = 0;
    for topic in Topic::ALL {
        for entry in std::fs::read_dir(folder.join(topic.name()).join("valid")).expect("examples") {
            let path = entry.expect("an entry").path();
            let example = std::fs::read(&path).expect("an example");
            let (name, example) =
                (path.display().to_string(), serde_json::from_slice(&example).expect("JSON"));
            match topic {
                Topic::Credit => example_is_typed::<CreditEvent>(&name, &example),
                Topic::License => example_is_typed::<LicenseEvent>(&name, &example),
                Topic::Task => example_is_typed::<TaskEvent>(&name, &example),
                Topic::Moderation => example_is_typed::<ModerationEvent>(&name, &example),
            }
            seen += 1;
        }
    }
    let kinds = [
        symbols::<CreditKind>(),
        symbols::<LicenseKind>(),
        symbols::<TaskKind>(),
        symbols::<ModerationKind>(),
    ];
    assert_eq!(seen, kinds.iter().map(BTreeSet::len).sum::<usize>(), "an example a kind");
}

/// What each kind needs beyond what the constructor takes, as the contracts' own texts and the doc comments of the kinds say.
const NEEDS: [(Topic, &str, &[&str]); 20] = [
    (Topic::Credit, "ESTIMATED", &["estimate_id"]),
    (Topic::Credit, "HELD", &["task_id"]),
    (Topic::Credit, "HOLD_FAILED", &["task_id"]),
    (Topic::Credit, "CHARGED", &["task_id"]),
    (Topic::Credit, "SUPPLEMENT_REQUESTED", &["task_id"]),
    (Topic::Credit, "SUPPLEMENT_CHARGED", &["task_id"]),
    (Topic::Credit, "SUPPLEMENT_DECLINED", &["task_id"]),
    (Topic::Credit, "ROLLED_BACK", &["task_id"]),
    (Topic::Credit, "REFUNDED", &["refund_reason"]),
    (Topic::Credit, "PURCHASED", &["price_minor", "currency", "order_id"]),
    (Topic::Credit, "ATTEMPTED", &["endpoint"]),
    (Topic::License, "CHECKED", &["check_result"]),
    (Topic::License, "GRANTED", &["grantee_id", "quota_remaining_micros"]),
    (Topic::License, "QUOTA_CHANGED", &["quota_remaining_micros"]),
    (Topic::License, "ATTEMPTED", &["endpoint"]),
    (Topic::Task, "SUBMITTED", &["user_id", "template_id"]),
    (Topic::Task, "PROGRESSED", &["progress_permille"]),
    (Topic::Task, "FAILED", &["error_code"]),
    (Topic::Moderation, "QUEUED", &["sla_due_at"]),
    (Topic::Moderation, "DECIDED", &["decision"]),
];

fn object(event: &impl Serialize) -> Map<String, Json> {
    match serde_json::to_value(event).expect("JSON") {
        Json::Object(fields) => fields,
        _ => panic!("no object"),
    }
}

fn kind_needs(topic: Topic, kind: &str, bare: Map<String, Json>, full: &Map<String, Json>) {
    let named = NEEDS.iter().find(|(of, name, _)| (*of, *name) == (topic, kind));
    let needs = named.map_or(&[][..], |(_, _, needs)| needs);
    let mut event = bare;
    event.insert("kind".to_owned(), kind.into());
    for (count, field) in needs.iter().enumerate() {
        // all that it needs but this field: the judgement names it
        let mut without = event.clone();
        for other in needs.iter().enumerate().filter(|(other, _)| *other != count).map(|(_, other)| *other) {
            without.insert(other.to_owned(), full[other].clone());
        }
        assert_eq!(judged(topic, &Json::Object(without)), Err((*field).to_owned()), "{topic} {kind}");
    }
    event.extend(needs.iter().map(|field| ((*field).to_owned(), full[*field].clone())));
    if needs.contains(&"endpoint") {
        event.extend(object(&call()));
    }
    assert_eq!(judged(topic, &Json::Object(event)), Ok(()), "{topic} {kind}");
}

/// Scenario: an event of every kind as its constructor makes it, with one of the fields missing that the kind needs, then with all.
/// Guarantees: the kinds need what their doc comments say and nothing more; what is missing is named.
#[test]
fn every_kind_needs_what_it_says() {
    let author = Author::new("billing", "service-billing", ActorRole::Service);
    let tag = PolicyTag::Billing;
    let bare = CreditEvent::new(CreditKind::Held, "w", 1, tag, &author);
    symbols::<CreditKind>()
        .iter()
        .for_each(|kind| kind_needs(Topic::Credit, kind, object(&bare), &object(&credit())));
    let bare = LicenseEvent::new(LicenseKind::Revoked, "l", tag, &author);
    symbols::<LicenseKind>()
        .iter()
        .for_each(|kind| kind_needs(Topic::License, kind, object(&bare), &object(&license())));
    let bare = TaskEvent::new(TaskKind::Queued, "t", (Queue::Normal, 2), tag, &author);
    symbols::<TaskKind>()
        .iter()
        .for_each(|kind| kind_needs(Topic::Task, kind, object(&bare), &object(&task())));
    let bare = ModerationEvent::new(ModerationKind::Reported, "c", RiskLevel::Low, tag, &author);
    symbols::<ModerationKind>()
        .iter()
        .for_each(|kind| kind_needs(Topic::Moderation, kind, object(&bare), &object(&moderation())));
}

/// Scenario: two events are made; one is dated back, written down, and read again.
/// Guarantees: ids are apart, of version 7, and stay; the time is the one that was given.
#[test]
fn an_event_is_the_same_event() {
    let author = Author::new("scheduler", "s", ActorRole::Service);
    let make = || TaskEvent::new(TaskKind::Queued, "t", (Queue::Normal, 2), PolicyTag::GeneralUse, &author);
    let (one, other) = (make(), make());
    assert!(one.event_id() != other.event_id() && one.event_id().get_version_num() == 7);
    let dated = one.clone().happened_at(Moment::of_micros(1_741_000_000_000_000));
    let kept = serde_json::to_string(&dated).expect("JSON");
    let again: TaskEvent = serde_json::from_str(&kept).expect("reads back");
    assert_eq!((again.event_id(), &again), (one.event_id(), &dated));
    assert_eq!(again.head().occurred_at().micros(), 1_741_000_000_000_000);
}
