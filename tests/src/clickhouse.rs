//! ClickHouse: the real engine behind its HTTP interface, or a server of yours.

use std::env;
use std::fmt;
use std::path::Path;
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::place::{TempFolder, unique};
use crate::process::Process;
use crate::tally::Tally;
use crate::wait::eventually;

/// The engine starts in 0.1 s; a folder with much data on a busy machine takes longer.
const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);
const QUERY: Duration = Duration::from_secs(120);
const NOT_YOURS: &str = "servers of yours are not harmed: use ClickHouse::start()";

/// A ClickHouse server. Dropped, one that was started for it is killed.
#[derive(Debug)]
pub struct ClickHouse {
    url: String,
    user: Option<(String, String)>,
    engine: Option<Mutex<Engine>>,
}

#[derive(Debug)]
struct Engine {
    process: Process,
    // Where the data lies is the caller's; output and the shared server's data are here.
    folder: TempFolder,
    data: std::path::PathBuf,
}

/// A database of a test's own. Dropped, it is dropped on the server.
#[derive(Debug)]
pub struct Database<'a> {
    server: &'a ClickHouse,
    name: String,
}

/// The server's refusal of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// ClickHouse's error code, as in `X-ClickHouse-Exception-Code` (60: unknown table).
    pub code: Option<u32>,
    /// Its message.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}, ClickHouse error {:?}: {}", self.status, self.code, self.message)
    }
}

impl ClickHouse {
    /// Starts `tally clickhouse` on this folder and a free port, and waits until it answers.
    /// (`TALLY_CLICKHOUSE_BIN` names another program that takes `--data DIR --port P`.)
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start(data: &Path) -> ClickHouse {
        ClickHouse::begin(data, None)
    }

    /// The same, for one user with a password.
    ///
    /// # Panics
    /// As above.
    pub fn start_for(data: &Path, user: &str, password: &str) -> ClickHouse {
        ClickHouse::begin(data, Some((user.to_owned(), password.to_owned())))
    }

    fn begin(data: &Path, user: Option<(String, String)>) -> ClickHouse {
        let folder = TempFolder::new("clickhouse");
        let mut process = spawn(data, 0, folder.path(), user.as_ref());
        let url = wait_for_address(&mut process);
        let engine = Engine { process, folder, data: data.to_owned() };
        ClickHouse { url, user, engine: Some(Mutex::new(engine)) }
    }

