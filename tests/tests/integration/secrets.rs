//! No secret and no payload in what is printed: everything runs at `trace`, with secrets that are looked for afterwards.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Frames, Publisher, Service};
use tally_tests::stage::{get, pages};
use tally_tests::{
    Certificates, ClickHouse, Ended, Kafka, Registry, Secured, Stage, Tally, TempFolder, examples,
    skip_without,
};

const SOON: Duration = Duration::from_secs(60);
const RUN: Duration = Duration::from_secs(150);
const KAFKA: &str = "planted-kafka-7Qm";
const CLICKHOUSE: &str = "planted-clickhouse-4Zt";
const REGISTRY: &str = "planted-registry-9Lw";
const PAYLOAD: &str = "planted-payload-2Hx";
const WRONG: &str = "planted-wrong-5Vb";

/// What must not be seen, and everything that was.
#[derive(Default)]
pub(super) struct Watch {
    secrets: Vec<(String, String)>,
    seen: Vec<(String, String)>,
}

impl Watch {
    pub(super) fn hide(&mut self, what: &str, secret: &str) {
        assert!(secret.len() >= 12, "{what} is long enough not to be met by chance");
        self.secrets.push((what.to_owned(), secret.to_owned()));
    }

    pub(super) fn see(&mut self, place: &str, text: impl Into<String>) {
        self.seen.push((place.to_owned(), text.into()));
    }

    fn see_end(&mut self, place: &str, ended: &Ended) {
        self.see(&format!("standard output of {place}"), ended.stdout.clone());
        self.see(&format!("standard error of {place}"), ended.stderr.clone());
    }

    /// Each secret as it is, in hexadecimal digits, in base64, and as Rust prints a list of bytes.
    pub(super) fn assert_clean(&self) {
        let found = self.found();
        assert!(found.is_empty(), "{} times:\n{}", found.len(), found.join("\n"));
    }

    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (what, secret) in &self.secrets {
            let bytes = secret.as_bytes();
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let list = format!("{bytes:?}");
            let whole = bytes.len() / 3 * 3; // what a longer text has in common with this one
            let forms = [
                secret.clone(),
                hex.to_uppercase(),
                hex,
                BASE64_STANDARD.encode(&bytes[..whole]),
                BASE64_URL_SAFE_NO_PAD.encode(&bytes[..whole]),
                list.trim_matches(['[', ']']).to_owned(),
            ];
            for (place, text) in &self.seen {
                if let Some(form) = forms.iter().find(|form| text.contains(form.as_str())) {
                    let line = text.lines().find(|line| line.contains(form.as_str())).unwrap_or_default();
                    let line: String = line.chars().take(300).collect();
                    found.push(format!("{what} in {place}: {line}"));
                }
            }
        }
        found.dedup();
        found
    }
}

/// Events with a planted value in every text that is free, and bytes that are none.
fn publish(stage: &Stage<'_>) -> u64 {
    let publisher = Publisher::to(stage);
    let mut number = 0;
    for contract in Topic::ALL {
        let events: Vec<Value> = examples::valid(contract)
            .into_iter()
            .map(|mut event| {
                for field in ["user_id", "actor_id", "wallet_id", "task_id", "trace_id", "source"] {
                    if event[field].is_string() {
                        event[field] = format!("{PAYLOAD}-{field}").into();
                    }
                }
                event
            })
            .collect();
        publisher.publish(contract, &events);
        publisher.raw(contract, PAYLOAD, format!("{PAYLOAD} is no event").as_bytes());
        publisher.raw(contract, PAYLOAD, format!("\u{0}\u{0}\u{0}\u{0}\u{7}{PAYLOAD}").as_bytes());
        number += events.len() as u64 + 2;
    }
    number
}

