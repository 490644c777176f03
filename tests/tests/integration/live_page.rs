//! Open pages follow the feed: an event that is published shows without a reload, and nothing else of the page moves.

use std::cell::Cell;
use std::time::Duration;

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Publisher};
use tally_tests::{Browser, Kafka, Stage, examples, free_port, skip_without, unique};

/// Until a page has what it must have, on a machine that builds at the same time.
const SOON: Duration = Duration::from_secs(60);
/// True once the timeline has so many events.
const EVENTS: &str = "return document.querySelectorAll('#part-timeline-rows tbody tr').length === argument";
/// True while the page is the document that was first loaded, and its line to the feed is open.
const LIVE: &str = "return document.getElementById('live').className === 'live'";
/// Remembers what must still be there later: the page itself, a row, and where somebody stands and what they have selected.
const HOLD: &str = r#"
    const row = document.querySelector("[id=part-timeline-rows] tbody tr");
    const scroll = document.querySelector("[id=part-timeline-rows] .scroll");
    const heading = document.querySelector("h1");
    document.querySelector("details.menu").open = true;
    scroll.focus();
    document.body.style.width = "320px"; // so that there is something to scroll
    scroll.scrollLeft = 40;
    getSelection().selectAllChildren(heading);
    window.held = { row, scroll, heading, looks: 0, left: scroll.scrollLeft, text: getSelection().toString() };
    return window.held.left > 0 && window.held.text !== "";
"#;
/// Whether all of it is.
const HELD: &str = r#"
    const { row, scroll, heading, left, text } = window.held;
    return { row: row.isConnected, focus: document.activeElement === scroll, left: scroll.scrollLeft === left,
        menu: document.querySelector("details.menu").open, selected: getSelection().toString() === text && heading.isConnected };
"#;

struct Scene {
    publisher: Publisher,
    published: Cell<usize>,
}

impl Scene {
    /// One event of that kind, with these fields.
    fn publish(&self, topic: Topic, kind: &str, fields: &[(&str, Value)]) {
        let event = examples::valid(topic).into_iter().find(|event| event["kind"] == kind);
        let mut event = event.unwrap_or_else(|| panic!("an example of {kind}"));
        self.published.set(self.published.get() + 1);
        event["event_id"] = examples::id(800_000 + self.published.get()).into();
        event["occurred_at"] = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true).into();
        for (name, value) in fields {
            event[*name] = value.clone();
        }
        self.publisher.publish(topic, &[event]);
    }
}

fn skip() -> bool {
    skip_without(Kafka::real()) || skip_without(Browser::installed())
}

