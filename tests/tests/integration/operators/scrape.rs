//! A real Prometheus reads a demo: the route, the service, and the audit beside it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_tests::gateway::{Gateway, SCOPES};
use tally_tests::prometheus::yaml_files;
use tally_tests::stage::get;
use tally_tests::{MockPlatform, Prometheus, Stage, Tally, TempFolder, eventually, free_port, skip_without};

use super::names::{METRICS_OF_TROUBLE, base, in_code};

/// Until a demo has started, audited and been read, on a machine that builds at the same time.
const SOON: Duration = Duration::from_secs(240);
/// Targets: name of their file, and which command shows them.
const TARGETS: [&str; 4] = ["ingest", "serve", "audit", "gateway"];

/// A demo with its audit, a gateway, and where they show their metrics.
struct Platform {
    demo: Tally,
    audit: Tally,
    gateway: Gateway,
    mock: MockPlatform,
    addresses: [String; 4],
    /// The gateway asks its database who was revoked: without it nobody is let in after a minute.
    _stage: Stage<'static>,
    _folder: TempFolder,
}

impl Platform {
    fn start() -> Platform {
        let folder = TempFolder::new("scraped");
        let data = folder.path().to_str().expect("paths in tests are text").to_owned();
        let mut addresses = TARGETS.map(|_| format!("127.0.0.1:{}", free_port()));
        let mock = MockPlatform::start(&["--wallets", "1"]);
        let stage = Stage::shared("scraped");
        let gateway = Gateway::start(&stage, &mock, &[]);
        addresses[3] = gateway.ops.trim_start_matches("http://").to_owned();
        let [route, service, audit, _] = &addresses;
        let at = ["demo", "--data", &data, "--listen", route, "--ops-listen", service, "--rate", "100"];
        // a block of rows every second is enough for figures
        let mut demo = Tally::spawn(&at, &[("TALLY_INGEST_LINGER_MS", "1000")]);
        eventually(SOON, "a demo that shows its page", || {
            assert!(demo.is_running(), "tally demo ended\n{}", demo.log_tail());
            demo.stdout().contains("page: ").then_some(())
        });
        // the platform's past is ten weeks: windows of one
        let every = ["--window-minutes", "10080", "--look-back-hours", "336", "--round-seconds", "5"];
        let watch = ["audit", "watch", "--data", &data, "--listen", audit];
        let audit = Tally::spawn(&[&watch[..], &every].concat(), &[]);
        Platform { demo, audit, gateway, mock, addresses, _stage: stage, _folder: folder }
    }

    /// Somebody calls the gateway: twice under one key, and for a task that is held.
    fn call(&self) {
        let token = self.gateway.token("scraped", &format!("{SCOPES} flows:compute"));
        let about = json!({"wallet_id": "wallet-1", "policy_tag": "BILLING", "task_id": "t-1", "user_id": "u-1",
                           "license_id": "l-1", "template_id": "tp-1"});
        let charge = json!({"about": about, "purpose": "CHARGE", "amount_micros": 1});
        let flow = json!({"about": about, "queue": "NORMAL", "compute_units": 1});
        for (path, key, body) in [
            ("/credits/charge", "k", &charge),
            ("/credits/charge", "k", &charge),
            ("/flows/compute", "f", &flow),
        ] {
            let answer = self.gateway.call(path, &token, key, body).expect("an answer of the gateway");
            assert!(answer.status < 300, "{}\n{}", answer.body, self.mock.tally.log_tail());
        }
        // attempts again and again, so that rates have a value
        let check = json!({"about": about});
        let estimate =
            self.gateway.call("/credits/estimate", &token, "", &flow).expect("an answer of the gateway");
        assert_eq!(estimate.status, 200, "{}", estimate.body);
        assert_eq!(self.gateway.call("/licenses/check", &token, "", &check).expect("an answer").status, 404);
    }
}

/// Names of the rules of a kind, in all files.
fn named(kind: &str) -> BTreeSet<String> {
    let files = yaml_files(&Prometheus::home().join("rules"));
    let rules =
        files.iter().flat_map(|(_, content)| content["groups"][0]["rules"].as_array().expect("rules"));
    rules.filter_map(|rule| rule[kind].as_str()).map(str::to_owned).collect()
}

