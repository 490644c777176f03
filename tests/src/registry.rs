//! Apicurio Registry, spoken to by its Confluent-compatible API.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::need::{self, Missing};
use crate::place::{TempFolder, cache, free_port};
use crate::process::Process;

/// Start-up takes 4–7 s; tests share two cores with builds.
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(10);

/// A schema registry of the test's own. Dropped, it is killed.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    process: Process,
    folder: TempFolder,
}

impl Registry {
    /// Whether it can be started; for [`crate::skip_without`].
    pub fn installed() -> Result<(), Missing> {
        need::installed("registry")
    }

    /// Starts it with nothing in it.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start() -> Registry {
        let folder = TempFolder::new("registry");
        let port = free_port();
        let process = spawn(port, &folder);
        let mut registry = Registry { port, process, folder };
        registry.wait_until_ready();
        registry
    }

    /// The base of its Confluent-compatible API, for `registry.url`. The same after a restart.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    /// Registers an Avro schema under a subject such as `credit-events-value`; returns its id.
    /// The same schema again has the same id.
    ///
    /// # Panics
    /// When it is refused.
    pub fn register(&self, subject: &str, schema: &str) -> u32 {
        let body = json!({ "schema": schema, "schemaType": "AVRO" });
        let answer = self.call(&format!("subjects/{subject}/versions"), Some(&body));
        let id = answer["id"].as_u64().and_then(|id| u32::try_from(id).ok());
        id.unwrap_or_else(|| panic!("the registry gave no id: {answer}"))
    }

    /// The schema with this id.
    ///
    /// # Panics
    /// When there is none.
    pub fn schema(&self, id: u32) -> String {
        let answer = self.call(&format!("schemas/ids/{id}"), None);
        answer["schema"]
            .as_str()
            .unwrap_or_else(|| panic!("the registry gave no schema: {answer}"))
            .to_owned()
    }

    /// Stops it in its orderly way.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) {
        self.process.sigterm();
        self.process.end_within(STOP);
    }

    /// `SIGKILL`.
    pub fn kill(&mut self) {
        self.process.sigkill();
    }

    /// Starts it again, with the schemas and ids it had, on the same port.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn restart(&mut self) {
        if self.process.is_running() {
            self.stop();
        }
        self.process = spawn(self.port, &self.folder);
        self.wait_until_ready();
    }

    /// Its process, to pause it or to read its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    fn wait_until_ready(&mut self) {
        let start = Instant::now();
        while request(&format!("{}/subjects", self.url()), None).is_err() {
            assert!(
                self.process.is_running(),
                "the registry ended while it started\n{}",
                self.process.log_tail()
            );
            assert!(
                start.elapsed() < START,
                "the registry did not start within {START:?}\n{}",
                self.process.log_tail()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn call(&self, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}/{path}", self.url());
        request(&url, body).unwrap_or_else(|error| panic!("{url}: {error}\n{}", self.process.log_tail()))
    }
}

fn spawn(port: u16, folder: &TempFolder) -> Process {
    let libs = cache().join("registry/libs");
    let runner = std::fs::read_dir(&libs)
        .ok()
        .and_then(|mut files| {
            files.find_map(|file| {
                Some(file.ok()?.path()).filter(|path| path.to_string_lossy().ends_with("-runner.jar"))
            })
        })
        .expect("the registry's runner jar is in .cache/registry/libs (run tests/setup/install.sh)");
    let mut java = Command::new("java");
    java.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-jar"])
        .arg(runner)
        .current_dir(folder.path())
        .env("QUARKUS_HTTP_HOST", "127.0.0.1")
        .env("QUARKUS_HTTP_PORT", port.to_string())
        // In a file rather than in memory, and written at once rather than half a second later, so that ids outlive a kill.
        .env(
            "APICURIO_DATASOURCE_URL",
            format!("jdbc:h2:file:{};WRITE_DELAY=0", folder.path().join("schemas").display()),
        );
    Process::spawn("registry", java, folder.path())
}

fn request(url: &str, body: Option<&Value>) -> Result<Value, ureq::Error> {
    let mut response = match body {
        Some(body) => ureq::post(url)
            .config()
            .timeout_global(Some(REQUEST))
            .proxy(None)
            .build()
            .header("Content-Type", "application/vnd.schemaregistry.v1+json")
            .send(body.to_string())?,
        None => ureq::get(url).config().timeout_global(Some(REQUEST)).proxy(None).build().call()?,
    };
    let text = response.body_mut().read_to_string()?;
    Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
