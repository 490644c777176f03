//! Proofs over the API, from a log that was really sealed.

use crate::integration::seals::{SOON, Sealed};
use std::fs;
use tally_dashboards::identity::Role;
use tally_tests::service::Service;
use tally_tests::{Kafka, Tally, skip_without};

/// Scenario: a charge of a simulated platform was sealed; its buyer, another buyer, a moderator and an admin ask for the
/// proof; then an event that there is none of is asked for.
/// Guarantees: the buyer's and the admin's are proofs that hold offline; the others hear that there is no such thing.
#[test]
fn a_proof_is_for_those_who_see_the_event_in_full() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("proof-api", "3000");
    sealed.seal("log");
    let database = &sealed.stage.database;
    let charge = "SELECT event_id, user_id FROM credit_events_final WHERE kind = 'CHARGED' AND user_id != '' ORDER BY event_id LIMIT 1";
    let row = database.query(charge);
    let (event, user) = row.trim().split_once('\t').expect("a charge");
    let service =
        Service::start(database, &["--seals", &sealed.path("log"), "--seal-keys", &sealed.path("key.pub")]);
    let path = format!("/api/v1/proofs/{event}");
    for (role, subject, status) in [
        (Role::Buyer, user, 200),
        (Role::Admin, "ops", 200),
        (Role::Buyer, "another", 404),
        (Role::Creator, user, 404),
        (Role::Moderator, "m", 404),
        (Role::Service, "s", 403),
    ] {
        let answer = service.get(&path, &service.token(role, subject));
        assert_eq!(answer.status, status, "{role}: {}", answer.body);
        if status == 200 {
            let file = sealed.path("from-the-api");
            fs::write(&file, &answer.body).expect("a file");
            let check = ["prove", "--check", &file, "--key", &sealed.path("key.pub")];
            assert!(Tally::spawn(&check, &[]).expect_code(0, SOON).stdout.contains(event));
        }
    }
    let admin = service.token(Role::Admin, "ops");
    assert_eq!(service.get("/api/v1/proofs/00000000-0000-7000-8000-000000000000", &admin).status, 404);
    let seals = service.get("/api/v1/seals", &admin).json();
    assert_eq!(seals["items"].as_array().map(Vec::len), Some(1), "{seals}");
}
