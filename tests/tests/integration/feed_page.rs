//! The feed's client and the page of my tasks in headless Chromium, on real Kafka, over a network that fails.

use std::time::{Duration, Instant};

use super::pages::photographs::{album, looks, photograph};
use serde_json::{Value, json};
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Publisher, Service};
use tally_tests::{Browser, Kafka, Proxy, Stage, eventually, examples, free_port, skip_without, unique};

/// Until a page has what it must have, on a machine that builds at the same time.
const SOON: Duration = Duration::from_secs(60);
/// From a fault, or from the service's return, until the page has caught up.
const CAUGHT_UP: Duration = Duration::from_secs(5);
/// Collects what the client hands on.
const COLLECT: &str = r#"
    const { openFeed } = await import(new URL("feed.js", document.baseURI));
    Object.assign(window, { got: [], states: [], asked: [] });
    window.feed = openFeed({
        token: async (why) => argument.tokens[Math.min(window.asked.push(why), argument.tokens.length) - 1],
        onEvent: (event) => { window.got.push(event.id); window.gotAt = Date.now(); },
        onState: ({ state, transport, code }) => { window.states.push(`${state} ${transport} ${code}`); },
        share: argument.share ?? false,
    });
    return true;
"#;
/// Keeps a page's thread busy for so many milliseconds.
const HANG: &str =
    "setTimeout(() => { for (const end = Date.now() + argument; Date.now() < end; ); }, 0); return true;";
const LIVE: &str = "return window.feed.status.state === 'live'";
/// True when exactly these ids came, each once.
const GOT: &str = "return JSON.stringify([...window.got].sort()) === JSON.stringify([...argument].sort())";
/// What the page of my tasks shows: id, kind and version of each task.
const SHOWN: &str = r#"
    const shown = [...document.querySelectorAll(".task")].map(({ dataset }) => `${dataset.task} ${dataset.kind} ${dataset.version}`);
    return JSON.stringify(shown.sort()) === JSON.stringify([...argument].sort());
"#;

/// A service, a network before it, and a buyer whose events are published in turn.
struct Scene {
    stage: Stage<'static>,
    desk: Desk,
    service: Service,
    proxy: Proxy,
    publisher: Publisher,
    buyer: String,
    published: usize,
}

impl Scene {
    fn new(name: &str) -> Scene {
        let stage = Stage::shared(name);
        let desk = Desk::default();
        // Not port 0: after a kill the service must come back where the network expects it.
        let service = desk.serve_on(&stage, &format!("127.0.0.1:{}", free_port()), &[]);
        let proxy = Proxy::before(&service.address.to_string());
        let publisher = Publisher::to(&stage);
        Scene { stage, desk, service, proxy, publisher, buyer: unique("buyer"), published: 0 }
    }

    fn token(&self, lifetime_s: i64) -> String {
        self.desk.token(Role::Buyer, &self.buyer, lifetime_s).0
    }

    fn page(&self) -> String {
        format!("{}/my", self.proxy.url())
    }

    /// Progress of two tasks, alternately; returns the ids of all events so far.
    fn publish(&mut self, number: usize) -> Vec<String> {
        let first = examples::valid(Topic::Task).into_iter().find(|event| event["kind"] == "PROGRESSED");
        let first = first.expect("an example of progress");
        let events: Vec<Value> = (self.published..self.published + number)
            .map(|number| {
                let mut event = first.clone();
                event["event_id"] = examples::id(number).into();
                event["user_id"] = self.buyer.clone().into();
                event["task_id"] = self.task(number).into();
                event["template_id"] = "template-good".into();
                event["state_version"] = (number / 2 + 1).into();
                event
            })
            .collect();
        self.publisher.publish(Topic::Task, &events);
        self.published += number;
        (0..self.published).map(examples::id).collect()
    }

    fn task(&self, number: usize) -> String {
        format!("task-{}-{}", self.buyer, number % 2)
    }

    /// What the page must show after an even number of events.
    fn expected(&self) -> Value {
        assert_eq!(self.published % 2, 0, "both tasks have come equally far");
        (0..2)
            .map(|number| Value::from(format!("{} PROGRESSED {}", self.task(number), self.published / 2)))
            .collect()
    }

