//! A running `tally mock-platform`, and one who calls it.

use std::time::Duration;

use serde_json::{Value, json};
use tally_pipeline::gateway::mock::{Script, Statement};

use crate::service::Answer;
use crate::tally::Tally;
use crate::wait::eventually;

/// Until it listens, or has said all it knows.
const SOON: Duration = Duration::from_secs(60);

/// A mock platform. Dropped, it is killed.
#[derive(Debug)]
pub struct MockPlatform {
    /// Its process.
    pub tally: Tally,
    /// `http://host:port`
    pub url: String,
}

impl MockPlatform {
    /// Starts one on a free port, with further flags.
    ///
    /// # Panics
    /// When it ends instead of listening.
    pub fn start(flags: &[&str]) -> MockPlatform {
        let listen = ["mock-platform", "--listen", "127.0.0.1:0"];
        let mut tally = Tally::spawn(&[&listen[..], flags].concat(), &[]);
        let url = eventually(SOON, "the address that tally mock-platform prints", || {
            assert!(tally.is_running(), "tally mock-platform ended\n{}", tally.log_tail());
            let output = tally.stdout();
            let (_, rest) = output.split_once("mock platform: ")?;
            let (address, _) = rest.split_once(char::is_whitespace)?;
            Some(address.trim_end_matches('/').to_owned())
        });
        MockPlatform { tally, url }
    }

    /// `POST` of a JSON body with these headers, and what came back within that time; `None` where nothing did: the connection
    /// ended, or the time.
    pub fn post_within(
        &self,
        time: Duration,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let mut request =
            ureq::post(format!("{}{path}", self.url)).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.config().timeout_global(Some(time)).http_status_as_error(false).proxy(None);
        let mut response = request.build().send(body).ok()?;
        let body = response.body_mut().read_to_string().ok()?;
        let headers = response.headers().clone();
        Some(Answer { status: response.status().as_u16(), headers, body })
    }

    /// The same with a token, a key unless it is empty, and the number of the attempt.
    ///
    /// # Panics
    /// When nobody answers within a minute.
    pub fn call(&self, path: &str, key: &str, attempt: u32, body: &Value) -> Answer {
        self.try_call(SOON, path, (key, attempt), body)
            .unwrap_or_else(|| panic!("{path}: no answer\n{}", self.tally.log_tail()))
    }

    /// The same within that time; `None` where nothing came back.
    pub fn try_call(
        &self,
        time: Duration,
        path: &str,
        (key, attempt): (&str, u32),
        body: &Value,
    ) -> Option<Answer> {
        let attempt = attempt.to_string();
        let mut headers = vec![("authorization", "Bearer token"), ("x-attempt", &attempt)];
        if !key.is_empty() {
            headers.push(("idempotency-key", key));
        }
        self.post_within(time, path, &headers, &body.to_string())
    }

    /// Asks something that is for tests alone, such as `wallets`.
    ///
    /// # Panics
    /// When it is refused.
    pub fn prepare(&self, what: &str, body: &Value) {
        let path = format!("/_mock/{what}");
        let answer = self.post_within(SOON, &path, &[], &body.to_string());
        let answer = answer.unwrap_or_else(|| panic!("{path}: no answer"));
        assert_eq!(answer.status, 204, "{path}: {}", answer.body);
    }

    /// Makes a wallet, or adds credits to one.
    ///
    /// # Panics
    /// When it is refused.
    pub fn grant(&self, wallet_id: &str, balance_micros: i64) {
        self.prepare("wallets", &json!([{"wallet_id": wallet_id, "balance_micros": balance_micros}]));
    }

    /// From now on this goes wrong.
    ///
    /// # Panics
    /// When the script is refused.
    pub fn play(&self, script: &Script) {
        self.prepare("script", &json!(script));
    }

    /// Everything that it knows.
    ///
    /// # Panics
    /// When it does not say.
    pub fn statement(&self) -> Statement {
        let url = format!("{}/_mock/ledger", self.url);
        let request = ureq::get(&url).config().timeout_global(Some(SOON)).proxy(None).build();
        let text =
            request.call().expect("a statement").body_mut().with_config().limit(u64::MAX).read_to_vec();
        serde_json::from_slice(&text.expect("a whole statement")).expect("a statement is JSON")
    }
}