/// Scenario: ingest, service and feed, seals, audit, the embedded engine, and the commands that fail, all at `trace`, with passwords of Kafka,
/// ClickHouse and the registry, bearer tokens good and bad, signing keys, and events with planted values.
/// Guarantees: none of it stands in what they print, in their metrics or in their problem documents, in no encoding.
#[test]
fn no_secret_and_no_payload_is_printed() {
    if skip_without(Kafka::installed()) || skip_without(Registry::installed()) {
        return;
    }
    let (certificates, data) = (Certificates::new(), TempFolder::new("secrets-data"));
    let kafka = Secured::start(&certificates, "tally", KAFKA);
    let clickhouse = ClickHouse::start_for(data.path(), "tally", CLICKHOUSE);
    let registry = Registry::start();
    let stage = Stage::on(&kafka.kafka, &clickhouse, "secrets").through(&kafka.bootstrap, clickhouse.url());
    let desk = Desk::default();
    let mut watch = Watch::default();
    for (what, secret) in [
        ("Kafka's password", KAFKA),
        ("ClickHouse's password", CLICKHOUSE),
        ("the registry's password", REGISTRY),
        ("a payload", PAYLOAD),
        ("a wrong password", WRONG),
    ] {
        watch.hide(what, secret);
    }
    let ca = certificates.ca().display().to_string();
    let registry_url = registry.url();
    let variables = [
        ("TALLY_LOG", "trace"),
        ("TALLY_KAFKA_CA", ca.as_str()),
        ("TALLY_KAFKA_USER", "tally"),
        ("TALLY_KAFKA_PASSWORD", KAFKA),
        ("TALLY_CLICKHOUSE_USER", "tally"),
        ("TALLY_CLICKHOUSE_PASSWORD", CLICKHOUSE),
        ("TALLY_REGISTRY_URL", registry_url.as_str()),
        ("TALLY_REGISTRY_USER", "tally"),
        ("TALLY_REGISTRY_PASSWORD", REGISTRY),
    ];
    let run = |arguments: &[&str]| Tally::spawn(arguments, &variables);
    let at = [&stage.at_kafka()[..], &stage.at_clickhouse()].concat();
    let number = publish(&stage);

    let mut ingest =
        run(&[&["ingest", "--listen", "127.0.0.1:0", "--group", stage.prefix()], &at[..]].concat());
    let ops = pages(&mut ingest);
    stage.wait_for_receipts(number, RUN);
    let serve = desk.flags(&stage);
    let serve: Vec<&str> = serve.iter().map(String::as_str).collect();
    let mut service = desk.wait(run(&[&["serve"], &serve[..]].concat()));
    ask(&mut watch, &stage, (&desk, &service), &ops);
    for entry in fs::read_dir(desk.feed_keys()).expect("a folder of keys") {
        let text = fs::read_to_string(entry.expect("an entry").path()).expect("a key");
        let key: Value = serde_json::from_str(&text).expect("a JSON Web Key");
        watch.hide("a key of the feed", key["d"].as_str().expect("a private key"));
    }
    service.tally.sigterm();
    ingest.sigterm();
    watch.see_end("tally serve", &service.tally.expect_success(SOON));
    watch.see_end("tally ingest", &ingest.expect_success(SOON));

    seal(&mut watch, &stage, &run);
    let property = format!("sasl.password={WRONG}");
    let config = [&["config", "--kafka-property", &property], &at[..]].concat();
    watch.see_end("config", &run(&config).expect_success(SOON));
    watch.see_end("help", &run(&["ingest", "--help"]).expect_success(SOON));
    refused(&mut watch, &stage, &variables);
    watch.see("the log of the engine", clickhouse.log()); // which has little to say at that level, too
    for place in ["standard error of tally serve", "standard error of tally ingest"] {
        let seen =
            watch.seen.iter().find(|(at, _)| at == place).map(|(_, text)| text.as_str()).unwrap_or_default();
        assert!(
            seen.contains(" TRACE ") && seen.lines().count() > 20,
            "it was told to say everything: {seen}"
        );
    }
    watch.assert_clean();
}

/// Tokens good and bad, in headers and addresses, over every transport; then the pages of metrics.
fn ask(watch: &mut Watch, stage: &Stage<'_>, (desk, service): (&Desk, &Service), ops: &str) {
    let admin = desk.pass(Role::Admin, "ops");
    watch.hide("a bearer token", admin.rsplit('.').next().expect("a signature"));
    let forged = format!("{}{WRONG}", &admin[..admin.len() - WRONG.len()]);
    for path in [
        "/api/v1/me",
        "/api/v1/tasks?limit=x",
        "/api/v1/nowhere",
        "/api/v1/tasks/%27",
        "/feed/events?after=x",
        "/feed/events?after=now&wait=0",
    ] {
        for token in [admin.as_str(), forged.as_str(), WRONG] {
            let (status, body) = service.get(path, token);
            // what is asked for and found may show payload to whom it concerns: here only what is refused
            let by_address =
                format!("{path}{}access_token={admin}", if path.contains('?') { '&' } else { '?' });
            watch.see(&format!("{path} by address"), service.get(&by_address, "").1);
            if status != 200 {
                watch.see(&format!("the problem of {path}"), body);
            }
        }
    }
    let (mut ws, mut sse) = (service.ws(&admin, "now"), service.sse(&admin, "now"));
    ws.frame("hello");
    sse.frame("hello");
    publish(stage);
    ws.events(3);
    sse.events(3);
    drop((ws, sse, service.ws(&forged, "now")));
    for (place, url) in [("metrics of ingest", ops), ("metrics of the service", service.ops.as_str())] {
        for page in ["metrics", "readyz", "livez"] {
            watch.see(&format!("{place}, {page}"), get(&format!("{url}/{page}")).1);
        }
    }
}