/// Scenario: an admin looks at a task, has opened a menu, stands in the timeline, which is scrolled, and has selected the heading; the
/// task moves on, and one of another's does. Then the service is killed, an event is published, and the service comes back.
/// Guarantees: the event shows without a reload; focus, scroll, selection and menu stay, and so does the row that was there; who
/// cannot see it is told. While there is no service the page says since when it is old; then it has what it missed, and is live.
#[test]
fn an_open_task_shows_what_happens_to_it() {
    if skip() {
        return;
    }
    let stage = Stage::shared("live-task");
    let _ingest = stage.ingest(&["--linger-ms", "50"]);
    let desk = Desk::default();
    let listen = format!("127.0.0.1:{}", free_port());
    let mut service = desk.serve_on(&stage, &listen, &[]);
    let scene = Scene { publisher: Publisher::to(&stage), published: Cell::new(0) };
    let task = unique("task");
    let step = |kind: &str, version: i64| {
        let fields = [("task_id", task.clone().into()), ("state_version", version.into())];
        scene.publish(Topic::Task, kind, &fields);
    };
    step("SUBMITTED", 1);
    stage.wait_for_receipts(1, SOON);

    let mut browser = Browser::start();
    let address = format!("http://{listen}/task/{task}");
    browser.cookie(&format!("http://{listen}"), "__Host-tally", &desk.pass(Role::Admin, "olga"));
    browser.open("page", &address);
    browser.wait_for("page", SOON, EVENTS, &json!(1));
    browser.wait_for("page", SOON, LIVE, &Value::Null);
    assert_eq!(browser.eval("page", HOLD, &Value::Null), true);
    let all = json!({ "row": true, "focus": true, "left": true, "menu": true, "selected": true });

    step("QUEUED", 2);
    scene.publish(Topic::Task, "SUBMITTED", &[("task_id", unique("another").into())]);
    browser.wait_for("page", SOON, EVENTS, &json!(2));
    assert_eq!(browser.eval("page", HELD, &Value::Null), all);
    let said = "return document.getElementById('heard').textContent === argument";
    browser.wait_for("page", SOON, said, &json!("1 more event"));
    step("STARTED", 3);
    let state = "return document.querySelector('.facts strong').textContent === argument";
    browser.wait_for("page", SOON, state, &json!("Started"));
    browser.wait_for("page", SOON, EVENTS, &json!(3));
    assert_eq!(browser.eval("page", HELD, &Value::Null), all);
    assert_eq!(browser.errors(), Vec::<String>::new());

    service.tally.sigkill();
    let stale = "const live = document.getElementById('live'); return live.className === 'live stale' && /since \\d\\d:\\d\\d:\\d\\d$/.test(live.textContent)";
    browser.wait_for("page", SOON, stale, &Value::Null);
    step("PROGRESSED", 4);
    stage.wait_for_receipts(5, SOON);
    service = desk.serve_on(&stage, &listen, &[]);
    browser.wait_for("page", SOON, EVENTS, &json!(4));
    browser.wait_for("page", SOON, LIVE, &Value::Null);
    assert_eq!(browser.eval("page", HELD, &Value::Null), all, "it was never loaded anew");
    drop(service);
}

