//! A real Prometheus over the rules of `dashboards/prometheus`, and `promtool`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::need::Missing;
use crate::place::{TempFolder, cache, free_port, repository};
use crate::process::{Ended, Process};
use crate::python;
use crate::wait::eventually;

/// Start-up takes a second on a quiet machine.
const START: Duration = Duration::from_secs(60);
/// One run of `promtool`.
const RUN: Duration = Duration::from_secs(60);
/// As the configuration has it, and as tests can wait for it.
const INTERVAL: &str = "interval: 15s";
const QUICK: &str = "interval: 1s";

/// A Prometheus of the test's own. Dropped, it is killed.
#[derive(Debug)]
pub struct Prometheus {
    url: String,
    process: Process,
    // After the process, so that it is deleted after the kill.
    _folder: TempFolder,
}

impl Prometheus {
    /// Whether it can be started; for [`crate::skip_without`].
    ///
    /// # Panics
    /// When nobody has run the set-up.
    pub fn installed() -> Result<(), Missing> {
        let home = cache().join("prometheus");
        if home.join("bin/promtool").exists() {
            return Ok(());
        }
        match fs::read_to_string(home.join("unavailable")) {
            Ok(why) => Err(Missing(why.trim().to_owned())),
            Err(_) => panic!("Prometheus is not installed: run tests/setup/install.sh (or make test)"),
        }
    }

    /// Where the configuration and the rules are.
    pub fn home() -> PathBuf {
        repository().join("dashboards/prometheus")
    }

    /// Starts one with the configuration and the rules of this repository, every second instead of every fifteenth; `targets` are the
    /// names of its target files and `host:port`.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start(targets: &[(&str, &str)]) -> Prometheus {
        let folder = TempFolder::new("prometheus");
        let at = folder.path();
        copy(&Prometheus::home().join("rules"), &at.join("rules"));
        let config =
            fs::read_to_string(Prometheus::home().join("prometheus.yml")).expect("the configuration");
        assert_eq!(config.matches(INTERVAL).count(), 2, "of scraping and of evaluation");
        fs::write(at.join("prometheus.yml"), config.replace(INTERVAL, QUICK)).expect("a file can be written");
        fs::create_dir(at.join("targets")).expect("a folder can be made");
        for (name, address) in targets {
            let text = format!("- targets: [\"{address}\"]\n");
            fs::write(at.join("targets").join(format!("{name}.yml")), text).expect("a file can be written");
        }
        let port = free_port();
        let mut command = Command::new(program("prometheus"));
        command
            .current_dir(at)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::spawn("prometheus", command, at);
        let mut prometheus = Prometheus { url: format!("http://127.0.0.1:{port}"), process, _folder: folder };
        eventually(START, "a Prometheus that is ready", || {
            assert!(prometheus.process.is_running(), "Prometheus ended\n{}", prometheus.process.log_tail());
            let asked = ureq::get(format!("{}/-/ready", prometheus.url)).config().proxy(None).build().call();
            asked.is_ok().then_some(())
        });
        prometheus
    }

    /// The series that an expression has now: each with `metric` and `value`.
    ///
    /// # Panics
    /// When the expression is refused.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.api("query", &[("query", expression)]);
        data["result"].as_array().expect("series").clone()
    }

    /// `data` of an answer of its API, such as `rules` or `targets`.
    ///
    /// # Panics
    /// When it is refused; with its sentence.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let request =
            ureq::get(format!("{}/api/v1/{path}", self.url)).query_pairs(parameters.iter().copied());
        let request = request.config().timeout_global(Some(START)).http_status_as_error(false).proxy(None);
        let mut response = request.build().call().unwrap_or_else(|error| panic!("{path}: {error}"));
        let text = response.body_mut().read_to_string().expect("text");
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        answer["data"].clone()
    }
}

/// Runs `promtool` in a folder, to its end.
pub fn promtool(folder: &Path, arguments: &[&str]) -> Ended {
    let logs = TempFolder::new("promtool");
    let mut command = Command::new(program("promtool"));
    command.args(arguments).current_dir(folder);
    Process::spawn("promtool", command, logs.path()).end_within(RUN)
}

/// The YAML files of a folder as JSON, by name, in order.
///
/// # Panics
/// When one is none.
pub fn yaml_files(folder: &Path) -> Vec<(String, Value)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yml"))
        .collect();
    paths.sort();
    let names: Vec<&str> = paths.iter().map(|path| path.to_str().expect("paths in tests are text")).collect();
    let told = python::run("yaml_to_json.py", &names, "").stdout;
    let mut documents: Value = serde_json::from_str(&told).expect("JSON");
    let taken = |path: &&str| {
        let name = Path::new(path).file_name().expect("a file").to_string_lossy().into_owned();
        (name, documents[*path].take())
    };
    names.iter().map(taken).collect()
}

fn program(name: &str) -> PathBuf {
    cache().join("prometheus/bin").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("a folder can be listed") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a file can be copied");
    }
}