    /// The page of my tasks, signed in.
    fn open_page(&self, browser: &mut Browser, window: &str) {
        browser.cookie(&self.page(), "__Host-tally", &self.token(600));
        browser.open(window, &self.page());
        browser.wait_for(
            window,
            SOON,
            "return document.getElementById('state').className === 'live'",
            &Value::Null,
        );
    }

    /// A page of the service, for the client alone. Where nobody has signed in it is the form to do so, and the browser says 401.
    fn open_bare(&self, browser: &mut Browser, window: &str) {
        browser.open(window, &self.page());
        let said = browser.errors_but_of_network();
        assert!(said.iter().all(|error| error.contains("401")), "{said:?}");
    }

    /// A page that collects what the client hands on.
    fn collect(&self, browser: &mut Browser, window: &str, tokens: &[String]) {
        self.open_bare(browser, window);
        browser.eval(window, COLLECT, &json!({ "tokens": tokens }));
        browser.wait_for(window, SOON, LIVE, &Value::Null);
    }

    fn connections(&self) -> f64 {
        self.service.metric(r#"tally_feed_connections{transport="ws"}"#)
    }
}

fn skip() -> bool {
    skip_without(Kafka::real()) || skip_without(Browser::installed())
}

/// Scenario: two windows of one buyer; tasks move; the window that holds the connection hangs, later the other is closed.
/// Guarantees: there is one connection, both windows show everything, and a window that is left goes on by itself.
#[test]
fn two_windows_share_one_connection() {
    if skip() {
        return;
    }
    let mut scene = Scene::new("windows");
    let mut browser = Browser::start();
    scene.publish(4);
    scene.open_page(&mut browser, "a");
    browser.wait_for("a", SOON, SHOWN, &scene.expected());
    scene.open_page(&mut browser, "b");
    scene.publish(20);
    for window in ["a", "b"] {
        browser.wait_for(window, SOON, SHOWN, &scene.expected());
    }
    assert_eq!(scene.connections(), 1.0, "two windows, one connection");
    let leads = "return document.getElementById('state').dataset.leads === argument";
    browser.wait_for("a", SOON, leads, &json!("true"));
    browser.wait_for("b", SOON, leads, &json!("false"));

    let connects = "return document.getElementById('state').dataset.connects";
    let connected = browser.eval("a", connects, &Value::Null);
    browser.eval("a", HANG, &json!(20_000));
    scene.publish(10);
    browser.wait_for("b", SOON, SHOWN, &scene.expected());
    browser.wait_for("b", SOON, leads, &json!("true"));
    scene.publish(10);
    for window in ["a", "b"] {
        browser.wait_for(window, SOON, SHOWN, &scene.expected());
    }
    browser.wait_for("a", SOON, leads, &json!("false"));
    std::thread::sleep(Duration::from_secs(4)); // two of the leader's signs of life
    let connects = browser.eval("a", connects, &Value::Null);
    assert_eq!(
        connects, connected,
        "a window that has hung does not take the line back from the one that works"
    );

    browser.close("b");
    scene.publish(10);
    browser.wait_for("a", SOON, SHOWN, &scene.expected());
    browser.wait_for("a", SOON, leads, &json!("true"));
    let repeats = browser.eval("a", "return document.getElementById('state').dataset.gaps", &Value::Null);
    assert_eq!(repeats, "0", "no gap was met");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// Scenario: the connection is cut; it is swallowed without a word; the service is killed while events are published, and
/// started again at the same address.
/// Guarantees: without a reload everything is there within five seconds, nothing is missing and nothing came twice.
#[test]
fn a_cut_a_silence_and_a_kill_lose_nothing() {
    if skip() {
        return;
    }
    let mut scene = Scene::new("faults");
    let mut browser = Browser::start();
    scene.publish(6);
    scene.open_page(&mut browser, "page");
    scene.collect(&mut browser, "raw", &[scene.token(600)]);
    let caught_up = |scene: &mut Scene, browser: &mut Browser, what: &str, since: Instant, all: &[String]| {
        browser.wait_for("raw", SOON, GOT, &json!(all));
        browser.wait_for("page", SOON, SHOWN, &scene.expected());
        let took = since.elapsed();
        assert!(took <= CAUGHT_UP, "{what}: caught up after {took:?}");
    };
    let all = scene.publish(10);
    browser.wait_for("raw", SOON, GOT, &json!(all));

    scene.proxy.cut();
    let since = Instant::now();
    let all = scene.publish(10);
    caught_up(&mut scene, &mut browser, "a cut", since, &all);

    scene.proxy.swallow();
    let since = Instant::now();
    let all = scene.publish(10);
    caught_up(&mut scene, &mut browser, "a silence", since, &all);

    scene.service.tally.sigkill();
    scene.publish(20);
    std::thread::sleep(Duration::from_secs(2));
    let address = scene.service.address.to_string();
    scene.service = scene.desk.serve_on(&scene.stage, &address, &[]);
    let since = Instant::now();
    let all = scene.publish(10);
    caught_up(&mut scene, &mut browser, "a kill", since, &all);
    assert_eq!(browser.errors_but_of_network(), Vec::<String>::new());
}

/// Scenario: a window is hidden, then shown; a token ends after half a minute and the client has another.
/// Guarantees: a hidden window stays connected at a slower pace and misses nothing; a token is renewed on the open
/// connection, which outlives the first one.
#[test]
fn a_hidden_window_and_a_renewed_token_keep_their_connection() {
    if skip() {
        return;
    }
    let mut scene = Scene::new("tokens");
    let mut browser = Browser::start();
    let began = Instant::now();
    let lifetime_s: i64 = 35;
    let first = scene.token(lifetime_s);
    scene.collect(&mut browser, "raw", &[first, scene.token(600)]);
    browser.hide("raw", true);
    let all = scene.publish(10);
    browser.wait_for("raw", SOON, GOT, &json!(all));
    std::thread::sleep(Duration::from_secs(8)); // longer than a visible window would wait for a heartbeat
    browser.hide("raw", false);
    let renewed = "return JSON.stringify(window.asked) === '[\"start\",\"renew\"]'";
    browser.wait_for("raw", SOON, renewed, &Value::Null);
    let lifetime = Duration::from_secs(u64::try_from(lifetime_s).expect("positive") + 2);
    std::thread::sleep(lifetime.saturating_sub(began.elapsed()));
    let all = scene.publish(10);
    browser.wait_for("raw", SOON, GOT, &json!(all));
    let states = browser.eval("raw", "return window.states", &Value::Null);
    assert_eq!(
        states,
        json!(["connecting null 0", "live ws 0"]),
        "one connection from the first to the last"
    );
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// Scenario: WebSockets are taken and never answered; then event streams are, too.
/// Guarantees: the client goes on by server-sent events, then by long poll, and misses nothing.
#[test]
fn where_websockets_are_blocked_other_ways_are_found() {
    if skip() {
        return;
    }
    let mut scene = Scene::new("blocked");
    let mut browser = Browser::start();
    let mut all = scene.publish(4);
    for (blocked, way) in [(&["GET /feed/ws"][..], "sse"), (&["GET /feed/ws", "GET /feed/sse"], "poll")] {
        scene.proxy.block(blocked);
        scene.collect(&mut browser, way, &[scene.token(600)]);
        let transport = browser.eval(way, "return window.feed.status.transport", &Value::Null);
        assert_eq!(transport, way);
        all = scene.publish(10);
        browser.wait_for(way, SOON, GOT, &json!(all));
        scene.proxy.cut();
        all = scene.publish(10);
        browser.wait_for(way, SOON, GOT, &json!(all));
    }
    assert_eq!(all.len(), 44);
    assert_eq!(browser.errors_but_of_network(), Vec::<String>::new());
}

/// Scenario: a page of somebody's own uses the browser's `EventSource`, without a script of ours: first without the cookie, then
/// with it; the connection is cut, and the service says goodbye, while events are published.
/// Guarantees: nobody is let in without the cookie; with it the browser itself comes back to where it was, by its
/// `Last-Event-ID`: everything came, each once; scripts cannot read the cookie.
#[test]
fn the_browsers_own_event_source_resumes_with_the_cookie() {
    if skip() {
        return;
    }
    const OPEN: &str = r#"
        Object.assign(window, { got: [], hellos: [], ends: [], wrong: [], refused: false });
        window.source = new EventSource(new URL("feed/sse?cursor=now", document.baseURI));
        const heard = (op, act) => window.source.addEventListener(op, (event) => {
            const frame = JSON.parse(event.data);
            if (frame.op !== op || (op !== "goaway" && event.lastEventId !== frame.cursor)) window.wrong.push(event.data);
            act(frame);
        });
        heard("hello", (frame) => window.hellos.push(frame.recovered));
        heard("event", (frame) => window.got.push(JSON.parse(frame.payload).id));
        heard("heartbeat", () => {});
        heard("goaway", (frame) => window.ends.push(frame.code));
        window.source.onerror = () => { window.refused = window.source.readyState === EventSource.CLOSED; };
        return true;
    "#;
    const HELLOS: &str = "return window.hellos.length >= argument && window.hellos.every(Boolean)";
    let mut scene = Scene::new("source");
    let mut browser = Browser::start();
    browser.open("own", &scene.page());
    browser.eval("own", OPEN, &Value::Null);
    browser.wait_for("own", SOON, "return window.refused && window.hellos.length === 0", &Value::Null);
    assert!(browser.errors().iter().all(|error| error.contains("401")), "and nothing else is wrong");

    browser.cookie(&scene.proxy.url(), "__Host-tally", &scene.token(600));
    browser.eval("own", OPEN, &Value::Null);
    browser.wait_for("own", SOON, HELLOS, &json!(1));
    let all = scene.publish(10);
    browser.wait_for("own", SOON, GOT, &json!(all));
    assert_eq!(browser.eval("own", "return document.cookie", &Value::Null), "");

    scene.proxy.cut();
    scene.publish(10);
    browser.wait_for("own", SOON, HELLOS, &json!(2));
    let all = scene.publish(10);
    browser.wait_for("own", SOON, GOT, &json!(all));

    scene.service.tally.sigterm();
    browser.wait_for("own", SOON, "return JSON.stringify(window.ends) === '[4200]'", &Value::Null);
    scene.service.tally.expect_success(SOON);
    scene.publish(10);
    let address = scene.service.address.to_string();
    scene.service = scene.desk.serve_on(&scene.stage, &address, &[]);
    browser.wait_for("own", SOON, HELLOS, &json!(3));
    let all = scene.publish(10);
    browser.wait_for("own", SOON, GOT, &json!(all));
    assert_eq!(browser.eval("own", "return window.wrong", &Value::Null), json!([]));
    assert_eq!(browser.errors_but_of_network(), Vec::<String>::new());
}

/// Scenario: somebody between service and browser alters payloads, once and always; in one window the browser's own
/// cryptography knows no Ed25519.
/// Guarantees: what was altered is never shown; what is asked for again and comes whole is; what does not is counted, said,
/// and what follows it is shown. Both kinds of verification agree.
#[test]
fn a_tampered_payload_is_not_shown() {
    if skip() {
        return;
    }
    const WITHOUT_ED25519: &str = r#"
        const importKey = crypto.subtle.importKey.bind(crypto.subtle);
        window.refused = 0;
        crypto.subtle.importKey = async (format, key, algorithm, ...rest) => {
            if (algorithm.name !== "Ed25519") return importKey(format, key, algorithm, ...rest);
            window.refused += 1;
            throw new DOMException("unrecognized name", "NotSupportedError");
        };
        return true;
    "#;
    let mut scene = Scene::new("tampered");
    let mut browser = Browser::start();
    let windows = ["own", "other"];
    scene.open_bare(&mut browser, "other");
    browser.eval("other", WITHOUT_ED25519, &Value::Null);
    browser.eval("other", COLLECT, &json!({ "tokens": [scene.token(600)] }));
    scene.collect(&mut browser, "own", &[scene.token(600)]);
    scene.open_page(&mut browser, "page");
    let first = scene.publish(4);
    for window in windows {
        browser.wait_for(window, SOON, GOT, &json!(first));
    }
    assert_ne!(browser.eval("other", "return window.refused", &Value::Null), 0, "the fallback verified");

    let evil = Some(("template-good", "template-evil"));
    scene.proxy.replace(evil);
    let whole = scene.publish(2);
    eventually(SOON, "an altered payload", || (scene.proxy.replacements() >= 3).then_some(()));
    scene.proxy.replace(None); // each of the three asks again, and gets it as it was signed
    for window in windows {
        browser.wait_for(window, SOON, GOT, &json!(whole));
        assert_eq!(browser.eval(window, "return window.feed.status.withheld", &Value::Null), 0);
    }

    scene.proxy.replace(evil);
    let after_one = scene.publish(2);
    let withheld = "return window.feed.status.withheld === argument";
    for window in windows {
        browser.wait_for(window, SOON, withheld, &json!(2));
        browser.wait_for(window, SOON, GOT, &json!(whole));
    }
    let shown = "return document.body.innerText.includes('template-evil')";
    assert_eq!(browser.eval("page", shown, &Value::Null), false);
    let said = "return !document.getElementById('withheld').hidden";
    browser.wait_for("page", SOON, said, &Value::Null);
    assert!(scene.proxy.replacements() > 0);

    scene.proxy.replace(None);
    let all = scene.publish(2);
    let expected: Vec<&String> =
        all.iter().filter(|id| whole.contains(id) || !after_one.contains(id)).collect();
    for window in windows {
        browser.wait_for(window, SOON, GOT, &json!(expected));
    }
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// What prompts and banners the page shows: task, kind, state.
const PROMPTS: &str = r#"
    const shown = [...document.querySelectorAll(".prompt")].map(({ dataset }) => `${dataset.prompt} ${dataset.state}`);
    return JSON.stringify(shown.sort()) === JSON.stringify([...argument].sort());
"#;

/// Scenario: a buyer looks at the page; acceleration is offered on three tasks, a supplement asked for on three others; they are taken and
/// paid, declined, passed over, and one of each is rolled back.
/// Guarantees: each banner and prompt is shown, takes its answer, and shows when that was taken back; none changes after. The page with all of
/// them is fit to be seen, and its pictures are kept.
#[test]
fn prompts_are_shown_until_their_answer() {
    if skip() {
        return;
    }
    let scene = Scene::new("prompts");
    let mut browser = Browser::start();
    scene.open_page(&mut browser, "page");
    let published = std::cell::Cell::new(0);
    let publish = |topic: Topic, task: &str, kind: &str, version: i64| {
        let event = examples::valid(topic).into_iter().find(|event| event["kind"] == kind);
        let mut event = event.unwrap_or_else(|| panic!("an example of {kind}"));
        published.set(published.get() + 1);
        event["event_id"] = examples::id(700_000 + published.get()).into();
        event["user_id"] = scene.buyer.clone().into();
        event["task_id"] = task.into();
        if topic == Topic::Task {
            event["state_version"] = version.into();
        }
        scene.publisher.publish(topic, &[event]);
    };
    let (taken, passed, undone) = (scene.task(0), scene.task(1), unique("undone"));
    let (paid, refused, ignored) = (unique("paid"), unique("refused"), unique("ignored"));
    for task in [&taken, &passed, &undone] {
        publish(Topic::Task, task, "ACCELERATION_OFFERED", 2);
    }
    for task in [&paid, &refused, &ignored] {
        publish(Topic::Task, task, "STARTED", 3);
        publish(Topic::Credit, task, "SUPPLEMENT_REQUESTED", 0);
    }
    let all = |states: [&str; 6]| -> Value {
        let kinds = [&taken, &passed, &undone].map(|task| format!("{task} acceleration"));
        let more = [&paid, &refused, &ignored].map(|task| format!("{task} supplement"));
        kinds
            .into_iter()
            .chain(more)
            .zip(states)
            .map(|(prompt, state)| Value::from(format!("{prompt} {state}")))
            .collect()
    };
    browser.wait_for("page", SOON, PROMPTS, &all(["shown"; 6]));
    for task in [&taken, &undone] {
        publish(Topic::Task, task, "ACCELERATED", 3);
    }
    publish(Topic::Task, &passed, "STARTED", 3);
    publish(Topic::Credit, &paid, "SUPPLEMENT_CHARGED", 0);
    publish(Topic::Credit, &refused, "SUPPLEMENT_DECLINED", 0);
    publish(Topic::Task, &ignored, "CANCELLED", 4);
    browser.wait_for(
        "page",
        SOON,
        PROMPTS,
        &all(["accepted", "expired", "accepted", "accepted", "declined", "expired"]),
    );
    publish(Topic::Task, &undone, "ROLLED_BACK", 4);
    publish(Topic::Task, &taken, "STARTED", 4);
    publish(Topic::Task, &paid, "SUCCEEDED", 4);
    browser.wait_for(
        "page",
        SOON,
        PROMPTS,
        &all(["accepted", "expired", "undone", "accepted", "declined", "expired"]),
    );
    let mut wrong = photograph(&mut browser, "my-prompts", &album(), looks());
    wrong.extend(browser.errors());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
