//! Keys and credentials.

use std::thread;
use std::time::Duration;

use serde_json::json;
use tally_tests::{MockPlatform, TempFolder};

use super::{charge, refund};

const SOON: Duration = Duration::from_secs(30);

/// Scenario: a key comes again with the same body in another form, with another body, to another path; after a refusal; and twenty
/// times at once.
/// Guarantees: the first answer to the byte and money that moved once; else 409; a refusal stays one though the wallet was filled.
#[test]
fn a_key_is_done_once() {
    let platform = MockPlatform::start(&["--wallets", "1", "--balance-micros", "100"]);
    let body = charge("wallet-1", "a", "CHARGE", 60);
    let first = platform.call("/credits/charge", "one", 1, &body);
    assert_eq!(first.status, 200, "{}", first.body);
    let spaced = serde_json::to_string_pretty(&body).expect("JSON");
    let headers = [("authorization", "Bearer token"), ("idempotency-key", "one"), ("x-attempt", "2")];
    let again = platform.post_within(SOON, "/credits/charge", &headers, &spaced).expect("an answer");
    assert_eq!((again.status, &again.body), (200, &first.body));
    for (path, body) in [
        ("/credits/charge", charge("wallet-1", "a", "CHARGE", 61)),
        ("/credits/charge", charge("wallet-1", "b", "CHARGE", 60)),
        ("/credits/refund", refund("wallet-1", "a", "CHARGE", 60)),
    ] {
        let other = platform.call(path, "one", 3, &body);
        assert_eq!((other.status, other.code().as_str()), (409, "idempotency_conflict"), "{body}");
    }
    let much = charge("wallet-1", "a", "CHARGE", 70);
    let refused = platform.call("/credits/charge", "two", 1, &much);
    assert_eq!((refused.status, refused.code().as_str()), (402, "insufficient_balance"));
    platform.grant("wallet-1", 1_000);
    assert_eq!(platform.call("/credits/charge", "two", 2, &much).body, refused.body);
    assert_eq!(platform.call("/credits/charge", "three", 1, &much).status, 200);

    let at_once = charge("wallet-1", "a", "CHARGE", 1);
    let answers: Vec<String> = thread::scope(|scope| {
        let calls: Vec<_> = (1..=20)
            .map(|attempt| {
                let (platform, body) = (&platform, &at_once);
                scope.spawn(move || platform.call("/credits/charge", "four", attempt, body).body)
            })
            .collect();
        calls.into_iter().map(|call| call.join().expect("a call")).collect()
    });
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    let statement = platform.statement();
    let keys: Vec<_> = statement.movements.iter().filter_map(|movement| movement.key.clone()).collect();
    assert_eq!(keys, ["one", "three", "four"]);
    assert_eq!(statement.wallets["wallet-1"].balance_micros, 1_100 - 60 - 70 - 1);
    let of = |key: &str| statement.receipts.iter().filter(|receipt| receipt.key == key).count();
    assert_eq!((of("one"), of("two"), of("four")), (4, 2, 20));
}

/// Scenario: a key is missing, too long or not text; an unknown field, no JSON, another media type, too many bytes; another method
/// and path.
/// Guarantees: each is refused by its code, nothing moves, and such a refusal does not use the key up.
#[test]
fn what_is_no_request_is_refused() {
    let platform = MockPlatform::start(&["--wallets", "1"]);
    let good = charge("wallet-1", "a", "CHARGE", 5).to_string();
    let mut unknown = charge("wallet-1", "a", "CHARGE", 5);
    unknown["amount"] = 5.into();
    let long = "k".repeat(129);
    let ask = |path: &str, key: &str, body: &str| {
        let mut headers = vec![("authorization", "Bearer token")];
        if !key.is_empty() {
            headers.push(("idempotency-key", key));
        }
        let answer = platform.post_within(SOON, path, &headers, body).expect("an answer");
        (answer.status, answer.code())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(ask("/credits/charge", "", &good), refused(400, "idempotency_key_missing"));
    assert_eq!(ask("/credits/charge", &long, &good), refused(400, "idempotency_key_missing"));
    assert_eq!(ask("/credits/charge", "k", &unknown.to_string()), refused(400, "invalid_request"));
    assert_eq!(ask("/credits/charge", "k", "{"), refused(400, "invalid_request"));
    assert_eq!(ask("/credits/charge", "k", &" ".repeat(65 * 1024)), refused(413, "too_large"));
    assert_eq!(ask("/credits", "k", &good), refused(404, "not_found"));
    let mut answer = ureq::post(format!("{}/credits/charge", platform.url))
        .header("content-type", "text/plain")
        .header("authorization", "Bearer token")
        .config()
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .send(&good)
        .expect("an answer");
    assert_eq!(answer.status(), 415, "{:?}", answer.body_mut().read_to_string());
    let url = format!("{}/credits/charge", platform.url);
    let got =
        ureq::get(url).config().http_status_as_error(false).proxy(None).build().call().expect("an answer");
    assert_eq!(got.status(), 405);
    assert!(platform.statement().movements.iter().all(|movement| movement.key.is_none()));
    assert_eq!(ask("/credits/charge", "k", &good), (200, String::new()));
}

/// Scenario: calls without a token, with a wrong one, with one of the file; then the tokens rotate.
/// Guarantees: 401 with its code, and the old token is worth nothing once the new one is.
#[test]
fn tokens_rotate() {
    let folder = TempFolder::new("tokens");
    let file = folder.path().join("tokens");
    std::fs::write(&file, "first\n\nsecond\n").expect("a file");
    let platform = MockPlatform::start(&["--wallets", "1", "--token-file", file.to_str().expect("text")]);
    let body =
        json!({"about": super::about("wallet-1", "a"), "queue": "NORMAL", "compute_units": 1}).to_string();
    let ask = |token: &str| {
        let header = format!("Bearer {token}");
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("authorization", &header)] };
        let answer = platform.post_within(SOON, "/credits/estimate", headers, &body).expect("an answer");
        if answer.status == 401 {
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
        (answer.status, answer.code())
    };
    let good = (200, String::new());
    let bad = |code: &str| (401, code.to_owned());
    assert_eq!(ask(""), bad("token_missing"));
    assert_eq!(ask("third"), bad("token_invalid"));
    assert_eq!([ask("first"), ask("second")], [good.clone(), good.clone()]);
    platform.prepare("credentials", &json!({"tokens": ["second", "third"]}));
    assert_eq!([ask("first"), ask("second"), ask("third")], [bad("token_invalid"), good.clone(), good]);
}
