//! Proofs in a stranger's hand, checked by code that is not ours.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tally_tests::{Kafka, Tally, skip_without};

use super::seals::{SOON, Sealed};

/// Scenario: an event's proof is made, and checked in an empty folder with nothing but the public key; then it is
/// changed, given one record twice, and checked with another key.
/// Guarantees: it holds, and only then. Its paths hold by `ct-merkle`, its signature by OpenSSL: neither is ours.
#[test]
fn a_proof_holds_for_strangers() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("proof", "3000");
    sealed.seal("log");
    let twice = "SELECT event_id FROM audit_log_final WHERE disposition = 'ACCEPTED' GROUP BY event_id HAVING count() > 1 LIMIT 1";
    let event = sealed.stage.database.query(twice).trim().to_owned();
    let (file, key) = (sealed.path("proof"), sealed.path("key.pub"));
    sealed.run("prove", "log", 0, &["--key", &key, &event, "--out", &file]);
    let check = |file: &str, key: &str, code| {
        Tally::spawn(&["prove", "--check", file, "--key", key], &[]).expect_code(code, SOON).stdout
    };
    assert!(check(&file, &key, 0).contains(&event));
    let text = fs::read_to_string(&file).expect("a proof");
    let proof: Value = serde_json::from_str(&text).expect("a proof is JSON");
    let records = proof["records"].as_array().expect("records");
    assert_eq!(records.len(), 2, "the duplicate is proven too");
    for field in ["leaf", "content", "head", "inclusion"] {
        let mut changed = proof.clone();
        let value = &mut changed["records"][1][field];
        let place = if value.is_array() { &mut value[0] } else { value };
        let old = place.as_str().expect("text").to_owned();
        let middle = old.len() / 2;
        let other = if &old[middle..=middle] == "A" { "B" } else { "A" };
        *place = Value::from(format!("{}{other}{}", &old[..middle], &old[middle + 1..]));
        let changed_file = sealed.path("changed");
        fs::write(&changed_file, changed.to_string()).expect("a file");
        check(&changed_file, &key, 1);
    }
    for again in [&records[..1], &[records[1].clone(), records[0].clone()]] {
        let mut changed = proof.clone();
        changed["records"] = [again, &records[..1]].concat().into();
        let changed_file = sealed.path("changed");
        fs::write(&changed_file, changed.to_string()).expect("a file");
        check(&changed_file, &key, 1);
    }
    sealed.keygen("other");
    check(&file, &sealed.path("other.pub"), 3);

    let note = proof["checkpoint"].as_str().expect("a note");
    let (body, signature) = note.split_once("\n\n").expect("a signed note");
    let body = format!("{body}\n");
    let lines: Vec<&str> = body.lines().collect();
    for record in records {
        let head: Vec<&str> = record["head"].as_str().expect("a head").split(' ').collect();
        let leaf = unbase64(record["leaf"].as_str().expect("a leaf"));
        included(&leaf, record, ("index", "inclusion"), (head[4], head[6]));
        let head = format!("tally head 1\n{}", head.join(" "));
        included(head.as_bytes(), record, ("head_index", "head_inclusion"), (lines[1], lines[2]));
    }
    let public = fs::read_to_string(&key).expect("a key");
    let public = unbase64(public.trim().splitn(3, '+').nth(2).expect("a key"));
    let signature = unbase64(signature.trim().rsplit(' ').next().expect("a signature"));
    // SubjectPublicKeyInfo of an Ed25519 key (RFC 8410) is this prefix and the key
    let prefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    fs::write(sealed.path("der"), [&prefix[..], &public[1..]].concat()).expect("a file");
    fs::write(sealed.path("sig"), &signature[4..]).expect("a file");
    let openssl = |body: &str| {
        fs::write(sealed.path("body"), body).expect("a file");
        let mut openssl = Command::new("openssl");
        openssl.args([
            "pkeyutl",
            "-verify",
            "-pubin",
            "-keyform",
            "DER",
            "-rawin",
            "-inkey",
            &sealed.path("der"),
        ]);
        let ran = openssl.args(["-sigfile", &sealed.path("sig"), "-in", &sealed.path("body")]).output();
        ran.expect("openssl runs").status.success()
    };
    assert!(openssl(&body), "OpenSSL verifies the checkpoint");
    assert!(!openssl(&body.replacen("leaves", "Leaves", 1)), "and no other");
}

fn included(leaf: &[u8], record: &Value, (index, path): (&str, &str), (size, root): (&str, &str)) {
    use ct_merkle::{InclusionProof, RootHash};
    let path = record[path].as_array().expect("a path").iter();
    let path: Vec<u8> = path.flat_map(|hash| unbase64(hash.as_str().expect("a hash"))).collect();
    let proof = InclusionProof::<sha2::Sha256>::try_from_bytes(path).expect("a path");
    let root: [u8; 32] = unbase64(root).try_into().expect("a root");
    let root = RootHash::<sha2::Sha256>::new(root.into(), size.parse().expect("a size"));
    let index = record[index].as_u64().expect("an index");
    root.verify_inclusion(&leaf, index, &proof).expect("ct-merkle finds the leaf in the tree");
    assert!(root.verify_inclusion(&b"another".as_slice(), index, &proof).is_err());
}

/// RFC 4648, so that nothing of ours reads what is checked here.
fn unbase64(text: &str) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for symbol in text.bytes().filter(|byte| *byte != b'=') {
        let value = alphabet.iter().position(|one| *one == symbol).expect("base64");
        bits = (bits << 6) | u32::try_from(value).expect("small");
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).expect("a byte"));
        }
    }
    bytes
}