/// Keys, tokens, seals, their verification and the audit.
fn seal(watch: &mut Watch, stage: &Stage<'_>, run: &dyn Fn(&[&str]) -> Tally) {
    let keys = TempFolder::new("secrets-keys");
    let at = [&stage.at_kafka()[..], &stage.at_clickhouse()].concat();
    let key = |name: &str| keys.path().join(name).display().to_string();
    let store = stage.at_clickhouse();
    watch.see_end("seal keygen", &run(&["seal", "keygen", "--out", &key("seal")]).expect_success(SOON));
    watch.see_end("token keygen", &run(&["token", "keygen", "--out", &key("token")]).expect_success(SOON));
    let seal = fs::read_to_string(key("seal")).expect("a key");
    watch.hide("a key of seals", seal.trim().splitn(5, '+').last().expect("its bytes"));
    let token: Value =
        serde_json::from_str(&fs::read_to_string(key("token")).expect("a key")).unwrap_or_default();
    watch.hide("a key of tokens", token["d"].as_str().expect("a private key"));
    let (token_key, seal_key, log) = (key("token"), key("seal"), key("log"));
    let mint = ["token", "mint", "--key", &token_key, "--issuer", "i", "--role", "admin", "--subject", "ops"];
    let minted = run(&mint).expect_success(SOON);
    watch.hide("a minted token", minted.stdout.trim().rsplit('.').next().expect("a signature"));
    watch.see("standard error of token mint", minted.stderr);
    let log = ["--seals", &log];
    let sealed = run(&[&["seal", "--key", &seal_key], &log[..], &store].concat()).end_within(RUN);
    watch.see_end("seal", &sealed);
    let public = key("seal.pub");
    let verified =
        run(&[&["verify", "--keys", &public, "--against-kafka"], &log[..], &at].concat()).end_within(RUN);
    watch.see("standard error of verify", verified.stderr); // its report names what differs
    let audited = run(&[&["audit", "all"], &at[..]].concat()).end_within(RUN);
    watch.see("standard error of audit", audited.stderr);
}

/// Scenario: a secret stands in what was seen as it is, in hexadecimal digits, in base64, as a list of bytes; and does not.
/// Guarantees: whoever looks for it finds each form, and nothing where there is none.
#[test]
fn every_form_of_a_secret_is_found() {
    let secret = "planted-secret-3Kd";
    let hex: String = secret.bytes().map(|byte| format!("{byte:02X}")).collect();
    let list = format!("Sent {:?}", secret.as_bytes());
    let header = BASE64_STANDARD.encode(format!("{secret} and more"));
    for (seen, number) in [(secret, 1), (&hex, 1), (&list, 1), (&header, 1), ("planted-secret", 0)] {
        let mut watch = Watch::default();
        watch.hide("a secret", secret);
        watch.see("a log", seen);
        assert_eq!(watch.found().len(), number, "{seen}");
    }
}

/// Commands that end with a mistake in which a secret stands.
fn refused(watch: &mut Watch, stage: &Stage<'_>, variables: &[(&str, &str)]) {
    let folder = TempFolder::new("secrets-config");
    let file = folder.path().join("tally.toml");
    fs::write(&file, format!("[clickhouse]\npassword = {WRONG}\n")).expect("a file");
    let file = file.display().to_string();
    let address = format!("http://tally:{WRONG}@127.0.0.1:1");
    let [typo, loose] = ["sasl.pasword=", ""].map(|name| format!("{name}{WRONG}"));
    let [kafka, store] = [stage.at_kafka(), stage.at_clickhouse()];
    let until = ["--listen", "127.0.0.1:0", "--until-caught-up"];
    let mistakes: [&[&str]; 7] = [
        &["--config", &file],
        &["--clickhouse", &address],
        &[&store[..], &["--registry", &address]].concat(),
        &[&store[..], &["--kafka-property", &typo]].concat(),
        &[&store[..], &["--kafka-property", &loose]].concat(),
        &[&store[..], &["--clickhouse-password", WRONG]].concat(),
        &[&store[..], &["--kafka-password", WRONG]].concat(),
    ];
    for mistake in mistakes {
        let mut tally = Tally::spawn(&[&["ingest"], &kafka[..], &until, mistake].concat(), variables);
        let ended = tally.expect_code(3, SOON);
        assert!(!ended.stderr.is_empty(), "a mistake is told");
        watch.see_end("an ingest that is refused", &ended);
    }
}

