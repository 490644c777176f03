//! Dead letters through the service: what they say, what would become of them, and published again by somebody who is named.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::Publisher;
use tally_tests::service::Service;
use tally_tests::stage::line;
use tally_tests::{Kafka, Stage, examples, skip_without};

/// How far the clock of the producer's machine is behind: further than an event may lie ahead of its record.
pub(super) const BEHIND_MS: i64 = 26 * 3_600_000;

pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the end of time")
}

/// An event of now.
pub(super) fn submitted() -> Value {
    let first = examples::valid(Topic::Task).into_iter().find(|event| event["kind"] == "SUBMITTED");
    let mut event = first.expect("an example of a submission");
    let at = chrono::DateTime::from_timestamp_millis(now_ms()).expect("a time");
    event["occurred_at"] = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true).into();
    event
}

/// The status of a replay that is asked for with the page's cookie alone.
fn by_cookie(service: &Service, replay: &str, token: &str) -> u16 {
    let asked = ureq::post(format!("{}{replay}", service.url))
        .header("content-type", "application/json")
        .header("cookie", format!("__Host-tally={token}"));
    let asked = asked.config().http_status_as_error(false).proxy(None).build();
    asked.send(r#"{"execute":true}"#).expect("an answer").status().as_u16()
}

/// Scenario: an event's record bears the time of a clock that is a day behind, so that it dies of its `occurred_at`; who may looks into
/// the letter, tries, and publishes it, once from a service that may not and then from one that may; then twice.
/// Guarantees: the guilty field is named; a dry run sends nothing; a cookie, a moderator and a service without leave publish nothing;
/// the record is published with its lineage, once, and who asked stands in the list; it is then an event.
#[test]
fn a_letter_is_published_again_by_somebody_who_is_named() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("page-replay");
    let event = submitted();
    Publisher::to(&stage).publish_at(Topic::Task, &event, now_ms() - BEHIND_MS);
    assert_eq!(line(&stage.catch_up(&[]), Topic::Task).dead, 1, "{}", stage.reasons());
    let place = stage.database.query(
        "SELECT concat(topic, '/', toString(partition), '/', toString(offset)) FROM dead_letters_final",
    );
    let path = format!("/api/v1/dead-letters/{}", place.trim());
    let kafka = stage.at_kafka();
    let service = Service::start(&stage.database, &[&kafka[..], &["--replays"]].concat());
    let (admin, moderator) = (service.token(Role::Admin, "olga"), service.token(Role::Moderator, "m"));

    let decoded = service.get(&format!("{path}/decoded"), &admin).json();
    let guilty: Vec<&Value> = decoded["fields"]
        .as_array()
        .expect("fields")
        .iter()
        .filter(|field| field["is_guilty"] == true)
        .collect();
    assert_eq!(guilty.len(), 1, "{decoded}");
    let moment =
        |at: &Value| chrono::DateTime::parse_from_rfc3339(at.as_str().expect("a text")).expect("a time");
    assert_eq!(guilty[0]["name"], "occurred_at");
    assert_eq!(moment(&guilty[0]["value"]), moment(&event["occurred_at"]));
    for end in ["decoded", "raw"] {
        assert_eq!(service.get(&format!("{path}/{end}"), &moderator).status, 403);
    }

    let replay = format!("{path}/replay");
    let post = |service: &Service, token: &str, body: Value| {
        service.post(&replay, token, "application/json", &body.to_string())
    };
    let topic = stage.topic(Topic::Task);
    let records = || {
        (0..tally_tests::stage::PARTITIONS)
            .map(|partition| stage.kafka.watermarks(&topic, partition).1)
            .sum::<i64>()
    };
    let would = post(&service, &admin, json!({})).json();
    assert_eq!(
        (&would["would_be"], &would["event_id"], &would["attempt"]),
        (&json!("accepted"), &event["event_id"], &json!(1)),
        "{would}"
    );
    assert_eq!(would["published_at"], Value::Null);
    assert_eq!(post(&service, &moderator, json!({ "execute": true })).status, 403);
    assert_eq!(by_cookie(&service, &replay, &admin), 401, "the cookie alone does not write");
    let careful = Service::start(&stage.database, &kafka);
    let refused = post(&careful, &careful.token(Role::Admin, "olga"), json!({ "execute": true }));
    assert_eq!((refused.status, refused.code()), (409, "conflict".to_owned()));
    assert_eq!(records(), 1, "nothing was sent");
    assert_eq!(service.get(&format!("{path}/replays"), &moderator).json()["items"], json!([]));

    let done = post(&service, &admin, json!({ "execute": true })).json();
    assert!(done["published_at"].as_str().is_some_and(|at| at.starts_with(&topic)), "{done}");
    assert_eq!(records(), 2);
    let said = service.get(&format!("{path}/replays"), &moderator).json()["items"].clone();
    assert_eq!(
        (&said[0]["requested_by"], &said[0]["state"], &said[0]["replay_id"]),
        (&json!("olga"), &json!("PUBLISHED"), &done["replay_id"]),
        "{said}"
    );
    let again = post(&service, &admin, json!({ "execute": true }));
    assert_eq!((again.status, records()), (409, 2), "{}", again.body);

    let balance = stage.catch_up(&[]);
    assert_eq!(
        (line(&balance, Topic::Task).accepted, line(&balance, Topic::Task).dead),
        (1, 1),
        "{}",
        stage.reasons()
    );
    let letter = service.get(&path, &admin).json();
    assert!(
        letter["replays"].as_str().is_some_and(|said| said.starts_with("replayed, accepted at")),
        "{letter}"
    );
    assert_eq!(post(&service, &admin, json!({})).json()["would_be"], "duplicate");

    // the command says who, too
    let at = ["dead", "replay", "--at", place.trim(), "--again", "--execute", "--by", "carla"];
    stage.tally(&at, &[]).expect_success(Duration::from_secs(60));
    assert_eq!(records(), 3);
    let said = service.get(&format!("{path}/replays"), &moderator).json()["items"].clone();
    let by: Vec<&str> =
        said.as_array().expect("rows").iter().filter_map(|row| row["requested_by"].as_str()).collect();
    assert_eq!(by, ["carla", "olga"]);
}

