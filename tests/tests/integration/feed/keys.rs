//! Signatures: a key that is rolled under running services, checked by an arithmetic and a key set that are not theirs.

use super::progress;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tally_dashboards::identity::Role;
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Frames, Publisher, Service};
use tally_tests::{Kafka, Stage, Tally, eventually, skip_without};

const SOON: Duration = Duration::from_secs(20);
/// From laying a key down to its first use.
const LEAD: Duration = Duration::from_secs(8);
/// Media type under which events are signed.
const TYPE: &str = "application/cloudevents+json";

type Keys = BTreeMap<String, VerifyingKey>;

/// The keys that a service publishes now.
fn published(service: &Service) -> Keys {
    let (status, body) = service.get("/.well-known/jwks.json", "");
    assert_eq!(status, 200, "{body}");
    let set: Value = serde_json::from_str(&body).expect("JSON");
    let keys = set["keys"].as_array().expect("a list").iter().map(|key| {
        assert_eq!((&key["kty"], &key["crv"], key.get("d")), (&"OKP".into(), &"Ed25519".into(), None));
        let raw = BASE64_URL_SAFE_NO_PAD.decode(key["x"].as_str().expect("x")).expect("base64url");
        let raw: [u8; 32] = raw.try_into().expect("32 bytes");
        (key["kid"].as_str().expect("a name").to_owned(), VerifyingKey::from_bytes(&raw).expect("a key"))
    });
    keys.collect()
}

/// Names of the keys that signed the next events of a stream, each of which is verified over the bytes received.
fn signers(stream: &mut dyn Frames, number: usize, keys: &Keys) -> BTreeSet<String> {
    let one = |_| {
        let frame = stream.frame("event");
        let text = |name: &str| frame[name].as_str().expect("a text");
        let (kid, payload) = (text("kid").to_owned(), text("payload"));
        let signature = BASE64_STANDARD.decode(text("sig")).expect("base64");
        let signature = Signature::from_slice(&signature).expect("64 bytes");
        let signed = format!("DSSEv1 {} {TYPE} {} {payload}", TYPE.len(), payload.len());
        let key = keys.get(&kid).expect("a published key");
        key.verify_strict(signed.as_bytes(), &signature).expect("the key's signature");
        kid
    };
    (0..number).map(one).collect()
}

/// Scenario: two services share their keys and have a stream each, of either transport; `tally feed-key` lays down a key that is
/// to be used eight seconds later; events come before, meanwhile and after. Then everything is read again.
/// Guarantees: both publish the key before its first use and sign with it from then on, over streams that stay open; every
/// signature is that of a published key; the old key stays published.
#[test]
fn a_key_is_rolled_under_running_services() {
    if skip_without(Kafka::real()) {
        return;
    }
    let (stage, desk) = (Stage::shared("feedkeys"), Desk::default());
    let publisher = Publisher::to(&stage);
    let services = [desk.serve(&stage, &[]), desk.serve(&stage, &[])];
    let token = desk.pass(Role::Buyer, "user-1");
    let (mut ws, mut sse) = (services[0].ws(&token, "now"), services[1].sse(&token, "now"));
    let hellos = [ws.frame("hello"), sse.frame("hello")];
    let old = published(&services[0]);
    assert_eq!((old.len(), published(&services[1])), (1, old.clone()));
    let old_name: BTreeSet<String> = old.keys().cloned().collect();
    let mut number = 0;
    let mut publish = |count: usize| {
        publisher.publish(Topic::Task, &progress("user-1", number, count));
        number += count;
        number
    };
    publish(5);
    assert_eq!(signers(&mut ws, 5, &old), old_name);
    assert_eq!(signers(&mut sse, 5, &old), old_name);

    let laid = Instant::now();
    let (keys, after) = (desk.feed_keys(), LEAD.as_secs().to_string());
    let mut command = Tally::spawn(&["feed-key", "--feed-keys", &keys, "--after-seconds", &after], &[]);
    let new_name = BTreeSet::from([command.expect_success(SOON).stdout.trim().to_owned()]);
    let both = eventually(SOON, "the key at both services", || {
        let [one, two] = [published(&services[0]), published(&services[1])];
        (one.len() == 2 && two == one).then_some(one)
    });
    publish(5);
    let meanwhile = [signers(&mut ws, 5, &both), signers(&mut sse, 5, &both)];
    assert!(laid.elapsed() < LEAD, "this machine is too slow to see what comes before the first use");
    assert_eq!(meanwhile, [old_name.clone(), old_name.clone()]);
    assert_eq!(both.keys().cloned().collect::<BTreeSet<_>>(), &old_name | &new_name);

    std::thread::sleep((LEAD + Duration::from_secs(2)).saturating_sub(laid.elapsed()));
    let all = publish(5);
    assert_eq!(signers(&mut ws, 5, &both), new_name);
    assert_eq!(signers(&mut sse, 5, &both), new_name);
    for service in &services {
        signers(&mut service.ws(&token, "earliest"), all, &published(service));
        assert_eq!(published(service), both);
    }
    assert!(hellos.iter().all(|hello| hello["recovered"] == true), "{hellos:?}");
}
