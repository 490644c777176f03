//! A running `tally gateway`, which may be killed and started again in its folder, and callers of it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tally_dashboards::identity::Role;
use tally_queries::private::write_private;

use crate::mock_platform::MockPlatform;
use crate::place::{TempFolder, free_port};
use crate::service::{self, Answer, Key};
use crate::stage::{self, Stage};
use crate::tally::Tally;
use crate::wait::eventually;

/// Until it listens, or an answer is there.
const SOON: Duration = Duration::from_secs(60);
/// Every scope of the four calls.
pub const SCOPES: &str = "credits:estimate credits:charge credits:refund licenses:check";
/// Every scope of the flows.
pub const FLOW_SCOPES: &str = "flows:compute flows:acceleration flows:moderation";

/// A gateway between a stage and a mock platform. Dropped, it is killed.
#[derive(Debug)]
pub struct Gateway {
    /// Its process.
    pub tally: Tally,
    /// `http://host:port` of the calls; the same after a restart.
    pub url: String,
    /// `http://host:port` of `/metrics` and its kin.
    pub ops: String,
    /// The file of the token that the platform is shown.
    pub platform_token: std::path::PathBuf,
    key: Arc<Key>,
    arguments: Vec<String>,
    folder: TempFolder,
}

impl Gateway {
    /// Starts one, with further flags. The database's tables are made.
    ///
    /// # Panics
    /// When it ends instead of listening.
    pub fn start(stage: &Stage<'_>, platform: &MockPlatform, more: &[&str]) -> Gateway {
        let (key, folder) = (Arc::new(Key::new()), TempFolder::new("gateway"));
        let token = folder.path().join("platform-token");
        write_private(&token, "token\n").expect("a token is written");
        let listen = format!("127.0.0.1:{}", free_port());
        let text = |path: &std::path::Path| path.to_str().expect("paths in tests are text").to_owned();
        let (file, store) = (text(&token), text(&folder.path().join("store")));
        let own =
            ["gateway", "--listen", &listen, "--ops-listen", "127.0.0.1:0", "--platform", &platform.url];
        let kept = ["--platform-token-file", &file, "--folder", &store];
        let process: &[&str] =
            if more.contains(&"--durability") { &[] } else { &["--durability", "process"] };
        let flags = key.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let all =
            [&own[..], &kept, process, &stage.at_kafka(), &stage.at_clickhouse(), &flags, more].concat();
        let arguments: Vec<String> = all.into_iter().map(str::to_owned).collect();
        let (tally, ops) = begin(&arguments);
        let url = format!("http://{listen}");
        Gateway { tally, url, ops, platform_token: token, key, arguments, folder }
    }

    /// Kills it and starts it again in its folder.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn kill_and_restart(&mut self) {
        self.tally.sigkill();
        (self.tally, self.ops) = begin(&self.arguments);
    }

    /// Ends it in good order.
    ///
    /// # Panics
    /// When it does not end, or ends badly.
    pub fn stop(&mut self) {
        self.tally.sigterm();
        self.tally.expect_success(SOON);
    }

    /// Where it keeps what it must not forget.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    /// A token of a service, with these scopes, words with spaces between.
    pub fn token(&self, subject: &str, scopes: &str) -> String {
        self.key.token_for(Role::Service, subject, scopes)
    }

    /// The key of its tokens.
    pub fn key(&self) -> Arc<Key> {
        Arc::clone(&self.key)
    }

    /// A token of another role.
    pub fn token_of(&self, role: Role, scopes: &str) -> String {
        self.key.token_for(role, "somebody", scopes)
    }

    /// Calls; `None` where nothing came back: the process was killed, say.
    pub fn call(&self, path: &str, token: &str, key: &str, body: &Value) -> Option<Answer> {
        call(&self.url, path, token, key, &body.to_string())
    }

    /// Asks for something that is there.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        service::get(&self.url, path, token, &[])
    }

    /// The value of a metric with these labels as they stand in the text, such as `tally_gateway_outbox_events`.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = stage::get(&format!("{}/metrics", self.ops));
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        line.unwrap_or(0.0)
    }

    /// Waits until nothing is open any more and Kafka has every event.
    ///
    /// # Panics
    /// After `timeout`.
    pub fn settled(&self, timeout: Duration) {
        eventually(timeout, "a gateway with nothing open", || {
            let waiting = ["tally_gateway_unresolved_requests", "tally_gateway_outbox_events"];
            let open: f64 = waiting.iter().map(|name| self.metric(name)).sum();
            std::thread::sleep(Duration::from_millis(300));
            let still: f64 = waiting.iter().map(|name| self.metric(name)).sum();
            (open + still == 0.0).then_some(())
        });
    }
}

/// The same from any thread, for a gateway that may be away.
pub fn call(url: &str, path: &str, token: &str, key: &str, body: &str) -> Option<Answer> {
    let mut request = ureq::post(format!("{url}{path}")).header("content-type", "application/json");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !key.is_empty() {
        request = request.header("idempotency-key", key);
    }
    let request = request.config().timeout_global(Some(SOON)).http_status_as_error(false).proxy(None);
    let mut response = request.build().send(body).ok()?;
    let body = response.body_mut().read_to_string().ok()?;
    Some(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
}

fn begin(arguments: &[String]) -> (Tally, String) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut tally = Tally::spawn(&arguments, &[("RUST_LOG", "info")]);
    let ops = stage::pages(&mut tally);
    eventually(SOON, "a gateway that is ready", || {
        assert!(tally.is_running(), "tally gateway ended\n{}", tally.log_tail());
        (tally.stdout().contains("gateway: ") && stage::get(&format!("{ops}/readyz")).0 == 200).then_some(())
    });
    (tally, ops)
}