/// Scenario: a moderator looks at a case, then at the queue; the case moves on, and a new one is queued. Then a service's developer, to whom
/// the feed tells nothing, looks at dead letters; one comes.
/// Guarantees: all show it without a reload, the last by the clock, and it says so.
#[test]
fn open_pages_of_moderation_show_what_happens() {
    if skip() {
        return;
    }
    let stage = Stage::shared("live-case");
    let _ingest = stage.ingest(&["--linger-ms", "50"]);
    let desk = Desk::default();
    let service = desk.serve(&stage, &[]);
    let scene = Scene { publisher: Publisher::to(&stage), published: Cell::new(0) };
    let case = unique("case");
    let of_case = [("case_id", Value::from(case.clone()))];
    scene.publish(Topic::Moderation, "REPORTED", &of_case);
    stage.wait_for_receipts(1, SOON);

    let mut browser = Browser::start();
    let at = format!("http://{}", service.address);
    browser.cookie(&at, "__Host-tally", &desk.pass(Role::Moderator, "mo"));
    browser.open("page", &format!("{at}/case/{case}"));
    browser.wait_for("page", SOON, EVENTS, &json!(1));
    browser.wait_for("page", SOON, LIVE, &Value::Null);
    browser.eval("page", "window.first = document; return true", &Value::Null);
    scene.publish(Topic::Moderation, "DECIDED", &of_case);
    let decided = "return window.first === document && document.querySelector('.facts strong').textContent === 'Decided'";
    browser.wait_for("page", SOON, decided, &Value::Null);
    browser.wait_for("page", SOON, EVENTS, &json!(2));

    browser.open("queue", &format!("{at}/moderation?range=15m"));
    browser.wait_for("queue", SOON, LIVE, &Value::Null);
    browser.eval("queue", "window.first = document; return true", &Value::Null);
    let next = unique("case");
    scene.publish(Topic::Moderation, "QUEUED", &[("case_id", next.clone().into())]);
    let queued = "return window.first === document && document.querySelector('#part-queue-rows')?.textContent.includes(argument) === true";
    browser.wait_for("queue", SOON, queued, &json!(next));

    browser.close("page");
    browser.close("queue");
    browser.cookie(&at, "__Host-tally", &desk.pass(Role::Service, "billing"));
    browser.open("dead", &format!("{at}/dead?range=15m"));
    let asked = "return document.getElementById('live').className === 'live asked'";
    browser.wait_for("dead", SOON, asked, &Value::Null);
    browser.eval("dead", "window.first = document; return true", &Value::Null);
    scene.publisher.raw(Topic::Task, "task-of-nonsense", b"nonsense");
    let refused = "return window.first === document && document.querySelector('#part-letters-rows')?.textContent.includes('framing') === true";
    browser.wait_for("dead", SOON, refused, &Value::Null);
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// Scenario: a buyer's session ends half a minute after the page was opened; before that another window has signed in again, so that
/// there is a fresh cookie. A supplement is then asked for. The same over a time that is past, where nothing of the page asks again:
/// there the window is left and shown again.
/// Guarantees: the page's own line ends and begins anew without a reload, and the prompt is shown; nothing else opens a line in its
/// place, so the lamp is never live while the tasks stand still, and nobody acknowledges what is not shown.
#[test]
fn my_tasks_go_on_with_a_fresh_session() {
    if skip() {
        return;
    }
    const WATCH: &str = r#"
        const [lamp, state] = [document.getElementById("live"), document.getElementById("state")];
        Object.assign(window, { first: document, lied: false, ended: false });
        const look = () => {
            window.lied ||= !lamp.hidden && lamp.className === "live" && state.className !== "live";
            window.ended ||= state.className === "stopped";
        };
        new MutationObserver(look).observe(document.body, { attributes: true, subtree: true });
        return true;
    "#;
    const OPEN: &str = "return document.getElementById('state').className === 'live'";
    const ENDED: &str = "return window.ended";
    const GOES_ON: &str =
        "return window.first === document && document.getElementById('state').className === 'live'";
    const PROMPTED: &str = "return document.querySelector('.prompt').dataset.prompt === argument";
    let stage = Stage::shared("live-session");
    let desk = Desk::default();
    let service = desk.serve(&stage, &[]);
    let scene = Scene { publisher: Publisher::to(&stage), published: Cell::new(0) };
    let mut browser = Browser::start();
    let at = format!("http://{}", service.address);
    let past = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z";
    for query in ["range=15m", past] {
        let buyer = unique("buyer");
        let sign_in = |browser: &mut Browser, lifetime_s: i64| {
            browser.cookie(&at, "__Host-tally", &desk.token(Role::Buyer, &buyer, lifetime_s).0);
        };
        sign_in(&mut browser, 30);
        browser.open(query, &format!("{at}/my?{query}"));
        browser.wait_for(query, SOON, OPEN, &Value::Null);
        browser.eval(query, WATCH, &Value::Null);
        sign_in(&mut browser, 600);
        browser.wait_for(query, SOON, ENDED, &Value::Null);
        if query == past {
            browser.hide(query, true);
            browser.hide(query, false);
        }
        browser.wait_for(query, SOON, GOES_ON, &Value::Null);
        let task = unique("task");
        let fields = [("user_id", Value::from(buyer.clone())), ("task_id", task.clone().into())];
        scene.publish(Topic::Credit, "SUPPLEMENT_REQUESTED", &fields);
        browser.wait_for(query, SOON, PROMPTED, &json!(format!("{task} supplement")));
        assert_eq!(browser.eval(query, "return window.lied", &Value::Null), false);
        let lines = service.metric(r#"tally_feed_connections{transport="ws"}"#);
        assert_eq!(lines, 1.0, "the page's own, and no other");
        browser.close(query);
    }
    assert_eq!(browser.errors(), Vec::<String>::new());
}
