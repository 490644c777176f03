//! Clients that send byte by byte, or too long a head, to every server beside that of `tally serve`: of that see `service/attacks.rs`.

use std::time::Duration;
use tally_tests::gateway::{Gateway, SCOPES};
use tally_tests::{
    ClickHouse, Kafka, MockPlatform, Stage, TempFolder, at_once, skip_without, stage, trickle,
};

/// A head or a body has 10 s to come; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(25);
/// A head of the engine's server has 30 s.
const LATER: Duration = Duration::from_secs(45);
/// Longer than the longest head that any of them takes, bytes: 400 KiB.
const TOO_LONG: usize = 500_000;

/// Scenario: heads that come byte by byte, all at the same time, to the gateway, to its pages of metrics, to those of `tally ingest` and to
/// the embedded engine; a body that does, to the gateway; then to each a head that is too long.
/// Guarantees: each is refused or cut within its bound, though bytes keep coming; others are answered meanwhile and after.
#[test]
fn who_sends_byte_by_byte_is_cut_everywhere() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (topics, data) = (Stage::shared("slow-clients"), TempFolder::new("slow-clients"));
    let platform = MockPlatform::start(&[]);
    let gateway = Gateway::start(&topics, &platform, &[]);
    let mut ingest = topics.ingest(&[]);
    let pages = stage::pages(&mut ingest);
    let engine = ClickHouse::start(data.path());
    let (calls, ops) = (gateway.url.as_str(), gateway.ops.as_str());
    let heads = [
        (calls, "/openapi.json", SOON),
        (ops, "/metrics", SOON),
        (pages.as_str(), "/metrics", SOON),
        (engine.url(), "/ping", LATER),
    ];
    let answered = || {
        for (address, path, _) in heads {
            assert_eq!(stage::get(&format!("{address}{path}")).0, 200, "{address}{path}");
        }
    };
    let token = gateway.token("scheduler", SCOPES);
    let body = format!(
        "POST /credits/estimate HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 2000\r\n\r\n"
    );
    std::thread::scope(|scope| {
        let slow_heads = heads.map(|(address, path, bound)| {
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-slow: ");
            (scope.spawn(move || trickle(address, &head, "y")), format!("{address}{path}"), bound)
        });
        let slow_body = scope.spawn(|| trickle(calls, &body, " "));
        answered();
        let (said, took) = slow_body.join().expect("no panic");
        assert!(said.starts_with("HTTP/1.1 400") && took < SOON, "{took:?} {said}");
        assert!(said.contains("did not come to its end in time"), "{said}");
        for (slow, address, bound) in slow_heads {
            let (said, took) = slow.join().expect("no panic");
            assert!(!said.contains("200 OK") && took < bound, "{address}: {took:?} {said}");
        }
    });
    for (address, path, _) in heads {
        let long = "y".repeat(TOO_LONG);
        let said = at_once(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"));
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{address}{path}: {said}");
    }
    answered();
}