/// Scenario: a letter was asked for a minute ago by a process of which nothing was heard since; then it was ten minutes ago. Two services
/// are asked to publish it by eight people at once.
/// Guarantees: what may be on its way is published by nobody, neither by the page's way, nor with `again`, nor by the command; once it
/// is unknown it is published where that is said, and by the eight at most once; who published it is in the list.
#[test]
fn a_letter_is_published_by_one_at_a_time() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("replay-at-once");
    Publisher::to(&stage).publish_at(Topic::Task, &submitted(), now_ms() - BEHIND_MS);
    assert_eq!(line(&stage.catch_up(&[]), Topic::Task).dead, 1, "{}", stage.reasons());
    let place = stage.database.query(
        "SELECT concat(topic, '/', toString(partition), '/', toString(offset)) FROM dead_letters_final",
    );
    let path = format!("/api/v1/dead-letters/{}", place.trim());
    let kafka = stage.at_kafka();
    let flags = [&kafka[..], &["--replays"]].concat();
    let one = Service::start(&stage.database, &flags);
    let other = Service::start(&stage.database, &flags);
    let admin = one.token(Role::Admin, "olga");
    let post = |service: &Service, body: Value| {
        let token = service.token(Role::Admin, "olga");
        service.post(&format!("{path}/replay"), &token, "application/json", &body.to_string())
    };
    let topic = stage.topic(Topic::Task);
    let records = || {
        (0..tally_tests::stage::PARTITIONS)
            .map(|partition| stage.kafka.watermarks(&topic, partition).1)
            .sum::<i64>()
    };
    let asked = |minutes: u32| {
        stage.database.query("TRUNCATE TABLE dead_replays");
        stage.database.query(&format!(
            "INSERT INTO dead_replays SELECT generateUUIDv4(), topic, topic_id, partition, offset, 1, now64(6) - toIntervalMinute({minutes}), 'petra', \
             'REQUESTED', NULL, NULL, 1 FROM dead_letters_final"
        ));
    };

    asked(1);
    let would = post(&one, json!({})).json();
    assert_eq!(would["is_unknown"], false, "{would}");
    for body in [json!({ "execute": true, "again": true }), json!({ "execute": true, "if_unknown": true })] {
        let refused = post(&one, body);
        assert_eq!(refused.status, 409, "{}", refused.body);
    }
    for more in [&[][..], &["--again"]] {
        let at = [&["dead", "replay", "--at", place.trim(), "--execute"], more].concat();
        let said = stage.tally(&at, &[]).expect_success(Duration::from_secs(60)).stdout;
        assert!(said.contains("passed over: asked for by petra"), "{said}");
    }
    assert_eq!(records(), 1, "nothing was sent");

    asked(10);
    let would = post(&one, json!({})).json();
    assert_eq!(would["is_unknown"], true, "{would}");
    assert_eq!(post(&one, json!({ "execute": true })).status, 409);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let asks = (0..8).map(|number| {
            let service = if number % 2 == 0 { &one } else { &other };
            scope.spawn(|| post(service, json!({ "execute": true, "if_unknown": true })).status)
        });
        let asks: Vec<_> = asks.collect();
        asks.into_iter().map(|ask| ask.join().expect("an answer")).collect()
    });
    let published = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| [200, 409].contains(status)) && published <= 1, "{statuses:?}");
    let sent = i64::try_from(published).expect("few");
    assert_eq!(records(), 1 + sent, "{statuses:?}");
    if published == 0 {
        // both services stepped back; asked once more, one of them publishes
        assert_eq!(post(&one, json!({ "execute": true, "if_unknown": true })).status, 200);
    }
    assert_eq!(records(), 2);
    let said = one.get(&format!("{path}/replays"), &admin).json()["items"].clone();
    let states: Vec<&str> =
        said.as_array().expect("rows").iter().filter_map(|row| row["state"].as_str()).collect();
    assert_eq!(states.iter().filter(|state| **state == "PUBLISHED").count(), 1, "{said}");
}
