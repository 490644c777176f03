//! Sizes, times, rates, forms: what the service does with too much, too slow, too often.

use super::platform::platform;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use tally_dashboards::identity::Role;
use tally_tests::service::Service;
use tally_tests::stage;

/// Scenario: a body over the bound, one of another type, one that is no JSON, a method that is none here, an accept that
/// cannot be served, more requests than allowed.
/// Guarantees: each is a problem with its own code, an id and safe headers; the rate says when to come again, and is one's own.
#[test]
fn too_much_is_refused_in_words() {
    let database = platform();
    let service = Service::start(
        &database,
        &["--body-bytes-max", "2048", "--requests-per-s-max", "1", "--requests-burst-max", "8"],
    );
    let token = service.token(Role::Admin, "ops");
    let long = format!("{{\"kind\":\"token\",\"value\":\"{}\",\"reason\":\"x\"}}", "x".repeat(4_000));
    let json = "application/json";
    let path = "/api/v1/revocations";
    for (answer, status, code) in [
        (service.post(path, &token, json, &long), 413, "too_large"),
        (service.post(path, &token, "text/plain", "{}"), 415, "unsupported_media_type"),
        (service.post(path, &token, json, "{"), 400, "invalid_body"),
        (
            service.post(path, &token, json, r#"{"kind":"token","value":"","reason":"x"}"#),
            400,
            "invalid_body",
        ),
        (service.post("/api/v1/tasks", &token, json, "{}"), 405, "method_not_allowed"),
        (service.get_with("/api/v1/me", &token, &[("accept", "text/html")]), 406, "not_acceptable"),
        (service.get("/api/v1/tasks?limit=1001", &token), 400, "invalid_parameter"),
        (service.get("/nowhere", ""), 404, "not_found"),
    ] {
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{}", answer.body);
        assert_eq!(answer.json()["request_id"], answer.header("x-request-id"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    }
    let refused = (0..20).map(|_| service.get("/api/v1/me", &token)).find(|answer| answer.status == 429);
    let refused = refused.expect("a refusal");
    assert_eq!(refused.code(), "rate_limited");
    let wait_s: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=8).contains(&wait_s), "{wait_s}");
    assert_eq!(service.get("/api/v1/me", &service.token(Role::Admin, "another")).status, 200);
    std::thread::sleep(Duration::from_secs(wait_s));
    assert_eq!(service.get("/api/v1/me", &token).status, 200);
}

/// Scenario: five bad tokens a minute are allowed, and twelve come from one address, whatever they say of whom they came for; then
/// an expired one, none and a good one. The same behind one proxy, where each of two clients brings its own.
/// Guarantees: five are 401, the others 429 with the seconds to wait; a good token is let in and an expired one is told so all
/// the same; behind the proxy it is the clients that are counted, and what a client writes of itself is not believed.
#[test]
fn bad_tokens_are_bounded_by_address() {
    let database = platform();
    let bound = ["--bad-tokens-per-min-max", "5"];
    let service = Service::start(&database, &bound);
    let from = |service: &Service, client: &str| -> Vec<u16> {
        let ask = |_| service.get_with("/api/v1/me", "no token", &[("x-forwarded-for", client)]).status;
        (0..12).map(ask).collect()
    };
    let bounded = |statuses: &[u16]| statuses[..5] == [401; 5] && statuses[5..].iter().all(|s| *s == 429);
    let statuses = from(&service, "198.51.100.1");
    assert!(bounded(&statuses), "{statuses:?}");
    let refused = service.get_with("/api/v1/me", "no token", &[("x-forwarded-for", "198.51.100.2")]);
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"), "{}", refused.body);
    let wait_s: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((1..=12).contains(&wait_s), "{wait_s}");
    let expired = service.key().token_at(Role::Admin, "ops", 1_700_000_000, 900).0;
    for (token, status, code) in [
        (service.token(Role::Admin, "ops"), 200, ""),
        (expired, 401, "token_expired"),
        (String::new(), 401, "token_missing"),
    ] {
        let answer = service.get("/api/v1/me", &token);
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(status == 200 || answer.code() == code, "{}", answer.body);
    }

    let behind = Service::start(&database, &[&bound[..], &["--proxies", "1"]].concat());
    for client in ["198.51.100.1", "203.0.113.9, 198.51.100.2"] {
        let statuses = from(&behind, client);
        assert!(bounded(&statuses), "{client}: {statuses:?}");
    }
    assert_eq!(from(&behind, "203.0.113.9")[0], 401, "only its own proxy is believed");
}

/// Scenario: a head that never ends, a body that never comes, and a head that is too long.
/// Guarantees: each connection is ended within its bound, others are answered meanwhile.
#[test]
fn slow_and_long_requests_end() {
    let database = platform();
    let service = Service::start(&database, &["--request-s-max", "2"]);
    let token = service.token(Role::Admin, "ops");
    let address = service.url.trim_start_matches("http://").to_owned();
    let send = |text: &str| {
        let mut stream = TcpStream::connect(&address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream.write_all(text.as_bytes()).expect("a beginning");
        stream
    };
    let begun = Instant::now();
    let mut slow_head = send("GET /api/v1/me HTTP/1.1\r\nhost: x\r\n");
    let head = format!(
        "POST /api/v1/revocations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n"
    );
    let mut slow_body = send(&head);
    let mut answer = String::new();
    let _ = slow_body.read_to_string(&mut answer); // how the connection ends does not matter, what was said does
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("\"timeout\""), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(service.get("/api/v1/me", &token).status, 200);
    let mut said = Vec::new();
    let _ = slow_head.read_to_end(&mut said);
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    assert!(!String::from_utf8_lossy(&said).contains("200 OK"));
    let mut long_head = send(&format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n", "y".repeat(60_000)));
    let mut said = Vec::new();
    let _ = long_head.write_all(b"\r\n").and_then(|()| long_head.read_to_end(&mut said).map(drop));
    assert!(!String::from_utf8_lossy(&said).contains("200 OK"));
}

/// Scenario: every list is read two rows, or one, at a time; with a cursor of another route, and with one that was altered.
/// Guarantees: pages together are the whole list, in its order, nothing twice; foreign cursors are refused.
#[test]
fn pages_together_are_the_list() {
    let database = platform();
    let service =
        Service::start(&database, &["--requests-per-s-max", "10000", "--requests-burst-max", "10000"]);
    let token = service.token(Role::Admin, "ops");
    let lists = [
        "tasks",
        "wallets",
        "licenses",
        "moderation/cases",
        "dead-letters",
        "audit/results",
        "seals",
        "deliveries",
        "revocations",
    ];
    for (list, other) in lists.iter().zip(lists.iter().cycle().skip(1)) {
        let whole = service.get(&format!("/api/v1/{list}"), &token).json();
        let whole = whole["items"].as_array().expect("items").clone();
        let (mut paged, mut next) = (Vec::new(), String::new());
        loop {
            let page = service.get(&format!("/api/v1/{list}?limit=1{next}"), &token).json();
            paged.extend(page["items"].as_array().expect("items").iter().cloned());
            let Some(cursor) = page["next"].as_str() else { break };
            assert!(paged.len() <= whole.len(), "{list} does not end");
            let foreign = service.get(&format!("/api/v1/{other}?cursor={cursor}"), &token);
            assert_eq!(
                (foreign.status, foreign.code().as_str()),
                (400, "invalid_cursor"),
                "{other} with one of {list}"
            );
            next = format!("&cursor={cursor}");
        }
        let strip = |rows: Vec<serde_json::Value>| {
            rows.into_iter()
                .map(|mut row| {
                    row["due_in_s"] = 0.into();
                    row.to_string()
                })
                .collect::<Vec<_>>()
        };
        let (whole, paged) = (strip(whole), strip(paged));
        assert_eq!(paged, whole, "{list}");
        assert_eq!(paged.iter().collect::<BTreeSet<_>>().len(), paged.len());
    }
    let (mut seen, mut next) = (0, String::new());
    loop {
        let page = service.get(&format!("/api/v1/tasks/t-ann?limit=2{next}"), &token).json();
        seen += page["events"].as_array().expect("events").len();
        let Some(cursor) = page["next"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(seen, 11, "the timeline of t-ann");
}

/// Scenario: the same list as CSV and again with its entity tag; money beyond 2^53; a page of an allowed and of another origin.
/// Guarantees: rows and order are those of JSON; 304 has no body; amounts are exact texts; only the listed origin may read.
#[test]
fn forms_tags_and_origins() {
    let database = platform();
    let service = Service::start(&database, &["--cors-origin", "https://app.example"]);
    let token = service.token(Role::Buyer, "ann");
    let json = service.get("/api/v1/wallets", &token);
    assert_eq!(json.json()["items"][0]["purchased_micros"], "9007199254740993");
    let csv = service.get_with("/api/v1/wallets", &token, &[("accept", "text/csv")]);
    assert!(csv.header("content-type").starts_with("text/csv"));
    let lines: Vec<&str> = csv.body.lines().collect();
    assert_eq!(lines.len(), 2, "{}", csv.body);
    assert!(lines[0].starts_with("wallet_id,user_id,") && lines[1].starts_with("w-ann,ann,"), "{}", csv.body);
    assert!(lines[1].contains("9007199254740993"), "{}", csv.body);
    let again = service.get_with("/api/v1/wallets", &token, &[("if-none-match", json.header("etag"))]);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let limited = service.get_with("/api/v1/tasks?limit=1", &token, &[("accept", "text/csv")]);
    assert!(!limited.header("x-next-cursor").is_empty());
    let from = |origin| service.get_with("/api/v1/me", &token, &[("origin", origin)]);
    assert_eq!(from("https://app.example").header("access-control-allow-origin"), "https://app.example");
    assert_eq!(from("https://evil.example").header("access-control-allow-origin"), "");
    let problem = service.get_with("/api/v1/me", "", &[("origin", "https://app.example")]);
    assert_eq!(
        problem.header("access-control-allow-origin"),
        "https://app.example",
        "problems can be read too"
    );
}

/// Scenario: SIGTERM while a client is connected; metrics before.
/// Guarantees: requests are counted under the route's pattern, never under an id, refused ones too; the service ends with code 0 in time.
#[test]
fn it_counts_and_ends_in_good_order() {
    let database = platform();
    let mut service = Service::start(&database, &["--drain-s-max", "5"]);
    let token = service.token(Role::Admin, "ops");
    service.get("/api/v1/tasks/t-ann", &token);
    service.get("/api/v1/tasks/t-ann", "");
    service.get("/nowhere", "");
    let (_, metrics) = stage::get(&format!("{}/metrics", service.ops));
    assert!(
        metrics.contains("tally_service_requests_total{route=\"/api/v1/tasks/{task_id}\",status=\"200\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("tally_service_requests_total{route=\"/api/v1/tasks/{task_id}\",status=\"401\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("tally_service_requests_total{route=\"other\",status=\"404\"} 1"), "{metrics}");
    assert!(!metrics.contains("t-ann") && !metrics.contains("nowhere"), "{metrics}");
    let idle = TcpStream::connect(service.url.trim_start_matches("http://")).expect("a connection");
    service.tally.sigterm();
    service.tally.expect_success(Duration::from_secs(20));
    drop(idle);
}
