//! An S3-compatible object store: `moto_server`, which nobody here wrote.

use std::process::Command;
use std::time::Duration;

use crate::place::{TempFolder, cache};
use crate::process::Process;
use crate::wait::eventually;

/// Python imports much before it listens.
const START: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(10);

/// An object store of the test's own with one bucket, in memory. Dropped, it is killed.
#[derive(Debug)]
pub struct ObjectStore {
    url: String,
    process: Process,
    _folder: TempFolder,
}

impl ObjectStore {
    /// The bucket; it keeps every version of an object.
    pub const BUCKET: &'static str = "seals";

    /// Starts it.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start() -> ObjectStore {
        let folder = TempFolder::new("object-store");
        let server = cache().join("venv/bin/moto_server");
        assert!(
            server.exists(),
            "the object store is not installed: run tests/setup/install.sh (or make test)"
        );
        let mut command = Command::new(server);
        command.args(["--host", "127.0.0.1", "--port", "0"]).current_dir(folder.path());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONUNBUFFERED", "1").env("NO_COLOR", "1");
        let mut process = Process::spawn("object store", command, folder.path());
        let url = eventually(START, "the address of the object store", || {
            assert!(process.is_running(), "the object store ended\n{}", process.log_tail());
            let said = process.stderr() + &process.stdout();
            let (_, rest) = said.split_once("Running on ")?;
            Some(rest.split_once('\n')?.0.trim().to_owned())
        });
        let store = ObjectStore { url, process, _folder: folder };
        store.put(Self::BUCKET, "");
        let versioned = r#"<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>"#;
        store.put(&format!("{}?versioning", Self::BUCKET), versioned);
        store
    }

    /// What a client's environment must hold.
    pub fn variables(&self) -> [(&str, &str); 5] {
        [
            ("AWS_ENDPOINT_URL", &self.url),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "somebody"),
            ("AWS_SECRET_ACCESS_KEY", "something"),
        ]
    }

    /// Every version of every object of the bucket, by key.
    ///
    /// # Panics
    /// When the list does not fit one answer.
    pub fn versions(&self, prefix: &str) -> Vec<String> {
        let url = format!("{}/{}?versions&prefix={prefix}", self.url, Self::BUCKET);
        let mut answer = ureq::get(&url)
            .config()
            .timeout_global(Some(REQUEST))
            .proxy(None)
            .build()
            .call()
            .unwrap_or_else(|error| panic!("{url}: {error}"));
        let text = answer.body_mut().read_to_string().expect("a list is text");
        assert!(!text.contains("<IsTruncated>true"), "the list is cut off");
        let keys = text
            .split("<Version>")
            .skip(1)
            .filter_map(|part| part.split_once("<Key>")?.1.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    /// How often a part of an object was read.
    pub fn parts_read(&self) -> usize {
        self.process.stderr().matches(" 206 ").count()
    }

    fn put(&self, path: &str, body: &str) {
        let url = format!("{}/{path}", self.url);
        ureq::put(&url)
            .config()
            .timeout_global(Some(REQUEST))
            .proxy(None)
            .build()
            .send(body)
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}
