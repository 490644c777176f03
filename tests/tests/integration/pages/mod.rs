//! The pages of a demo, in headless Chromium and over HTTP.

mod chinese;
mod figures;
mod guard;
mod keys;
pub(super) mod photographs;
mod states;

use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tally_tests::{Browser, Tally, TempFolder, eventually};

/// Until a page, or a demo, has what it must have, on a machine that builds at the same time.
const SOON: Duration = Duration::from_secs(120);
/// How long the demo publishes: longer than all tests that look at it.
const SECONDS: &str = "5400";

/// A page, who looks at it, and what shows that it has its data.
pub(super) struct Place {
    /// For file names.
    pub(super) name: &'static str,
    /// Who looks: the value of a button on the page to sign in with.
    pub(super) role: &'static str,
    /// Its address, or that of a page from which it is reached.
    pub(super) path: &'static str,
    /// What is clicked there, in turn, to reach it.
    pub(super) clicks: &'static [&'static str],
    /// The body of a function that is true once there is what a picture shall show.
    pub(super) ready: &'static str,
}

const HAS_ROWS: &str = "return document.querySelectorAll('figure tbody tr').length > 20";

/// Jobs have said something, and something was refused.
const VERDICTS: &str = "return document.querySelectorAll('#verdicts .share').length > 3 && document.querySelector('#part-refused-rows') !== null";
/// Jobs have said something, all of them in Chinese.
const SAID_IN_CHINESE: &str = "const said = [...document.querySelectorAll('#verdicts td.wrap')].map((cell) => cell.textContent); return said.length > 3 && document.querySelector('#part-refused-rows') !== null && said.every((text) => /[\\u4e00-\\u9fff]/.test(text))";
const TIMELINE: &str = "return document.querySelector('#part-timeline-rows') !== null";
/// The feed has greeted the page.
const LIVE: &str = "return document.getElementById('state').className === 'live'";

/// Every page that is photographed. A new page is added here.
pub(super) const PLACES: [Place; 21] = [
    Place { name: "overview", role: "admin", path: "/overview?range=15m", clicks: &[], ready: HAS_ROWS },
    Place {
        name: "overview-zh",
        role: "admin",
        path: "/overview?range=15m&lang=zh&tz=Asia/Shanghai",
        clicks: &[],
        ready: HAS_ROWS,
    },
    Place { name: "overview-past", role: "admin", path: "/overview?range=90d", clicks: &[], ready: HAS_ROWS },
    Place {
        name: "overview-empty",
        role: "admin",
        path: "/overview?from=2001-01-01T00:00:00Z&to=2001-01-02T00:00:00Z",
        clicks: &[],
        ready: "return document.querySelectorAll('.empty').length > 3",
    },
    Place {
        name: "product",
        role: "admin",
        path: "/product?range=15m",
        clicks: &[],
        ready: "return document.querySelectorAll('.verdict').length > 1",
    },
    Place {
        name: "dead-service",
        role: "service",
        path: "/dead?range=15m",
        clicks: &[],
        ready: "return document.querySelector('#part-letters-rows') !== null",
    },
    Place {
        name: "refused",
        role: "buyer",
        path: "/overview",
        clicks: &[],
        ready: "return document.querySelector('.trouble') !== null",
    },
    Place { name: "compliance", role: "admin", path: "/compliance?range=15m", clicks: &[], ready: VERDICTS },
    Place {
        name: "compliance-zh",
        role: "moderator",
        path: "/compliance?lang=zh",
        clicks: &[],
        ready: SAID_IN_CHINESE,
    },
    Place {
        name: "verdict-zh",
        role: "moderator",
        path: "/compliance?lang=zh",
        clicks: &["#job-completeness .share"],
        ready: "const broken = document.querySelector('#part-offenders-rows'); return /[\\u4e00-\\u9fff]/.test(document.querySelector('.lead').textContent) && (broken === null || /张回执/.test(broken.textContent))",
    },
    Place {
        name: "verdict",
        role: "moderator",
        path: "/compliance",
        clicks: &["#job-completeness .share"],
        ready: "return document.querySelector('#part-offenders') !== null",
    },
    Place {
        name: "moderation",
        role: "moderator",
        path: "/moderation?range=15m",
        clicks: &[],
        ready: "return document.querySelector('#part-queue-rows') !== null",
    },
    Place {
        name: "case",
        role: "moderator",
        path: "/moderation",
        clicks: &["#part-queue-rows tbody a"],
        ready: TIMELINE,
    },
    Place {
        name: "dead",
        role: "moderator",
        path: "/dead?range=15m",
        clicks: &[],
        ready: "return document.querySelector('#part-letters-rows') !== null",
    },
    Place {
        name: "dead-letter",
        role: "admin",
        path: "/dead",
        clicks: &["#part-letters-rows tbody a"],
        ready: "return document.querySelector('.dump') !== null",
    },
    Place {
        name: "dead-letter-moderator",
        role: "moderator",
        path: "/dead",
        clicks: &["#part-letters-rows tbody a"],
        ready: "return document.querySelector('#for-admins') !== null && document.querySelector('.dump') === null && [...document.querySelectorAll('.facts dd')][1].textContent.length > 4",
    },
    Place {
        name: "creator",
        role: "creator",
        path: "/creator?range=15m",
        clicks: &[],
        ready: "return document.querySelectorAll('#licences tbody tr').length > 0",
    },
    Place { name: "my", role: "buyer", path: "/my?range=15m", clicks: &[], ready: LIVE },
    Place {
        name: "my-zh",
        role: "buyer",
        path: "/my?range=15m&lang=zh&tz=Asia/Shanghai",
        clicks: &[],
        ready: LIVE,
    },
    Place {
        name: "task",
        role: "admin",
        path: "/moderation",
        clicks: &["#part-queue-rows td:last-child a"],
        ready: TIMELINE,
    },
    Place {
        name: "task-verified",
        role: "admin",
        path: "/moderation",
        clicks: &["#part-queue-rows td:last-child a", "#part-evidence .button"],
        ready: "return document.querySelector('#verified') !== null",
    },
];

