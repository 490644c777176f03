//! From a share that is not 100 % to the record that is missing, and back: what a compliance officer does in a browser.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::Publisher;
use tally_tests::service::Service;
use tally_tests::stage::line;
use tally_tests::{Browser, Kafka, Stage, examples, skip_without};

const SOON: Duration = Duration::from_secs(60);
/// Tasks that are submitted; of one the event is refused.
const TASKS: usize = 1_000;
/// How far the clock of one producer's machine is behind: further than an event may lie ahead of its record.
const BEHIND_MS: i64 = 26 * 3_600_000;

fn now() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    DateTime::from_timestamp_millis(i64::try_from(since.as_millis()).expect("a clock before the end of time"))
        .expect("a time")
}

/// Submissions of so many tasks.
fn submissions() -> Vec<Value> {
    let first = examples::valid(Topic::Task).into_iter().find(|event| event["kind"] == "SUBMITTED");
    let first = first.expect("an example of a submission");
    let at = now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let each = (0..TASKS).map(|number| {
        let mut event = first.clone();
        event["event_id"] = examples::id(number).into();
        event["task_id"] = format!("task-{number:04}").into();
        event["occurred_at"] = at.clone().into();
        event
    });
    each.collect()
}

/// `tally audit completeness` over what was appended so far.
fn audit(stage: &Stage<'_>, to: DateTime<Utc>, code: i32) -> String {
    let from = (to - chrono::Duration::days(3)).to_rfc3339_opts(SecondsFormat::Micros, true);
    let to = to.to_rfc3339_opts(SecondsFormat::Micros, true);
    let at = stage.at_clickhouse();
    let kafka = stage.at_kafka();
    let command = ["audit", "completeness", "--from", &from, "--to", &to, "--grace-minutes", "0"];
    let all = [&command[..], &at, &kafka].concat();
    tally_tests::Tally::spawn(&all, &[]).expect_code(code, SOON).stdout
}

/// Scenario: a thousand tasks are submitted; of one the only event is refused, because the clock of the machine that published it was a
/// day behind. The audit says 99.9 %. An admin opens the page of compliance in a browser, and clicks four times.
/// Guarantees: the first click leads from 99.9 % to the result that names the task, the second to the task, the third to its dead letter,
/// where the wrong field is named, and the fourth publishes it again under the admin's name; once that was taken the letter says so,
/// and the audit says 100 %.
#[test]
fn four_clicks_from_a_share_to_the_replay() {
    if skip_without(Kafka::real()) || skip_without(Browser::installed()) {
        return;
    }
    let stage = Stage::shared("clicks");
    let mut events = submissions();
    let publisher = Publisher::to(&stage);
    let missing = events.swap_remove(417);
    publisher.publish(Topic::Task, &events);
    publisher.publish_at(Topic::Task, &missing, now().timestamp_millis() - BEHIND_MS);
    let to = now();
    let balance = stage.catch_up(&[]);
    assert_eq!(
        (line(&balance, Topic::Task).accepted, line(&balance, Topic::Task).dead),
        (999, 1),
        "{}",
        stage.reasons()
    );
    let said = audit(&stage, to, 1);
    assert!(said.contains("1 of 1000 tasks are incomplete"), "{said}");

    let kafka = stage.at_kafka();
    let service = Service::start(&stage.database, &[&kafka[..], &["--replays"]].concat());
    let mut browser = Browser::start();
    browser.cookie(&service.url, "__Host-tally", &service.token(Role::Admin, "olga"));
    browser.cookie(&service.url, "__Host-tally-form", "of-this-session");
    browser.open("page", &format!("{}/compliance", service.url));
    let text = |browser: &mut Browser, selector: &str| {
        let script = "return document.querySelector(argument)?.innerText ?? ''";
        browser.eval("page", script, &json!(selector)).as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(text(&mut browser, "#job-completeness .share"), "99.9 %");
    assert!(text(&mut browser, "#last-verification").contains("never"));

    browser.click("page", "#job-completeness .share");
    assert_eq!(text(&mut browser, "#part-offenders-rows tbody a"), "task-0417");
    browser.click("page", "#part-offenders-rows tbody a");
    assert_eq!(text(&mut browser, "h1"), "task-0417");
    assert!(text(&mut browser, "#part-letters-rows tbody").contains("time_out_of_range"));
    browser.click("page", "#part-letters-rows tbody a");
    assert_eq!(text(&mut browser, ".guilty"), "occurred_at");
    assert!(
        text(&mut browser, "#part-replay").contains("would be accepted"),
        "{}",
        text(&mut browser, "main")
    );
    browser.click("page", "#part-replay button");
    let replays = text(&mut browser, "#part-replays");
    assert!(replays.contains("olga") && replays.contains("published"), "{replays}");
    assert!(text(&mut browser, "#part-replay").contains("asked for by olga"), "it is not offered twice");
    assert!(text(&mut browser, ".notice").starts_with("Published."), "{}", text(&mut browser, "main"));

    let taken = line(&stage.catch_up(&[]), Topic::Task).accepted;
    assert_eq!(taken, 1_000, "{}", stage.reasons());
    let letter = browser.eval("page", "return location.href", &Value::Null);
    browser.open("settled", letter.as_str().expect("an address"));
    let said = browser.eval("settled", "return document.querySelector('.notice').innerText", &Value::Null);
    assert!(said.as_str().is_some_and(|said| said.starts_with("Its event was accepted later")), "{said}");
    let said = audit(&stage, to, 0);
    assert!(said.contains("All 1000 tasks are complete"), "{said}");
    browser.open("after", &format!("{}/compliance", service.url));
    let share = browser.eval(
        "after",
        "return document.querySelector('#job-completeness .share').innerText",
        &Value::Null,
    );
    assert_eq!(share, "100 %");
    assert_eq!(browser.errors(), Vec::<String>::new());
}
