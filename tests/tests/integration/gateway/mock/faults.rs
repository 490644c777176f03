//! Each thing that the script can have go wrong, shown to do what it says and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tally_pipeline::gateway::mock::{Faults, Receipt, Script};
use tally_tests::MockPlatform;
use tally_tests::service::Answer;

use super::{about, charge};

const BALANCE: i64 = 1_000_000;
/// Longer than an answer takes, and what a hang is known by.
const PATIENCE: Duration = Duration::from_secs(3);

fn start() -> MockPlatform {
    MockPlatform::start(&["--wallets", "1", "--balance-micros", &BALANCE.to_string()])
}

fn play(platform: &MockPlatform, all: Faults) {
    platform.play(&Script { seed: 3, all, ..Script::default() });
}

/// Charges 10 under that key.
fn pay(platform: &MockPlatform, key: &str, attempt: u32) -> Option<Answer> {
    platform.try_call(PATIENCE, "/credits/charge", (key, attempt), &charge("wallet-1", "a", "CHARGE", 10))
}

fn spent(platform: &MockPlatform) -> i64 {
    BALANCE - platform.statement().wallets["wallet-1"].balance_micros
}

/// The receipt of the first attempt of a key.
fn receipt(platform: &MockPlatform, key: &str) -> Receipt {
    let receipts = platform.statement().receipts;
    receipts.into_iter().find(|receipt| receipt.key == key && receipt.attempt == "1").expect("a receipt")
}

fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// Scenario: errors, hangs and resets strike every request, before or after it is done; then nothing goes wrong any more and the
/// same key comes again.
/// Guarantees: money has moved exactly where it struck after; the caller sees a 5xx, nothing, or a connection that ends at once;
/// the next attempt gets the one answer, and in the end each key was charged once.
#[test]
fn what_strikes_before_moves_nothing_and_what_strikes_after_has_moved() {
    let platform = start();
    let of = |set: fn(&mut Faults)| {
        let mut faults = Faults::default();
        set(&mut faults);
        faults
    };
    let cases: [(&str, Faults, bool); 6] = [
        ("error", of(|faults| faults.error = 1_000), false),
        ("hang_before", of(|faults| faults.hang_before = 1_000), false),
        ("reset_before", of(|faults| faults.reset_before = 1_000), false),
        ("error_after", of(|faults| faults.error_after = 1_000), true),
        ("hang_after", of(|faults| faults.hang_after = 1_000), true),
        ("reset_after", of(|faults| faults.reset_after = 1_000), true),
    ];
    let mut charged = 0;
    for (name, faults, is_done) in cases {
        play(&platform, faults);
        let start = Instant::now();
        let answer = pay(&platform, name, 1);
        let took = start.elapsed();
        let status = answer.as_ref().map(|answer| answer.status);
        match name.split('_').next() {
            Some("error") => assert!(matches!(status, Some(500 | 503)), "{name}: {status:?}"),
            Some("hang") => assert!(status.is_none() && took >= PATIENCE, "{name}: {status:?} in {took:?}"),
            _ => assert!(status.is_none() && took < PATIENCE, "{name}: {status:?} in {took:?}"),
        }
        charged += if is_done { 10 } else { 0 };
        assert_eq!(spent(&platform), charged, "{name}");
        let said = receipt(&platform, name);
        let answered = status.map_or("none".to_owned(), |status| status.to_string());
        assert_eq!(said.answered, counts(&[(&answered, 1)]), "{name}");
        assert_eq!((said.received, said.executed), (1, u64::from(is_done)), "{name}");
        assert_eq!(said.faults, counts(&[(name, 1)]));

        play(&platform, Faults::default());
        let good = pay(&platform, name, 2).expect("an answer");
        assert_eq!(good.status, 200, "{name}: {}", good.body);
        charged += if is_done { 0 } else { 10 };
        assert_eq!(spent(&platform), charged, "{name}: once");
    }
}

/// How a body breaks the contract.
fn broken(body: &str, amount: i64) -> &'static str {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return "no JSON" };
    let fields = body.as_object().map_or(0, |fields| fields.len());
    match (body["wallet_id"].as_str(), body["amount_micros"].as_i64()) {
        _ if fields < 7 => "lacks a field", // of those that a charge has
        (Some(wallet), _) if wallet != "wallet-1" => "another wallet",
        (_, told) if told != Some(amount) => "another amount",
        _ => "sound",
    }
}

/// Scenario: every answer of forty charges has a wrong body, and then each key comes again without; a refusal is among them.
/// Guarantees: all four ways come and no sound body does; the money has moved; the second answer is sound; a refusal stays what it is.
#[test]
fn wrong_bodies_are_wrong_in_every_way() {
    let platform = start();
    play(&platform, Faults { wrong_body: 1_000, ..Faults::default() });
    let keys: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
    let mut ways = BTreeSet::new();
    for key in &keys {
        let answer = pay(&platform, key, 1).expect("an answer");
        assert_eq!(answer.status, 200);
        ways.insert(broken(&answer.body, 10));
    }
    assert_eq!(ways, ["no JSON", "lacks a field", "another wallet", "another amount"].into());
    let much = charge("wallet-1", "a", "CHARGE", BALANCE);
    let refused = platform.call("/credits/charge", "much", 1, &much);
    assert_eq!((refused.status, refused.code().as_str()), (402, "insufficient_balance"));
    assert!(receipt(&platform, "much").faults.is_empty());
    play(&platform, Faults::default());
    for key in &keys {
        let answer = pay(&platform, key, 2).expect("an answer");
        assert_eq!(broken(&answer.body, 10), "sound", "{}", answer.body);
    }
    assert_eq!(spent(&platform), 400);
}

