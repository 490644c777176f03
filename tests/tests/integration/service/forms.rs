//! The one form of a page that writes: posted as it was shown, and in every other way.

use super::replays::{BEHIND_MS, now_ms, submitted};
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::Publisher;
use tally_tests::service::Service;
use tally_tests::{Kafka, Stage, skip_without};

/// Address and token of the form on the page of a letter.
fn form(service: &Service, place: &str, token: &str) -> (String, String) {
    let page = service.get(&format!("/dead/{place}"), token).body;
    let after = |mark: &str| {
        let rest = page.split_once(mark).map(|(_, rest)| rest.split('"').next().unwrap_or_default());
        rest.unwrap_or_else(|| panic!("no {mark}: {page}")).to_owned()
    };
    (after(" method=\"post\" action=\"/dead/"), after("name=\"form\" value=\""))
}

/// Posts a form: status and page.
fn post(service: &Service, path: &str, token: &str, origin: Option<&str>, body: &str) -> (u16, String) {
    let request = ureq::post(format!("{}/dead/{path}", service.url))
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/x-www-form-urlencoded");
    let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
    let request = request.config().http_status_as_error(false).max_redirects(0).proxy(None).build();
    let mut answer = request.send(body).expect("an answer");
    (answer.status().as_u16(), answer.body_mut().read_to_string().expect("text"))
}

/// Scenario: the form of a dead letter is posted without a token, with one that was made up, that of another letter, that of another
/// admin, and with the right one from another site, from nowhere, and without an origin; then as it was shown, then once more.
/// Guarantees: only the form as it was shown to whom it comes from publishes, under the identity of its topic; every other is refused in
/// words of its own and nothing is sent; the second is refused since it was replayed, and leads back to the letter.
#[test]
fn a_form_is_taken_as_it_was_shown_and_in_no_other_way() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("page-form");
    let publisher = Publisher::to(&stage);
    for number in 0..2 {
        let mut event = submitted();
        event["task_id"] = format!("t-form-{number}").into();
        event["event_id"] = uuid::Uuid::now_v7().to_string().into();
        publisher.publish_at(Topic::Task, &event, now_ms() - BEHIND_MS);
    }
    stage.catch_up(&[]);
    let sql = "SELECT concat(topic, '/', toString(partition), '/', toString(offset)), toString(topic_id) FROM dead_letters_final ORDER BY key";
    let letters = stage.database.query(sql);
    let letters: Vec<(&str, &str)> = letters.lines().filter_map(|line| line.split_once('\t')).collect();
    assert_eq!(letters.len(), 2, "{letters:?}");
    let service = Service::start(&stage.database, &[&stage.at_kafka()[..], &["--replays"]].concat());
    let (olga, oscar) = (service.token(Role::Admin, "olga"), service.token(Role::Admin, "oscar"));
    let (path, shown) = form(&service, letters[0].0, &olga);
    assert!(path.starts_with(letters[0].1), "the form names the topic by its identity: {path}");
    let (_, of_another_letter) = form(&service, letters[1].0, &olga);
    let (_, of_oscar) = form(&service, letters[0].0, &oscar);
    let own = service.url.as_str();
    let topic = stage.topic(Topic::Task);
    let records = || -> i64 {
        (0..tally_tests::stage::PARTITIONS).map(|partition| stage.kafka.watermarks(&topic, partition).1).sum()
    };
    let before = records();
    let made_up = "0".repeat(64);
    for (why, given, origin) in [
        ("no token", None, Some(own)),
        ("a token that was made up", Some(&made_up), Some(own)),
        ("that of another letter", Some(&of_another_letter), Some(own)),
        ("that of another admin", Some(&of_oscar), Some(own)),
        ("from another site", Some(&shown), Some("http://evil.example")),
        ("from nowhere", Some(&shown), Some("null")),
        ("without an origin", Some(&shown), None),
    ] {
        let body = given.map(|given| format!("form={given}")).unwrap_or_default();
        let (status, page) = post(&service, &path, &olga, origin, &body);
        assert_eq!((status, records()), (403, before), "{why}: {page}");
        assert!(page.contains("This form is not of your session"), "{why}: {page}");
    }
    let replays = format!("/api/v1/dead-letters/{}/replays", letters[0].0);
    assert_eq!(service.get(&replays, &olga).json()["items"], serde_json::json!([]));

    let body = format!("form={shown}");
    let (status, page) = post(&service, &path, &olga, Some(own), &body);
    assert_eq!((status, records()), (303, before + 1), "{page}");
    let (status, page) = post(&service, &path, &olga, Some(own), &body);
    assert_eq!((status, records()), (409, before + 1), "{page}");
    let back = format!("href=\"/dead/{}\"", path.trim_end_matches("/replay"));
    for part in ["It was not published", "it was replayed already", back.as_str()] {
        assert!(page.contains(part), "{part}: {page}");
    }
}