/// A running demo with results of the audit, shared by all tests of pages.
pub(super) struct Demo {
    /// Scheme, host and port.
    pub(super) address: String,
    _process: Tally,
    folder: TempFolder,
}

impl Demo {
    /// The demo, started by whoever asks first, and stopped once nobody has it any more: it would else take half of the time of every test
    /// after those of pages.
    pub(super) fn shared() -> Arc<Demo> {
        static RUNNING: Mutex<Weak<Demo>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let demo = Arc::new(Demo::start());
            *running = Arc::downgrade(&demo);
            demo
        })
    }

    fn start() -> Demo {
        let folder = TempFolder::new("pages");
        let data = folder.path().to_str().expect("paths in tests are text").to_owned();
        // a block of rows every two seconds is enough for looking at
        let often = [("TALLY_INGEST_LINGER_MS", "2000")];
        let mut process =
            Tally::spawn(&["demo", "--data", &data, "--seconds", SECONDS, "--rate", "60"], &often);
        let address = eventually(SOON, "the page's address", || {
            assert!(process.is_running(), "tally demo ended\n{}", process.log_tail());
            let output = process.stdout();
            let (_, rest) = output.split_once("page: ")?;
            Some(rest.split_once("/ ")?.0.to_owned())
        });
        let demo = Demo { address, _process: process, folder };
        let token = demo.token("admin", "looker");
        eventually(SOON, "tasks that ended", || {
            let (status, body) = demo.get("/api/v1/panels/task-success", &token);
            (status == 200 && body.contains("ACCELERATED")).then_some(())
        });
        for job in ["repurchase", "accuracy"] {
            let flags = ["audit", job, "--data", &data, "--grace-minutes", "0", "--settled-after-hours", "0"];
            let said = Tally::spawn(&flags, &[]).end_within(SOON);
            assert_ne!(said.status.code(), Some(3), "tally audit {job}: {}", said.stderr);
        }
        demo
    }

    /// A token of the demo's own issuer.
    pub(super) fn token(&self, role: &str, subject: &str) -> String {
        let data = self.folder.path().to_str().expect("paths in tests are text");
        let mint = ["token", "mint", "--data", data, "--role", role, "--subject", subject];
        Tally::spawn(&mint, &[]).expect_success(SOON).stdout.trim().to_owned()
    }

    /// Asks the API.
    pub(super) fn get(&self, path: &str, token: &str) -> (u16, String) {
        let request =
            ureq::get(format!("{}{path}", self.address)).header("authorization", format!("Bearer {token}"));
        let request =
            request.config().timeout_global(Some(SOON)).http_status_as_error(false).proxy(None).build();
        let mut response = request.call().unwrap_or_else(|error| panic!("{path}: {error}"));
        (response.status().as_u16(), response.body_mut().read_to_string().expect("text"))
    }

    /// Signs a window in by a button of the first page; it then stands where the role begins.
    pub(super) fn sign_in(&self, browser: &mut Browser, window: &str, role: &str) {
        browser.open(window, &format!("{}/", self.address));
        browser.click(window, &format!("form:has(input[name=role][value={role}]) button"));
        let inside =
            "return document.readyState === 'complete' && document.querySelector('.sign-in') === null";
        browser.wait_for(window, SOON, inside, &Value::Null);
        browser.errors(); // the browser's own line about the 401 with which the form came
    }
}
