//! A running `tally serve`, and callers of every role.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tally_dashboards::identity::{Minter, Role, TokenRequest};

use crate::clickhouse::Database;
use crate::place::TempFolder;
use crate::tally::Tally;
use crate::wait::eventually;

/// Until it listens and knows what was revoked, or a command has ended.
const SOON: Duration = Duration::from_secs(60);
/// Claims of the tests' tokens.
const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "tally";

/// A service over one database, and the key of its tokens. Dropped, it is killed.
#[derive(Debug)]
pub struct Service {
    /// Its process.
    pub tally: Tally,
    /// `http://host:port` of the API.
    pub url: String,
    /// `http://host:port` of `/metrics` and its kin.
    pub ops: String,
    key: Key,
}

/// A key pair in a folder.
#[derive(Debug)]
pub struct Key {
    folder: TempFolder,
    minter: Minter,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: ureq::http::HeaderMap,
    /// Body, as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// The code of a problem document; empty where it is none.
    pub fn code(&self) -> String {
        let is_problem = self.header("content-type") == "application/problem+json";
        if is_problem { self.json()["code"].as_str().unwrap_or_default().to_owned() } else { String::new() }
    }

    /// A header's value; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

impl Key {
    /// Made by `tally token keygen`.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Key {
        let folder = TempFolder::new("token-key");
        let path = folder.path().join("key");
        let path = path.to_str().expect("paths in tests are text");
        Tally::spawn(&["token", "keygen", "--out", path], &[]).expect_success(SOON);
        let private = std::fs::read_to_string(path).expect("the private key");
        let minter = Minter::new(private.trim(), ISSUER, AUDIENCE).expect("a key");
        Key { folder, minter }
    }

    /// The flags of `tally serve` that name it.
    pub fn flags(&self) -> Vec<String> {
        let public = self.folder.path().join("key.pub");
        let public = public.to_str().expect("paths in tests are text");
        ["--issuer", ISSUER, "--audience", AUDIENCE, "--token-key", public].map(str::to_owned).to_vec()
    }

    /// A token that lives a quarter of an hour, and its id.
    ///
    /// # Panics
    /// When the key cannot sign.
    pub fn token(&self, role: Role, subject: &str) -> (String, String) {
        self.token_at(role, subject, now_s(), 900)
    }

    /// A token issued at that moment, seconds since 1970, for so many seconds; and its id.
    ///
    /// # Panics
    /// When the key cannot sign.
    pub fn token_at(&self, role: Role, subject: &str, at_s: i64, lifetime_s: i64) -> (String, String) {
        let request = TokenRequest { subject: subject.to_owned(), role, scope: String::new(), lifetime_s };
        self.minter.mint(&request, at_s).expect("a token")
    }

    /// A token with these scopes, words with spaces between.
    ///
    /// # Panics
    /// When the key cannot sign.
    pub fn token_for(&self, role: Role, subject: &str, scopes: &str) -> String {
        let request =
            TokenRequest { subject: subject.to_owned(), role, scope: scopes.to_owned(), lifetime_s: 900 };
        self.minter.mint(&request, now_s()).expect("a token").0
    }
}

impl Default for Key {
    fn default() -> Key {
        Key::new()
    }
}

impl Service {
    /// Starts one over the tables of that database, which it makes; with further flags.
    ///
    /// # Panics
    /// When it ends instead of listening.
    pub fn start(database: &Database<'_>, more: &[&str]) -> Service {
        Service::with_key(database, Key::new(), more)
    }

    /// The same with a key that is there already.
    ///
    /// # Panics
    /// As above.
    pub fn with_key(database: &Database<'_>, key: Key, more: &[&str]) -> Service {
        let flags = key.flags();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let (tally, url, ops) = start(database, &[&flags, more].concat());
        Service { tally, url, ops, key }
    }

    /// A token of that role and subject.
    pub fn token(&self, role: Role, subject: &str) -> String {
        self.key.token(role, subject).0
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// `GET`, with that token unless it is empty. The path begins with a slash.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.get_with(path, token, &[])
    }

    /// `GET` with further headers.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn get_with(&self, path: &str, token: &str, headers: &[(&str, &str)]) -> Answer {
        get(&self.url, path, token, headers)
    }

    /// `POST` of a body of that type.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn post(&self, path: &str, token: &str, kind: &str, body: &str) -> Answer {
        let request = ureq::post(format!("{}{path}", self.url)).header("content-type", kind);
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.config().timeout_global(Some(SOON)).http_status_as_error(false).proxy(None);
        answer(path, request.build().send(body))
    }
}

/// Starts `tally serve` with those flags; returns it, and where its API and its metrics are.
///
/// # Panics
/// When it ends instead of listening, or is not ready within a minute.
pub fn start(database: &Database<'_>, flags: &[&str]) -> (Tally, String, String) {
    let at = ["serve", "--clickhouse", database.url(), "--database", database.name()];
    let listen = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
    let mut tally = Tally::spawn(&[&at[..], &listen, flags].concat(), &[]);
    let url = eventually(SOON, "the address that tally serve prints", || {
        assert!(tally.is_running(), "tally serve ended\n{}", tally.log_tail());
        let output = tally.stdout();
        let (_, rest) = output.split_once("service: ")?;
        let (address, _) = rest.split_once(char::is_whitespace)?;
        Some(address.trim_end_matches('/').to_owned())
    });
    let ops = crate::stage::pages(&mut tally);
    eventually(SOON, "a service that is ready", || {
        (crate::stage::get(&format!("{ops}/readyz")).0 == 200).then_some(())
    });
    (tally, url, ops)
}

/// `GET` of a path of whoever listens there.
pub(crate) fn get(url: &str, path: &str, token: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = ureq::get(format!("{url}{path}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.config().timeout_global(Some(SOON)).http_status_as_error(false).proxy(None);
    answer(path, request.build().call())
}

fn answer(path: &str, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
    let mut response = response.unwrap_or_else(|error| panic!("{path}: {error}"));
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.body_mut().read_to_string().unwrap_or_else(|error| panic!("{path}: {error}"));
    Answer { status, headers, body }
}

/// Seconds since 1970 UTC.
fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_secs()).expect("a clock before the end of time")
}
