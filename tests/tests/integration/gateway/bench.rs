//! What the gateway adds to a call, beside direct calls in the same run. Not a test: `make bench` runs it.
//!
//! Open loop: each call is due at its time, whatever became of those before, and its latency counts from then.
//! `TALLY_BENCH_GATEWAY_RATE` (2000 calls/s), `TALLY_BENCH_GATEWAY_SECONDS` (10 a round).

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tally_tests::gateway::{Gateway, SCOPES};
use tally_tests::{MockPlatform, Stage};

/// Threads that call; each has one connection, which it keeps.
const CALLERS: u32 = 48;
const ROUNDS: u32 = 3;
const WALLETS: u64 = 500;

/// Latencies of one way to the platform, over all rounds.
#[derive(Default)]
struct Latencies {
    us: Vec<u64>,
    failed: u64,
}

impl Latencies {
    fn at(&self, permille: usize) -> f64 {
        let mut sorted = self.us.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * permille / 1_000).min(sorted.len().saturating_sub(1));
        sorted.get(place).map_or(0.0, |us| *us as f64 / 1_000.0)
    }
}

fn request(number: u64) -> (&'static str, bool, Value) {
    let wallet = number % WALLETS;
    let about = json!({
        "wallet_id": format!("w-{wallet}"), "policy_tag": "GENERAL_USE", "task_id": format!("t-{wallet}"),
        "user_id": "u-1", "license_id": "l-1", "template_id": "tp-1", "creator_id": "c-1",
    });
    match number % 5 {
        0 | 1 => ("/credits/estimate", false, json!({"about": about, "queue": "NORMAL", "compute_units": 5})),
        2 => ("/licenses/check", false, json!({"about": about, "needed_micros": 5})),
        3 => ("/credits/charge", true, json!({"about": about, "purpose": "HOLD", "amount_micros": 5})),
        _ => ("/credits/charge", true, json!({"about": about, "purpose": "CHARGE", "amount_micros": 5})),
    }
}

/// Calls `url` at `rate` for so long.
fn round(url: &str, token: &str, (rate, seconds): (f64, f64), run: &str, into: &mut Latencies) {
    let begun = Instant::now() + Duration::from_millis(100);
    let calls = (rate * seconds) as u64;
    let told: Vec<Latencies> = std::thread::scope(|scope| {
        let caller = |me: u32| {
            move || {
                let config = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
                let agent: ureq::Agent = config.timeout_global(Some(Duration::from_secs(30))).build().into();
                let mut latencies = Latencies::default();
                for number in (u64::from(me)..calls).step_by(CALLERS as usize) {
                    let due = begun + Duration::from_secs_f64(number as f64 / rate);
                    let (path, keyed, body) = request(number);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let mut request =
                        agent.post(format!("{url}{path}")).header("content-type", "application/json");
                    request = request.header("authorization", format!("Bearer {token}"));
                    if keyed {
                        request = request.header("idempotency-key", format!("{run}-{number}"));
                    }
                    let answer = request.send(body.to_string());
                    let status = answer.map(|mut answer| {
                        let _ = answer.body_mut().read_to_string(); // to its end, so that the connection is kept
                        answer.status().as_u16()
                    });
                    latencies.us.push(u64::try_from(due.elapsed().as_micros()).expect("a latency"));
                    latencies.failed += u64::from(status.ok() != Some(200));
                }
                latencies
            }
        };
        let callers: Vec<_> = (0..CALLERS).map(|me| scope.spawn(caller(me))).collect();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    });
    for one in told {
        into.us.extend(one.us);
        into.failed += one.failed;
    }
}

#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_gateway() {
    let setting =
        |name: &str, default: f64| std::env::var(name).ok().and_then(|t| t.parse().ok()).unwrap_or(default);
    let load = (setting("TALLY_BENCH_GATEWAY_RATE", 2_000.0), setting("TALLY_BENCH_GATEWAY_SECONDS", 10.0));
    let stage = Stage::shared("bench-gateway");
    let platform = MockPlatform::start(&[]);
    for wallet in 0..WALLETS {
        platform.grant(&format!("w-{wallet}"), 1_000_000_000);
    }
    platform.prepare(
        "licenses",
        &json!([{"license_id": "l-1", "user_id": "u-1", "quota_micros": 1_000_000_000_000_i64, "expires_at": "2090-01-01T00:00:00Z"}]),
    );
    let durabilities = ["process", "disk"];
    let gateways =
        durabilities.map(|durability| Gateway::start(&stage, &platform, &["--durability", durability]));
    let mut direct = Latencies::default();
    let mut through = durabilities.map(|_| Latencies::default());
    for turn in 0..ROUNDS {
        round(&platform.url, "token", load, &format!("direct-{turn}"), &mut direct);
        for (gateway, into) in gateways.iter().zip(&mut through) {
            let token = gateway.token("bench", SCOPES);
            round(&gateway.url, &token, load, &format!("{}-{turn}", gateway.url), into);
        }
    }
    println!(
        "{:.0} calls/s, {ROUNDS} rounds of {:.0} s each, turn by turn; milliseconds from when a call is due",
        load.0, load.1
    );
    println!("{:<22} {:>8} {:>8} {:>8} {:>8}", "", "p50", "p99", "p99.9", "failed");
    let line = |name: &str, l: &Latencies| {
        println!("{name:<22} {:>8.2} {:>8.2} {:>8.2} {:>8}", l.at(500), l.at(990), l.at(999), l.failed);
    };
    line("direct", &direct);
    for (durability, latencies) in durabilities.iter().zip(&through) {
        line(&format!("gateway, {durability}"), latencies);
        println!(
            "{:<22} {:>8.2} {:>8.2}",
            "  added",
            latencies.at(500) - direct.at(500),
            latencies.at(990) - direct.at(990)
        );
        assert_eq!(latencies.failed, 0, "calls failed");
    }
    for gateway in &gateways {
        gateway.settled(Duration::from_secs(60));
    }
}
