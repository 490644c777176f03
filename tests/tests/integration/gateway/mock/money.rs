//! Money against the model, and the document against whoever knows nothing else.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tally_tests::{MockPlatform, python, repository};

use super::model::{Chance, Expected, Model};
use super::{about, charge, refund};

const WALLETS: [&str; 4] = ["rich", "poor", "empty", "unknown"];
const TASKS: [&str; 3] = ["a", "b", "c"];
const KINDS: [&str; 6] = ["HOLD", "CHARGE", "SUPPLEMENT", "ACCELERATION", "REFUND", "RELEASE"];

fn request(kind: &str, wallet: &str, task: &str, amount: i64) -> (&'static str, Value) {
    match kind {
        "REFUND" => ("/credits/refund", refund(wallet, task, "CHARGE", amount)),
        "RELEASE" => ("/credits/refund", refund(wallet, task, "HOLD", amount)),
        kind => ("/credits/charge", charge(wallet, task, kind, amount)),
    }
}

fn run(seed: u64) {
    let platform = MockPlatform::start(&[]);
    let (mut chance, mut model) = (Chance(seed), Model::default());
    for (wallet, balance) in [("rich", 100_000), ("poor", 300), ("empty", 0)] {
        platform.grant(wallet, balance);
        model.ask(wallet, "", "GRANT", balance).expect("a grant");
    }
    let mut first: Vec<(String, &str, Value, String)> = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for number in 0..1_200 {
        if number % 5 == 4 {
            let place = usize::try_from(chance.below(first.len() as u64)).expect("a place");
            let (key, path, body, answered) = &first[place];
            let again = platform.call(path, key, 2, body);
            assert_eq!(&again.body, answered, "seed {seed}: {key} again");
            continue;
        }
        let (kind, wallet, task) = (chance.of(&KINDS), chance.of(&WALLETS), chance.of(&TASKS));
        let amount = 1 + i64::try_from(chance.below(120)).expect("small");
        let expected: Expected = model.ask(wallet, task, kind, amount);
        let (path, body) = request(kind, wallet, task, amount);
        let key = format!("key-{number}");
        let answer = platform.call(path, &key, 1, &body);
        let said = answer.json();
        match expected {
            Ok((balance, held)) => {
                assert_eq!(answer.status, 200, "seed {seed}, {number}: {body} {}", answer.body);
                let says = |name: &str| said[name].as_i64();
                let got = (says("amount_micros"), says("balance_after_micros"), says("held_micros"));
                assert_eq!(got, (Some(amount), Some(balance), Some(held)), "seed {seed}, {number}: {body}");
            }
            Err(code) => assert_eq!(answer.code(), code, "seed {seed}, {number}: {body}"),
        }
        *seen.entry(expected.err().unwrap_or(kind)).or_default() += 1;
        first.push((key, path, body, answer.body));
    }
    for wanted in
        [&KINDS[..], &["wallet_unknown", "hold_failed", "insufficient_balance", "refund_exceeds_charge"]]
            .concat()
    {
        assert!(seen.get(wanted).is_some_and(|count| *count >= 3), "seed {seed}: {wanted} in {seen:?}");
    }
    let statement = platform.statement();
    for wallet in ["rich", "poor", "empty"] {
        let stands = &statement.wallets[wallet];
        let is = (stands.balance_micros, stands.held_micros);
        assert_eq!(is, (model.balance(wallet), model.held(wallet, None)), "seed {seed}: {wallet}");
        for (kind, sum) in &stands.sums {
            let kind = json!(kind);
            assert_eq!(sum.micros, model.sum(wallet, kind.as_str().expect("a name")), "{wallet} {kind}");
        }
    }
    let moved = statement.movements.iter().map(|movement| {
        let task = movement.task_id.clone().unwrap_or_default();
        (movement.wallet_id.clone(), task, json!(movement.kind), movement.amount_micros)
    });
    let expected = model
        .moved
        .iter()
        .map(|moved| (moved.wallet.clone(), moved.task.clone(), json!(moved.what), moved.amount));
    assert!(moved.eq(expected), "seed {seed}: the movements are those of the model, in their order");
}

/// Scenario: holds, charges, supplements, accelerations, refunds and releases at random over rich, poor, empty and unknown
/// wallets, a fifth of them repeats of an earlier key.
/// Guarantees: each answer is what an independent model says, each repeat is the first answer to the byte, and at the end balances,
/// holds, sums and the order of movements are the model's.
#[test]
fn money_is_what_an_independent_model_says() {
    run(1);
    run(20_261_126);
}

/// Scenario: estimates of both queues; charges that rely on one in time, too late, on another wallet's, and on none that exists.
/// Guarantees: the price is the documented one, and each case has its code.
#[test]
fn estimates_are_priced_and_expire() {
    let platform =
        MockPlatform::start(&["--wallets", "2", "--balance-micros", "10000000", "--estimate-ms", "1500"]);
    let estimate = |queue: &str| {
        let body = json!({"about": about("wallet-1", "a"), "queue": queue, "compute_units": 1_001});
        platform.call("/credits/estimate", "", 1, &body).json()
    };
    let (normal, fast) = (estimate("NORMAL"), estimate("ACCELERATED"));
    assert_eq!(
        (normal["amount_micros"].as_i64(), fast["amount_micros"].as_i64()),
        (Some(1_001_000), Some(1_501_500))
    );
    let rely = |key: &str, wallet: &str, id: &Value| {
        let mut body = charge(wallet, "a", "CHARGE", 5);
        body["estimate_id"] = id.clone();
        let answer = platform.call("/credits/charge", key, 1, &body);
        (answer.status, answer.code())
    };
    let id = &fast["estimate_id"];
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(rely("in time", "wallet-1", id), refused(200, ""));
    assert_eq!(rely("another's", "wallet-2", id), refused(404, "estimate_unknown"));
    assert_eq!(rely("none", "wallet-1", &json!("nothing")), refused(404, "estimate_unknown"));
    std::thread::sleep(std::time::Duration::from_millis(1_600));
    assert_eq!(rely("too late", "wallet-1", id), refused(409, "estimate_expired"));
    assert_eq!(rely("in time", "wallet-1", id), refused(200, ""), "a key keeps its answer");
}

/// Scenario: schemathesis, which knows nothing but `platform.openapi.json`, asks every call with generated values, valid and not.
/// Guarantees: no 5xx, and no status, media type, header or shape that the document does not have; and calls that are right are
/// among those that were asked.
#[test]
fn the_mock_is_what_the_platforms_document_says() {
    let platform = MockPlatform::start(&["--wallets", "1", "--balance-micros", "900000000000000"]);
    platform.prepare(
        "licenses",
        &json!([{"license_id": "license-1", "user_id": "user-1", "quota_micros": 1_000_000, "expires_at": "2100-01-01T00:00:00Z"}]),
    );
    let document = repository().join("pipeline/docs/platform.openapi.json");
    let said = python::schemathesis(&platform.url, &document, "token");
    assert!(said.contains("Tested: 6"), "{said}");
    let receipts = platform.statement().receipts;
    for path in [
        "/credits/estimate",
        "/credits/charge",
        "/credits/refund",
        "/licenses/check",
        "/tasks/transitions",
        "/licenses/revoke",
    ] {
        let of: Vec<_> = receipts.iter().filter(|receipt| receipt.path == path).collect();
        let answered = |status: &str| of.iter().any(|receipt| receipt.answered.contains_key(status));
        assert!(answered("200") && answered("400"), "{path} was not explored: {}", of.len());
    }
}
