//! Servers that ask who is there: Kafka by SASL over TLS, ClickHouse by a password behind TLS.

use std::time::Duration;

use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Frames, Publisher};
use tally_tests::stage::Line;
use tally_tests::{
    Certificates, ClickHouse, Kafka, Secured, Stage, Tally, TempFolder, TlsProxy, examples, kcat,
    skip_without,
};

const SOON: Duration = Duration::from_secs(60);
const RUN: Duration = Duration::from_secs(150);
const USER: &str = "tally-user";
const PASSWORD: &str = "a pass;word=with signs";

/// Kafka, and ClickHouse behind TLS, each of which asks who is there.
struct Servers {
    certificates: Certificates,
    kafka: Secured,
    proxy: TlsProxy,
    clickhouse: ClickHouse,
    _data: TempFolder,
}

impl Servers {
    fn start() -> Servers {
        let (certificates, data) = (Certificates::new(), TempFolder::new("secured-data"));
        let kafka = Secured::start(&certificates, USER, PASSWORD);
        let clickhouse = ClickHouse::start_for(data.path(), USER, PASSWORD);
        let proxy = TlsProxy::before(clickhouse.url().trim_start_matches("http://"), &certificates);
        Servers { certificates, kafka, proxy, clickhouse, _data: data }
    }

    fn stage(&self, name: &str, brokers: &str) -> Stage<'_> {
        Stage::on(&self.kafka.kafka, &self.clickhouse, name).through(brokers, &self.proxy.url())
    }
}

/// The flags that let `tally` in.
struct Credentials {
    ca: String,
    kafka_password: String,
    clickhouse_password: String,
}

impl Credentials {
    fn of(certificates: &Certificates) -> Credentials {
        let ca = certificates.ca().display().to_string();
        Credentials { ca, kafka_password: PASSWORD.to_owned(), clickhouse_password: PASSWORD.to_owned() }
    }

    fn kafka(&self) -> [&str; 6] {
        ["--kafka-ca", &self.ca, "--kafka-user", USER, "--kafka-password", &self.kafka_password]
    }

    fn clickhouse(&self) -> [&str; 6] {
        [
            "--clickhouse-ca",
            &self.ca,
            "--clickhouse-user",
            USER,
            "--clickhouse-password",
            &self.clickhouse_password,
        ]
    }

    fn ingest(&self, stage: &Stage<'_>, more: &[&str]) -> Tally {
        let until = ["--until-caught-up", "--json"];
        stage.ingest(&[&self.kafka()[..], &self.clickhouse(), &until, more].concat())
    }
}

/// Events of every kind and as many dead letters, by a client that is not ours.
fn publish(stage: &Stage<'_>) -> (u64, u64) {
    let publisher = Publisher::to(stage);
    let (mut valid, mut dead) = (0, 0);
    for contract in Topic::ALL {
        let events = examples::valid(contract);
        publisher.publish(contract, &events);
        publisher.raw(contract, "key", b"no event");
        valid += events.len() as u64;
        dead += 1;
    }
    (valid, dead)
}

fn totals(balance: &str) -> (u64, u64, u64) {
    let balance: serde_json::Value = serde_json::from_str(balance).expect("a balance");
    let lines: Vec<Line> = serde_json::from_value(balance["topics"].clone()).expect("lines");
    let wrong = lines.iter().map(|line| line.missing + line.extra + line.both).sum();
    (lines.iter().map(|line| line.accepted).sum(), lines.iter().map(|line| line.dead).sum(), wrong)
}

/// Scenario: Kafka takes only users with passwords over TLS, ClickHouse stands behind TLS and asks for a password; events and
/// bytes that are none are drained, with each mechanism; then a service follows the topics and pushes.
/// Guarantees: every offset is a row or a dead letter, in the dead-letter topic too; the feed's tail comes the same way.
#[test]
fn events_and_letters_pass_through_tls_and_passwords() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let servers = Servers::start();
    let kafka = &servers.kafka;
    let credentials = Credentials::of(&servers.certificates);
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] {
        let stage = servers.stage("secured", &kafka.bootstrap);
        let (valid, dead) = publish(&stage);
        let ended = credentials.ingest(&stage, &["--kafka-mechanism", mechanism]).expect_success(RUN);
        assert_eq!(totals(&ended.stdout), (valid, dead, 0), "{mechanism}: {}", stage.reasons());
        for contract in Topic::ALL {
            let letters = kcat::consume(kafka.kafka.bootstrap(), &format!("{}.dead", stage.topic(contract)));
            assert_eq!(letters.len(), 1, "{mechanism}, {contract}");
        }
    }
    let stage = servers.stage("secured", &kafka.bootstrap);
    let desk = Desk::default();
    let service = desk.serve(&stage, &[credentials.kafka(), credentials.clickhouse()].concat());
    let mut ws = service.ws(&desk.pass(Role::Admin, "ops"), "now");
    ws.frame("hello");
    let (valid, _) = publish(&stage);
    assert_eq!(ws.events(usize::try_from(valid).expect("few")).len() as u64, valid);
}