/// Scenario: everything that makes a key or a folder of events runs under a umask that hides nothing; then the keys, and the token that
/// a gateway shows the platform, are opened to everybody and used; and a configuration file with a password is.
/// Guarantees: keys are their owner's alone and folders are; a key that everybody may read is refused in words that say what to
/// do; the file is told of.
#[test]
fn keys_are_their_owners() {
    let folder = TempFolder::new("permissions");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mode = |path: &str| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let open =
        |path: &str, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    let shell = |command: &str| {
        let line = format!("umask 0; exec \"$0\" {command}");
        let binary = Tally::binary().display().to_string();
        let ended = std::process::Command::new("sh").args(["-c", &line, &binary]).output().expect("a shell");
        assert!(ended.status.success(), "{command}: {}", String::from_utf8_lossy(&ended.stderr));
    };
    shell(&format!("seal keygen --out {}", path("seal")));
    shell(&format!("token keygen --out {}", path("token")));
    shell(&format!("feed-key --feed-keys {}", path("made/feed")));
    shell(&format!("migrate --data {}", path("data")));
    assert_eq!([mode(&path("seal")), mode(&path("token"))], [0o600; 2]);
    assert_eq!([mode(&path("made")), mode(&path("made/feed")), mode(&path("data"))], [0o700; 3]);
    let feed_key =
        fs::read_dir(path("made/feed")).expect("a folder").next().expect("a key").expect("an entry");
    let feed_key = feed_key.path().display().to_string();
    assert_eq!(mode(&feed_key), 0o600);

    let [token, seal, feed] = [path("token"), path("seal"), path("made/feed")];
    let [data, log, public] = [path("data"), path("log"), path("token.pub")];
    let mint = ["token", "mint", "--key", &token, "--issuer", "i", "--role", "admin", "--subject", "ops"];
    let seal_all = ["seal", "--key", &seal, "--seals", &log, "--data", &data];
    let serve = ["serve", "--data", &data, "--issuer", "i", "--token-key", &public];
    let serve = [&serve[..], &["--feed-keys", &feed, "--brokers", "127.0.0.1:1"]].concat();
    let serve = [&serve[..], &["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]].concat();
    let shown = path("platform-token");
    fs::write(&shown, "shown\n").expect("a file");
    let gateway = ["gateway", "--platform", "http://127.0.0.1:1", "--platform-token-file", &shown];
    let gateway = [&gateway[..], &["--issuer", "i", "--token-key", &public]].concat();
    let gateway = [&gateway[..], &["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]].concat();
    for (key, command) in [(&token, &mint[..]), (&seal, &seal_all), (&feed_key, &serve), (&shown, &gateway)] {
        open(key, 0o644);
        let said = Tally::spawn(command, &[]).expect_code(3, SOON).stderr;
        assert!(said.contains("everybody may read") && said.contains("chmod 600"), "{said}");
        open(key, 0o640);
    }
    // the group's files are used, and told of
    let said = Tally::spawn(&mint, &[]).expect_success(SOON).stderr;
    assert!(said.contains("the group may read"), "{said}");
    let config = path("tally.toml");
    for (text, mode, told) in [
        ("[kafka.properties]\n'sasl.password' = 'x'\n", 0o644, true),
        ("[kafka.properties]\n'sasl.password' = 'x'\n", 0o600, false),
        ("[kafka]\ngroup = 'x'\n", 0o644, false),
    ] {
        fs::write(&config, text).expect("a file");
        open(&config, mode);
        let said = Tally::spawn(&["config", "--config", &config], &[]).expect_success(SOON).stderr;
        assert_eq!(said.contains("holds a secret and everybody may read it"), told, "{text}: {said}");
    }
}
