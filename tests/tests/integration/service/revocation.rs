//! Revocation: of a token, of a subject, by command and by the API, on two replicas at once.

use super::platform::platform;
use std::time::{Duration, Instant};
use tally_dashboards::identity::Role;
use tally_tests::service::{Key, Service};
use tally_tests::{Database, Tally, eventually};

/// The promise of the contract.
const EFFECTIVE: Duration = Duration::from_secs(2);

fn status(service: &Service, token: &str) -> u16 {
    service.get("/api/v1/me", token).status
}

/// How long until a replica refuses; the clock starts once the command has said that it is written.
fn refused_after(service: &Service, token: &str) -> Duration {
    let begun = Instant::now();
    eventually(Duration::from_secs(20), "a refusal", || (status(service, token) == 401).then_some(()));
    begun.elapsed()
}

fn revoke(database: &Database<'_>, flags: &[&str]) {
    let at = [
        "token",
        "revoke",
        "--clickhouse",
        database.url(),
        "--database",
        database.name(),
        "--reason",
        "a test",
    ];
    Tally::spawn(&[&at[..], flags].concat(), &[]).expect_success(Duration::from_secs(60));
}

/// Scenario: two replicas; an admin revokes a token through one of them, the command revokes a subject, then lifts that.
/// Guarantees: each is effective on both within 2 s; other tokens stay good; a subject's later tokens are refused too, until
/// it is lifted; the token never stands in the table.
#[test]
fn a_revocation_is_effective_on_every_replica_within_two_seconds() {
    let database = platform();
    let first = Service::start(&database, &[]);
    let key = Key::new();
    let second = Service::with_key(&database, key, &[]);
    // each replica has a key of its own here: the revocation is what they share
    let (token, id) = first.key().token(Role::Buyer, "ann");
    let other = first.token(Role::Buyer, "ann");
    let admin = first.token(Role::Admin, "ops");
    assert_eq!((status(&first, &token), status(&first, &other)), (200, 200));
    let body = serde_json::json!({ "kind": "token", "value": id, "reason": "stolen" }).to_string();
    let written = first.post("/api/v1/revocations", &admin, "application/json", &body);
    assert_eq!(written.status, 201, "{}", written.body);
    let answer = first.get("/api/v1/me", &token);
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (401, "token_revoked"),
        "here it is effective at once"
    );
    assert_eq!(status(&first, &other), 200, "another token of the subject");

    let elsewhere = second.token(Role::Buyer, "ann");
    assert_eq!(status(&second, &elsewhere), 200);
    revoke(&database, &["--subject", "ann"]);
    let (here, there) = (refused_after(&first, &other), refused_after(&second, &elsewhere));
    assert!(here < EFFECTIVE && there < EFFECTIVE, "{here:?} {there:?}");
    assert_eq!(status(&second, &second.token(Role::Buyer, "ann")), 401, "a new token of a revoked subject");
    assert_eq!(status(&second, &second.token(Role::Buyer, "bob")), 200);

    revoke(&database, &["--subject", "ann", "--lift"]);
    eventually(EFFECTIVE, "the end of a revocation", || (status(&second, &elsewhere) == 200).then_some(()));
    assert_eq!(status(&first, &token), 401, "the token itself stays revoked");

    let listed = first.get("/api/v1/revocations", &admin).json();
    let listed: Vec<_> = listed["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|row| (row["value"].clone(), row["lifted"].clone()))
        .collect();
    assert_eq!(listed.len(), 3, "{listed:?}");
    let refused = [
        "token",
        "revoke",
        "--clickhouse",
        database.url(),
        "--database",
        database.name(),
        "--reason",
        "x",
        "--token",
        &token,
    ];
    let said = Tally::spawn(&refused, &[]).expect_code(3, Duration::from_secs(60)).stderr;
    assert!(said.contains("not the token itself") && !said.contains(&token), "{said}");
}
