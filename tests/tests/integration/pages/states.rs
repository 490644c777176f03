//! A photograph of pages as nobody wants to see them: with nothing there yet, with data that no longer comes, without a store, and
//! without the service behind it.

use super::photographs::{album, is_whole, looks, photograph};
use super::{LIVE, SOON};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;
use tally_dashboards::identity::Role;
use tally_tests::feed::Desk;
use tally_tests::{Browser, ClickHouse, Kafka, Stage, TempFolder, eventually, free_port, skip_without};

/// Data is old after a minute.
const OLD: Duration = Duration::from_secs(150);
/// The body of a function that is true once all parts of a page have said that they have nothing, or why.
const EMPTY: &str = "return document.querySelectorAll('.empty').length > 0 && document.querySelector('.unanswered, .trouble') === null";
const BEHIND: &str = "return document.querySelector('.badge.stale') !== null && document.querySelector('.unanswered, .trouble') === null";
const FAILED: &str = "return document.querySelector('.unanswered, .trouble') !== null";
/// An open page has said since when it is old; that of my tasks, that it tries again.
const LEFT: &str = "return document.querySelector('.live.stale, #state.waiting, #state.connecting') !== null";

/// Pages, and who looks at them. Each of the first four is made in its own way, of figures, of verdicts, by its own script, of one task;
/// the others are made as the first two are.
const PAGES: [(&str, Role); 8] = [
    ("overview", Role::Admin),
    ("compliance", Role::Moderator),
    ("my", Role::Buyer),
    ("task", Role::Admin),
    ("product", Role::Admin),
    ("moderation", Role::Moderator),
    ("dead", Role::Moderator),
    ("creator", Role::Creator),
];

/// Those that are looked at: `make photographs` looks at all.
fn pages() -> &'static [(&'static str, Role)] {
    if is_whole() { &PAGES } else { &PAGES[..4] }
}

/// Who is at the browser, and what they look at.
struct Reader<'a> {
    browser: Browser,
    desk: &'a Desk,
    origin: String,
    album: &'a Path,
    /// Subjects of the buyer and of the creator, and the task that is looked at.
    buyer: String,
    creator: String,
    task: String,
    wrong: Vec<String>,
}

impl Reader<'_> {
    fn address(&self, page: &str) -> String {
        match page {
            "task" => format!("{}/task/{}", self.origin, self.task),
            _ => format!("{}/{page}?range=1h", self.origin),
        }
    }

    /// Opens a page as who it is for.
    fn open(&mut self, page: &str, role: Role) {
        let subject = match role {
            Role::Buyer => &self.buyer,
            Role::Creator => &self.creator,
            _ => "olga",
        };
        self.browser.cookie(&self.origin, "__Host-tally", &self.desk.pass(role, subject));
        self.browser.open("page", &self.address(page));
    }

    /// Takes pictures of the open page. What the browser itself says of a status or of a network that it was refused
    /// is what is played.
    fn take(&mut self, page: &str, state: &str, ready: &str) {
        self.browser.wait_for("page", SOON, ready, &Value::Null);
        let name = format!("{page}-{state}");
        // the same markup as in the other pictures of the page: one look tells it, but for the whole album
        let looks = match state {
            _ if is_whole() => looks(),
            "empty" | "failed" => &looks()[..1],
            _ => &looks()[1..],
        };
        self.wrong.extend(photograph(&mut self.browser, &name, self.album, looks));
        let said = self.browser.errors_but_of_network().into_iter();
        let said = said.filter(|error| !error.contains("Failed to load resource"));
        self.wrong.extend(said.map(|error| format!("{name}: {error}")));
    }

    /// Closes the page.
    fn leave(&mut self) {
        self.browser.close("page");
        self.browser.forget();
    }
}

/// Scenario: pages over tables without a row; over data of which nothing has come for a minute; while ClickHouse is away; and, already
/// open, while the service is away.
/// Guarantees: each says in its own words what there is not, without an error on the console, nothing wider than
/// the window, and no serious finding of axe; a page that was left by the service goes on by itself when it is back. The pictures are kept.
#[test]
fn every_state_is_fit_to_be_seen() {
    if skip_without(Browser::installed()) || skip_without(Kafka::real()) {
        return;
    }
    let (data, album, desk) = (TempFolder::new("states"), album(), Desk::default());
    let clickhouse = ClickHouse::start(data.path());
    let stage = Stage::on(Kafka::shared(), &clickhouse, "states");
    let listen = format!("127.0.0.1:{}", free_port());
    let mut service = desk.serve_on(&stage, &listen, &[]);
    let [buyer, creator, task] = ["nobody", "nobody", "none"].map(str::to_owned);
    let (browser, origin) = (Browser::start(), format!("http://{listen}"));
    let mut reader =
        Reader { browser, desk: &desk, origin, album: &album, buyer, creator, task, wrong: Vec::new() };

    for &(page, role) in pages() {
        reader.open(page, role);
        let ready = match page {
            "task" => FAILED, // there is no such task
            "my" => LIVE,
            _ => EMPTY,
        };
        reader.take(page, "empty", ready);
        reader.leave();
    }

    let what = ["--events", "4000", "--invalid-permille", "20"];
    stage.simulate(&what).expect_success(SOON);
    stage.catch_up(&[]);
    let one = |sql: &str| stage.database.query(sql).trim().to_owned();
    reader.task =
        one("SELECT task_id FROM task_events GROUP BY task_id ORDER BY count() DESC, task_id LIMIT 1");
    reader.buyer =
        one("SELECT user_id FROM task_events GROUP BY user_id ORDER BY count() DESC, user_id LIMIT 1");
    reader.creator = one(
        "SELECT creator_id FROM license_events GROUP BY creator_id ORDER BY count() DESC, creator_id LIMIT 1",
    );
    for &(page, role) in pages() {
        reader.open(page, role);
        if page == "overview" {
            let is_old = "return document.querySelector('.badge.stale') !== null";
            let address = reader.address(page);
            eventually(OLD, "data that is old", || {
                reader.browser.go("page", &address);
                (reader.browser.eval("page", is_old, &Value::Null) == true).then_some(())
            });
        }
        let ready =
            if page == "task" || page == "my" { "return document.readyState === 'complete'" } else { BEHIND };
        reader.take(page, "behind", ready);
        reader.leave();
    }

    clickhouse.kill();
    for &(page, role) in pages() {
        reader.open(page, role);
        reader.take(page, "failed", FAILED);
        reader.leave();
    }
    clickhouse.restart();

    for &(page, role) in pages() {
        reader.open(page, role);
        let whole = match page {
            "my" => {
                "return document.getElementById('state').className === 'live' && document.querySelector('.task') !== null"
            }
            _ => {
                "const lamp = document.getElementById('live'); return lamp !== null && !lamp.className.includes('stale') && document.readyState === 'complete' && document.querySelector('.unanswered, .trouble, .sign-in') === null"
            }
        };
        reader.browser.wait_for("page", SOON, whole, &Value::Null);
        service.tally.sigkill();
        reader.take(page, "left", LEFT);
        service = desk.serve_on(&stage, &listen, &[]);
        reader.browser.wait_for("page", SOON, whole, &Value::Null); // by itself
        reader.leave();
    }
    drop(service);
    let wrong = reader.wrong;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