/// Scenario: four of five brokers show a certificate of an authority that we do not know; one command drains, another asks.
/// Guarantees: neither is turned away, however often they were met first; every event is found.
#[test]
fn one_broker_that_admits_is_enough() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let (servers, strangers) = (Servers::start(), Certificates::new());
    let kafka = &servers.kafka;
    let refusing: Vec<TlsProxy> = (0..4).map(|_| TlsProxy::before(&kafka.bootstrap, &strangers)).collect();
    let mut brokers: Vec<String> =
        refusing.iter().map(|one| one.url().trim_start_matches("https://").to_owned()).collect();
    brokers.push(kafka.bootstrap.clone());
    let stage = servers.stage("admitted", &brokers.join(","));
    let (valid, dead) = publish(&stage);
    let credentials = Credentials::of(&servers.certificates);
    let ended = credentials.ingest(&stage, &[]).expect_success(RUN);
    assert_eq!(totals(&ended.stdout), (valid, dead, 0), "{}", stage.reasons());
    let asked = [credentials.kafka(), credentials.clickhouse()].concat();
    stage.tally(&["audit", "offsets"], &asked).expect_success(RUN);
}

/// Scenario: `tally ingest` with a wrong password and with an authority that did not sign, first for Kafka, then for ClickHouse;
/// then with the right ones.
/// Guarantees: each wrong one ends it with code 3 and one line, with the setting to mend and no password; nothing was
/// committed or written; the right ones find every event.
#[test]
fn who_is_refused_learns_why_and_loses_nothing() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let (servers, strangers) = (Servers::start(), Certificates::new());
    let kafka = &servers.kafka;
    let stage = servers.stage("refused", &kafka.bootstrap);
    let (valid, dead) = publish(&stage);

    let good = || Credentials::of(&servers.certificates);
    let stranger = strangers.ca().display().to_string();
    let refused = |credentials: Credentials, kafka: [&str; 6], until: bool| {
        let until: &[&str] = if until { &["--until-caught-up"] } else { &[] };
        let mut ingest = stage.ingest(&[&kafka[..], &credentials.clickhouse(), until].concat());
        let said = ingest.expect_code(3, SOON).stderr;
        let told = said.lines().filter(|line| line.starts_with("tally: ")).count();
        assert_eq!(told, 1, "{said}");
        assert!(!said.contains("planted") && !said.contains(PASSWORD), "{said}");
        said.lines().find(|line| line.starts_with("tally: ")).unwrap_or_default().to_owned()
    };
    let planted = "planted-wrong-password";
    for until in [true, false] {
        let wrong = Credentials { kafka_password: planted.to_owned(), ..good() };
        let told = refused(good(), wrong.kafka(), until);
        assert!(told.contains("does not let us in") && told.contains("kafka.password"), "{told}");
        let wrong = Credentials { ca: stranger.clone(), ..good() };
        let told = refused(good(), wrong.kafka(), until);
        assert!(told.contains("does not let us in") && told.contains("kafka.ca"), "{told}");
    }
    let told =
        refused(Credentials { clickhouse_password: planted.to_owned(), ..good() }, good().kafka(), true);
    assert!(told.contains("clickhouse.user, its password"), "{told}");
    let told = refused(Credentials { ca: stranger, ..good() }, good().kafka(), true);
    assert!(told.contains("clickhouse.ca"), "{told}");
    // a listener that wants TLS and is met without looks like a broker that is starting: a hint
    let mut ingest = stage.ingest(&[&good().clickhouse()[..], &["--until-caught-up"]].concat());
    let said = ingest.expect_code(3, SOON).stderr;
    assert!(said.contains("whether its listener wants TLS: kafka.tls"), "{said}");

    assert_eq!(stage.receipts(), 0);
    let ended = good().ingest(&stage, &[]).expect_success(RUN);
    assert_eq!(totals(&ended.stdout), (valid, dead, 0), "{}", stage.reasons());
}