/// Every rule as Prometheus has it is in good health.
fn expect_healthy(prometheus: &Prometheus, expected: usize) {
    let answer = prometheus.api("rules", &[]);
    let groups = answer["groups"].as_array().expect("groups");
    let rules: Vec<&Value> =
        groups.iter().flat_map(|group| group["rules"].as_array().expect("rules")).collect();
    assert_eq!(rules.len(), expected, "all rules are loaded");
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
}

/// Scenario: a demo runs with its audit, beside them a gateway, and a Prometheus as this repository configures it reads all four; then the demo is killed.
/// Guarantees: every target is up, every rule is evaluated without an error, every recorded figure has a value, every metric is one
/// that the code names, and the other way round but for those of trouble; nobody is alarmed, until the demo is gone.
#[test]
fn a_real_prometheus_reads_the_demo() {
    if skip_without(Prometheus::installed()) {
        return;
    }
    let mut platform = Platform::start();
    let targets: Vec<(&str, &str)> =
        TARGETS.into_iter().zip(platform.addresses.iter().map(String::as_str)).collect();
    let prometheus = Prometheus::start(&targets);
    let up = |value: &str| {
        let series = prometheus.query(&format!("up{{job=~\"tally-.*\"}} == {value}"));
        series
            .iter()
            .filter_map(|one| one["metric"]["job"].as_str().map(str::to_owned))
            .collect::<BTreeSet<_>>()
    };
    let all: BTreeSet<String> = TARGETS.iter().map(|name| format!("tally-{name}")).collect();
    eventually(SOON, "every target", || (up("1") == all).then_some(()));

    let (records, alerts) = (named("record"), named("alert"));
    let mut missing = records.clone();
    let begun = Instant::now();
    while !missing.is_empty() {
        let logs = || format!("{}\n{}", platform.demo.log_tail(), platform.audit.log_tail());
        assert!(begun.elapsed() < SOON, "recorded figures without a value: {missing:?}\n{}", logs());
        platform.call();
        assert!(platform.audit.is_running(), "tally audit watch ended\n{}", platform.audit.log_tail());
        missing.retain(|name| {
            let series = prometheus.query(name);
            !series.iter().any(|one| one["value"][1].as_str().is_some_and(|value| value != "NaN"))
        });
        std::thread::sleep(Duration::from_millis(500)); // Prometheus evaluates once a second
    }
    expect_healthy(&prometheus, records.len() + alerts.len());

    let code = in_code();
    let mut shown = BTreeSet::new();
    for address in &platform.addresses {
        let text = get(&format!("http://{address}/metrics")).1;
        shown.extend(
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(base)),
        );
    }
    let shown: BTreeSet<String> = shown.into_iter().filter(|name| name.starts_with("tally_")).collect();
    let unknown: Vec<&String> = shown.difference(&code).collect();
    assert!(unknown.is_empty(), "the code does not seem to name {unknown:?}");
    let unseen: Vec<&str> = code.difference(&shown).map(String::as_str).collect();
    assert_eq!(unseen, METRICS_OF_TROUBLE, "shown only when something is wrong");

    let alarmed = |state: &str| {
        let series = prometheus.query(&format!("ALERTS{{alertstate=\"{state}\"}}"));
        let name = |one: &Value| one["metric"]["alertname"].as_str().map(str::to_owned);
        series.iter().filter_map(name).collect::<BTreeSet<_>>()
    };
    // on purpose: a demo has events without a policy tag, which the audit finds, and what publishes them is told
    let expected = ["TallyAuditFailed", "TallyPolicyTagMissing"].map(str::to_owned);
    let unexpected: Vec<String> =
        alarmed("firing").into_iter().filter(|name| !expected.contains(name)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    platform.demo.sigkill();
    // its two pages are not asked at the same moment
    eventually(SOON, "a target that is down", || {
        let is_down = alarmed("pending").contains("TallyTargetDown") && up("0").contains("tally-ingest");
        is_down.then_some(())
    });
}