    /// The one server that all tests of the binary share: at `CLICKHOUSE_URL`
    /// (`http://user:password@host:port`), or one started now.
    pub fn shared() -> &'static ClickHouse {
        static DATA: LazyLock<TempFolder> = LazyLock::new(|| TempFolder::new("clickhouse-data"));
        static SHARED: LazyLock<ClickHouse> = LazyLock::new(|| match env::var("CLICKHOUSE_URL") {
            Ok(url) if !url.is_empty() => {
                let (url, user) = without_user(url.trim_end_matches('/'));
                ClickHouse { url, user, engine: None }
            }
            _ => ClickHouse::start(DATA.path()),
        });
        &SHARED
    }

    /// `http://127.0.0.1:port`. The same after a restart.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Creates a database that no other test uses.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn database(&self) -> Database<'_> {
        let name = unique("test").replace('-', "_");
        self.query(&format!("CREATE DATABASE {name}"));
        Database { server: self, name }
    }

    /// A database that is there already, such as that of a demo; it is dropped with its value all the same.
    pub fn open(&self, name: &str) -> Database<'_> {
        Database { server: self, name: name.to_owned() }
    }

    /// Runs a statement in the database `default`; the answer in TabSeparated, unless the
    /// statement names a format.
    ///
    /// # Panics
    /// When it is refused.
    pub fn query(&self, sql: &str) -> String {
        expect(sql, self.try_query(sql))
    }

    /// Like [`ClickHouse::query`], for statements that may be refused.
    pub fn try_query(&self, sql: &str) -> Result<String, Refused> {
        self.post("default", sql)
    }

    /// `SIGTERM`, and waits for the orderly end.
    ///
    /// # Panics
    /// When it is a server of yours; as do the next two.
    pub fn stop(&self) {
        let mut engine = self.engine();
        engine.process.sigterm();
        engine.process.end_within(STOP);
    }

    /// `SIGKILL`.
    pub fn kill(&self) {
        self.engine().process.sigkill();
    }

    /// Starts it again on the same data and port; one that still runs is stopped first.
    pub fn restart(&self) {
        let port: u16 = self
            .url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("the address ends in a port");
        let is_running = self.engine().process.is_running();
        if is_running {
            self.stop();
        }
        let mut engine = self.engine();
        // A new log, since the address is looked for in it.
        engine.folder = TempFolder::new("clickhouse");
        engine.process = spawn(&engine.data, port, engine.folder.path(), self.user.as_ref());
        let url = wait_for_address(&mut engine.process);
        assert_eq!(url, self.url, "a restart keeps the port");
    }

    /// What it has printed since it was started last.
    pub fn log(&self) -> String {
        let engine = self.engine();
        engine.process.stdout() + &engine.process.stderr()
    }

    /// Its process, to pause it or to read its log.
    pub fn process(&mut self) -> &mut Process {
        let engine = self.engine.as_mut().expect(NOT_YOURS).get_mut();
        &mut engine.unwrap_or_else(PoisonError::into_inner).process
    }

    fn post(&self, database: &str, sql: &str) -> Result<String, Refused> {
        let mut request = ureq::post(format!("{}/", self.url))
            .config()
            .timeout_global(Some(QUERY))
            .http_status_as_error(false)
            // What a developer's shell says about proxies is not about servers of tests.
            .proxy(None)
            .build()
            .query("database", database)
            .query("output_format_json_quote_64bit_integers", "0");
        if let Some((user, password)) = &self.user {
            request = request.header("X-ClickHouse-User", user).header("X-ClickHouse-Key", password);
        }
        let broken = |error: ureq::Error| Refused { status: 0, code: None, message: error.to_string() };
        let mut response = request.send(sql).map_err(broken)?;
        let code = response.headers().get("X-ClickHouse-Exception-Code");
        let code = code.and_then(|code| code.to_str().ok()?.parse().ok());
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_string().map_err(broken)?;
        if status == 200 && code.is_none() { Ok(body) } else { Err(Refused { status, code, message: body }) }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        let engine = self.engine.as_ref().expect(NOT_YOURS);
        engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The server's address.
    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// Runs a statement in this database; the answer in TabSeparated, unless the statement names
    /// a format.
    ///
    /// # Panics
    /// When it is refused.
    pub fn query(&self, sql: &str) -> String {
        expect(sql, self.try_query(sql))
    }

    /// Like [`Database::query`], for statements that may be refused.
    pub fn try_query(&self, sql: &str) -> Result<String, Refused> {
        self.server.post(&self.name, sql)
    }

    /// The rows of a `SELECT`, by the names of their columns. 64-bit integers are numbers.
    ///
    /// # Panics
    /// When it is refused or a row does not fit `T`.
    pub fn rows<T: DeserializeOwned>(&self, sql: &str) -> Vec<T> {
        let sql = format!("{sql} FORMAT JSONEachRow");
        let answer = self.query(&sql);
        let row = |line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the row {line} of {sql}"))
        };
        answer.lines().map(row).collect()
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // The server may be gone, killed by the test.
        _ = self.server.try_query(&format!("DROP DATABASE IF EXISTS {}", self.name));
    }
}

fn spawn(data: &Path, port: u16, logs: &Path, user: Option<&(String, String)>) -> Process {
    let mut command = match env::var_os("TALLY_CLICKHOUSE_BIN") {
        Some(program) => Command::new(program),
        None => {
            let mut tally = Command::new(Tally::binary());
            tally.arg("clickhouse");
            tally
        }
    };
    command.arg("--data").arg(data).args(["--port", &port.to_string()]);
    if let Some((user, password)) = user {
        // who has a secret says everything that it can say
        command.args(["--user", user]).env("TALLY_CLICKHOUSE_PASSWORD", password).env("TALLY_LOG", "trace");
    }
    Process::spawn("clickhouse", command, logs)
}

/// It prints a line with its address once it is ready.
fn wait_for_address(process: &mut Process) -> String {
    eventually(START, "the address that tally clickhouse prints", || {
        assert!(process.is_running(), "tally clickhouse ended\n{}", process.log_tail());
        let output = process.stdout();
        let (_, rest) = output.split_once("http://")?;
        // Only a whole line: half an address is an address too.
        let (address, _) = rest.split_once(char::is_whitespace)?;
        Some(format!("http://{}", address.trim_end_matches('/')))
    })
}

fn expect(sql: &str, answer: Result<String, Refused>) -> String {
    answer.unwrap_or_else(|refused| panic!("{refused}\nin {sql}"))
}

/// ClickHouse takes user and password in headers.
fn without_user(url: &str) -> (String, Option<(String, String)>) {
    let split = url.split_once("://").and_then(|(scheme, rest)| {
        let (user, host) = rest.rsplit_once('@')?;
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        Some((format!("{scheme}://{host}"), (user.to_owned(), password.to_owned())))
    });
    match split {
        Some((url, user)) => (url, Some(user)),
        None => (url.to_owned(), None),
    }
}