/// Scenario: every request is executed twice; all are limited; the platform is unavailable, then not; it takes its time.
/// Guarantees: money moves once; 429 and 503 say when to come again and nothing is done; latency lies in its range, and what was
/// begun is done though the caller left.
#[test]
fn doubles_limits_absence_and_latency() {
    let platform = start();
    play(&platform, Faults { duplicate: 1_000, ..Faults::default() });
    assert_eq!(pay(&platform, "twice", 1).expect("an answer").status, 200);
    assert_eq!((receipt(&platform, "twice").executed, spent(&platform)), (2, 10));

    play(&platform, Faults { rate_limited: 1_000, retry_after_s: 7, ..Faults::default() });
    let limited = pay(&platform, "limited", 1).expect("an answer");
    let is = (limited.status, limited.code(), limited.header("retry-after").to_owned());
    assert_eq!(is, (429, "rate_limited".to_owned(), "7".to_owned()));
    platform.play(&Script { unavailable: true, ..Script::default() });
    let away = pay(&platform, "away", 1).expect("an answer");
    assert_eq!((away.status, away.code().as_str()), (503, "overloaded"));
    assert_eq!(spent(&platform), 10);

    play(&platform, Faults { latency_min_ms: 300, latency_max_ms: 400, ..Faults::default() });
    let start = Instant::now();
    assert_eq!(pay(&platform, "slow", 1).expect("an answer").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    let body = charge("wallet-1", "a", "CHARGE", 10);
    let left = platform.try_call(Duration::from_millis(100), "/credits/charge", ("left", 1), &body);
    assert!(left.is_none());
    tally_tests::eventually(Duration::from_secs(20), "what was begun is done", || {
        (spent(&platform) == 30).then_some(())
    });
    assert_eq!(receipt(&platform, "left").answered, counts(&[("none", 1)]));
}

/// Scenario: a script has faults on one path alone, and twice the same requests come, in another order, to two mocks of one seed.
/// Guarantees: other paths are left alone; the same keys meet the same faults; another attempt of a key is another draw.
#[test]
fn the_same_run_is_the_same() {
    let strikes = |order: &mut dyn Iterator<Item = u32>| {
        let platform = start();
        let charges = Faults { error: 300, error_after: 300, ..Faults::default() };
        let paths = [("/credits/charge".to_owned(), charges)].into();
        platform.play(&Script { seed: 11, paths, ..Script::default() });
        for number in order {
            pay(&platform, &format!("key-{number}"), 1 + number % 2);
        }
        let body = json!({"about": about("wallet-1", "a"), "queue": "NORMAL", "compute_units": 1});
        for attempt in 1..10 {
            assert_eq!(platform.call("/credits/estimate", "", attempt, &body).status, 200);
        }
        let of =
            platform.statement().receipts.into_iter().filter(|receipt| receipt.path == "/credits/charge");
        of.map(|receipt| ((receipt.key, receipt.attempt), receipt.faults)).collect::<BTreeMap<_, _>>()
    };
    let forwards = strikes(&mut (0..60));
    assert_eq!(forwards, strikes(&mut (0..60).rev()));
    let struck = forwards.values().filter(|faults| !faults.is_empty()).count();
    assert!((20..55).contains(&struck), "{struck} of 60");

    let platform = start();
    play(&platform, Faults { error: 500, ..Faults::default() });
    let attempts: BTreeSet<u16> =
        (1..=20).map(|attempt| pay(&platform, "one", attempt).expect("an answer").status / 100).collect();
    assert_eq!(attempts, [2, 5].into());
    assert_eq!(spent(&platform), 10);
}

/// Scenario: scripts that cannot be played; a listener beyond loopback; an empty file of tokens; SIGTERM while a request hangs.
/// Guarantees: each is refused with what to do; the process ends in good order within seconds.
#[test]
fn it_starts_and_ends_in_good_order() {
    let mut platform = start();
    for script in [
        json!({"all": {"error": 700, "hang_after": 301}}),
        json!({"all": {"latency_min_ms": 5}}),
        json!({"paths": {"/credits": {}}}),
        json!({"errors": 5}),
    ] {
        let answer = platform.post_within(PATIENCE, "/_mock/script", &[], &script.to_string());
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (400, "invalid_request"), "{script}");
    }
    play(&platform, Faults { hang_after: 1_000, ..Faults::default() });
    std::thread::scope(|scope| {
        let hangs = scope.spawn(|| {
            let url = format!("{}/credits/charge", platform.url);
            let request = ureq::post(url).header("authorization", "Bearer t").header("idempotency-key", "k");
            let request = request.header("content-type", "application/json").config().proxy(None).build();
            request.send(charge("wallet-1", "a", "CHARGE", 10).to_string()).is_err()
        });
        tally_tests::eventually(Duration::from_secs(20), "a request that hangs", || {
            (spent(&platform) == 10).then_some(())
        });
        let id = platform.tally.id();
        platform_ends(id);
        assert!(hangs.join().expect("a call"), "what hangs is not answered");
    });
    platform.tally.expect_success(Duration::from_secs(20));

    for (flags, says) in [
        (vec!["--listen", "0.0.0.0:0"], "loopback"),
        (vec!["--script", "nowhere.json"], "nowhere.json"),
        (vec!["--token-file", "tally.out"], "has no token"),
    ] {
        let arguments = [&["mock-platform"], &flags[..]].concat();
        let ended = tally_tests::Tally::spawn(&arguments, &[]).expect_code(3, Duration::from_secs(20));
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

/// Asks the process to end, which the test still looks at from another thread.
fn platform_ends(id: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
}
