//! A real browser: the system's Chromium, headless, driven by `tests/browser/drive.mjs`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::guard;
use crate::need::Missing;
use crate::place::{TempFolder, cache, repository};

/// Longest wait for one step, the start of the browser included.
const STEP: Duration = Duration::from_secs(60);
/// Pause between two looks at a page.
const PAUSE: Duration = Duration::from_millis(20);
/// Names under which distributions install it.
const PROGRAMS: [&str; 2] = ["chromium", "chromium-browser"];

/// A running browser with a fresh profile. Its windows share that profile. Dropped, it is killed.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
    // After the process, so that it is deleted after the kill.
    folder: TempFolder,
}

impl Browser {
    /// Whether a Chromium and its driver are installed.
    ///
    /// # Panics
    /// When nobody has run the set-up.
    pub fn installed() -> Result<(), Missing> {
        assert!(
            cache().join("browser/stamp").exists(),
            "the browser's driver is not installed: run tests/setup/install.sh (or make test)"
        );
        match program() {
            Some(_) => Ok(()),
            None => Err(Missing("no Chromium is installed".to_owned())),
        }
    }

    /// Starts one.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start() -> Browser {
        let folder = TempFolder::new("browser");
        let log = File::create(folder.path().join("browser.err")).expect("a log can be opened");
        let profile = folder.path().join("profile");
        let mut command = Command::new("node");
        command.arg(repository().join("tests/browser/drive.mjs")).arg(cache().join("browser")).arg(profile);
        command.arg(program().expect("Chromium is installed"));
        // What it writes beside its profile goes with it too.
        command.env("TMPDIR", folder.path()).env("NO_PROXY", "127.0.0.1,localhost");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let mut child = command.spawn().expect("node can be started (run tests/setup/install.sh)");
        guard::watch(child.id());
        let stdout = child.stdout.take().expect("its output is a pipe");
        let (told, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if told.send(line).is_err() {
                    return;
                }
            }
        });
        let commands = child.stdin.take();
        Browser { child, commands, answers, folder }
    }

    /// Opens a window of that name at an address.
    pub fn open(&mut self, window: &str, url: &str) {
        self.tell(&json!({ "do": "open", "window": window, "url": url }));
    }

    /// Leads a window to another address.
    pub fn go(&mut self, window: &str, url: &str) {
        self.tell(&json!({ "do": "go", "window": window, "url": url }));
    }

    /// Clicks on what a selector finds first.
    pub fn click(&mut self, window: &str, selector: &str) {
        self.tell(&json!({ "do": "click", "window": window, "selector": selector }));
    }

    /// Presses a key in what a selector finds first.
    pub fn press(&mut self, window: &str, selector: &str, key: &str) {
        self.tell(&json!({ "do": "press", "window": window, "selector": selector, "key": key }));
    }

    /// What is wrong with a page as it stands: `overflow`, what is wider than the window, and `violations`, what axe finds, each
    /// with its `impact`.
    pub fn inspect(&mut self, window: &str) -> Value {
        self.tell(&json!({ "do": "inspect", "window": window }))
    }

    /// Takes the network away, or gives it back.
    pub fn offline(&mut self, on: bool) {
        self.tell(&json!({ "do": "offline", "on": on }));
    }

    /// Has nothing come from addresses of a pattern (`**/feed.js`), or lets it come again.
    pub fn block(&mut self, pattern: &str, on: bool) {
        self.tell(&json!({ "do": "block", "pattern": pattern, "on": on }));
    }

    /// Forgets all cookies: whoever was signed in is so no longer.
    pub fn forget(&mut self) {
        self.tell(&json!({ "do": "forget" }));
    }

    /// Has a window load everything anew, as a browser does that was never there.
    pub fn empty_cache(&mut self, window: &str) {
        self.tell(&json!({ "do": "empty_cache", "window": window }));
    }

    /// Closes it.
    pub fn close(&mut self, window: &str) {
        self.tell(&json!({ "do": "close", "window": window }));
    }

    /// Runs the body of an async function of `argument` in a window, and returns what it returns.
    pub fn eval(&mut self, window: &str, script: &str, argument: &Value) -> Value {
        self.tell(&json!({ "do": "eval", "window": window, "script": script, "argument": argument }))
    }

    /// Runs it again and again until it returns `true`. A page that goes away while it is asked has not answered yet.
    ///
    /// # Panics
    /// After `timeout`, with what the page shows.
    pub fn wait_for(&mut self, window: &str, timeout: Duration, script: &str, argument: &Value) {
        let start = Instant::now();
        loop {
            let late = start.elapsed() >= timeout;
            let ask = json!({ "do": "ask", "window": window, "script": script, "argument": argument });
            let last = self.tell(&ask);
            if last == true {
                return;
            }
            if late {
                let page = self.eval(window, "return document.body.innerText.slice(0, 3000)", &Value::Null);
                let (errors, page) = (self.errors(), page.as_str().unwrap_or_default().to_owned());
                panic!(
                    "waited {timeout:?} in vain in window {window}: {script}\nlast answer {last}; complaints {errors:?}; the page says\n{page}"
                );
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Types text into a field and presses Enter.
    pub fn submit(&mut self, window: &str, selector: &str, text: &str) {
        self.tell(&json!({ "do": "fill", "window": window, "selector": selector, "text": text }));
        self.tell(&json!({ "do": "press", "window": window, "selector": selector, "key": "Enter" }));
    }

    /// Gives the browser a cookie for an address, as a service sets it that signs people in: only over a way that is trusted, only
    /// for this origin, hidden from scripts.
    pub fn cookie(&mut self, url: &str, name: &str, value: &str) {
        self.tell(&json!({ "do": "cookie", "url": url, "name": name, "value": value }));
    }

    /// Tells a window's page that it is hidden, or shown again.
    pub fn hide(&mut self, window: &str, on: bool) {
        self.tell(&json!({ "do": "hide", "window": window, "on": on }));
    }

    /// Takes a picture of a whole page; `scheme` is `light` or `dark`.
    pub fn screenshot(&mut self, window: &str, path: &Path, width: u32, scheme: &str) {
        self.tell(
            &json!({ "do": "screenshot", "window": window, "path": path, "width": width, "scheme": scheme }),
        );
    }

    /// What windows complained of on their consoles since the last call.
    pub fn errors(&mut self) -> Vec<String> {
        serde_json::from_value(self.tell(&json!({ "do": "errors" }))).expect("complaints are texts")
    }

    /// The same without what the browser itself says of a network that was made to fail.
    pub fn errors_but_of_network(&mut self) -> Vec<String> {
        let network = ["net::ERR_", "WebSocket connection to"];
        let mut said = self.errors();
        said.retain(|error| !network.iter().any(|words| error.contains(words)));
        said
    }

    /// One command, and its answer.
    fn tell(&mut self, command: &Value) -> Value {
        let pipe = self.commands.as_mut().expect("the driver's input is open");
        let sent = writeln!(pipe, "{command}");
        let answer = sent.ok().and_then(|()| self.answers.recv_timeout(STEP).ok());
        let log = || std::fs::read_to_string(self.folder.path().join("browser.err")).unwrap_or_default();
        let answer = answer.unwrap_or_else(|| panic!("the browser does not answer {command}\n{}", log()));
        let answer: Value = serde_json::from_str(&answer).expect("an answer is JSON");
        assert!(answer.get("error").is_none(), "{command}: {}", answer["error"].as_str().unwrap_or_default());
        answer["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.commands.take()); // it then closes the browser and ends
        for _ in 0..150 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return guard::release(self.child.id());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        _ = self.child.kill();
        guard::release(self.child.id());
        _ = self.child.wait();
    }
}

/// The path of the program.
fn program() -> Option<String> {
    PROGRAMS.into_iter().find_map(|name| {
        let asked = Command::new("sh").args(["-c", "command -v \"$0\"", name]).output().ok()?;
        let path = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
        (asked.status.success() && !path.is_empty()).then_some(path)
    })
}
