//! Seals, proofs and exports in an object store, with credentials from the environment.

use std::collections::BTreeMap;

use serde_json::Value;
use tally_tests::{Kafka, ObjectStore, Tally, TempFolder, skip_without};

use super::seals::{SOON, Sealed};

/// A stage whose log lies in an object store.
struct Remote {
    sealed: Sealed,
    store: ObjectStore,
}

impl Remote {
    fn new(name: &str, events: &str) -> Remote {
        Remote { sealed: Sealed::new(name, events), store: ObjectStore::start() }
    }

    fn place(&self, folder: &str) -> String {
        format!("s3://{}/{folder}", ObjectStore::BUCKET)
    }

    fn spawn(&self, command: &[&str], more: &[&str]) -> Tally {
        let arguments = [command, &self.sealed.stage.at_clickhouse(), more].concat();
        Tally::spawn(&arguments, &self.store.variables())
    }

    /// Runs a command on the log in that folder; its output.
    fn run(&self, command: &str, folder: &str, code: i32, more: &[&str]) -> String {
        let log = self.place(folder);
        self.spawn(&[command, "--seals", &log], more).expect_code(code, SOON).stdout
    }

    fn key(&self) -> String {
        self.sealed.path("key")
    }

    fn verify(&self, folder: &str, code: i32, more: &[&str]) -> String {
        let public = self.sealed.path("key.pub");
        self.run("verify", folder, code, &[&["--keys", &public][..], more].concat())
    }
}

/// Scenario: what is stored is sealed into an object store, verified whole and by samples, an event is proven and the proof checked
/// without it; more comes and is sealed; a row is altered; at last the credentials are missing.
/// Guarantees: as over a directory, and the same leaves; alteration is found; without a store the answer is 3, never 0.
#[test]
fn a_log_in_an_object_store_is_as_good_as_one_in_a_folder() {
    if skip_without(Kafka::real()) {
        return;
    }
    let remote = Remote::new("s3", "1200");
    let (key, public) = (remote.key(), remote.sealed.path("key.pub"));
    let said = remote.run("seal", "log", 0, &["--key", &key]);
    assert!(said.contains("signed checkpoint 1"), "{said}");
    assert!(remote.run("seal", "log", 0, &["--key", &key]).contains("nothing new"));
    let whole = remote.verify("log", 0, &[]);
    remote.verify("log", 0, &["--sample", "40", "--seed", "3"]);
    remote.sealed.seal("folder");
    let here = remote.sealed.verify("folder", 0, &[]);
    let counted = |said: &str| said.lines().find(|line| line.starts_with("verified")).map(str::to_owned);
    assert_eq!(counted(&whole), counted(&here));

    let event = "SELECT event_id FROM audit_log_final WHERE disposition = 'ACCEPTED' LIMIT 1";
    let event = remote.sealed.stage.database.query(event).trim().to_owned();
    let proof = remote.sealed.path("proof");
    remote.run("prove", "log", 0, &["--key", &public, &event, "--out", &proof]);
    Tally::spawn(&["prove", "--check", &proof, "--key", &public], &[]).expect_success(SOON);

    remote.sealed.take("600", "8");
    assert!(remote.run("seal", "log", 0, &["--key", &key]).contains("signed checkpoint 2"));
    remote.verify("log", 0, &[]);
    let first =
        "(topic_id, partition, offset) IN (SELECT topic_id, partition, offset FROM audit_log LIMIT 1)";
    remote.sealed.change(&format!("ALTER TABLE audit_log UPDATE actor_id = 'x' WHERE {first}"));
    remote.verify("log", 1, &[]);

    let log = remote.place("log");
    let nowhere = ["verify", "--seals", &log, "--keys", &public];
    let nowhere = [&nowhere[..], &remote.sealed.stage.at_clickhouse()].concat();
    let gone = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    let said = Tally::spawn(&nowhere, &gone).expect_code(3, SOON).stdout;
    assert!(said.contains("COULD NOT CHECK"), "{said}");
}

/// Scenario: four sealers at once on one log in an object store, five times, with new events each time.
/// Guarantees: each checkpoint was created once and never overwritten, their numbers have no hole, all sealers end well, and the log
/// verifies.
#[test]
fn sealers_in_an_object_store_do_not_overwrite_each_other() {
    if skip_without(Kafka::real()) {
        return;
    }
    let remote = Remote::new("s3-race", "300");
    let (log, key) = (remote.place("log"), remote.key());
    for round in 0..5 {
        if round > 0 {
            remote.sealed.take("150", &format!("{}", 20 + round));
        }
        let seal = || remote.spawn(&["seal", "--seals", &log, "--key", &key], &[]);
        let mut sealers = [seal(), seal(), seal(), seal()];
        sealers.iter_mut().for_each(|one| drop(one.expect_success(SOON)));
    }
    let mut versions: BTreeMap<String, u32> = BTreeMap::new();
    for key in remote.store.versions("log/checkpoints/") {
        *versions.entry(key).or_default() += 1;
    }
    versions.remove("log/checkpoints/hint");
    let expected: BTreeMap<String, u32> = (1..=5).map(|n| (format!("log/checkpoints/{n:03}"), 1)).collect();
    assert_eq!(versions, expected);
    // what is made to be overwritten is, so that the count above can see it
    assert!(
        remote.store.versions("log/checkpoint").iter().filter(|key| *key == "log/checkpoint").count() >= 5
    );
    remote.verify("log", 0, &[]);
}

/// Scenario: the tables are exported into an object store, and into a folder; every job is run over both, and one over the object store
/// in a limit of memory, which has its files read where they lie and not brought near.
/// Guarantees: the same verdicts, counters and offenders; a second export into the same place is refused.
#[test]
fn an_export_in_an_object_store_says_what_one_in_a_folder_says() {
    if skip_without(Kafka::real()) {
        return;
    }
    let remote = Remote::new("s3-export", "1500");
    let folder = TempFolder::new("export");
    let (there, here) = (remote.place("export"), folder.path().join("parquet").display().to_string());
    for place in [&there, &here] {
        remote.spawn(&["audit", "export", "--out", place], &[]).expect_success(SOON);
    }
    let judged = |what: &[&str], place: &str| {
        let all = [&["audit"], what, &["--parquet", place, "--format", "json"]].concat();
        let task_topic = remote.sealed.stage.at_kafka();
        let ended =
            Tally::spawn(&[&all[..], &task_topic[2..]].concat(), &remote.store.variables()).end_within(SOON);
        let said: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error} in {}\n{}", ended.stdout, ended.stderr));
        let results = said["results"].as_array().expect("results").iter();
        let parts = ["job", "verdict", "counters", "offenders"];
        results.map(|result| parts.map(|part| result[part].clone())).collect::<Vec<_>>()
    };
    let (one, other) = (judged(&["all"], &there), judged(&["all"], &here));
    assert_eq!(one.len(), 8);
    assert_eq!(one, other);
    assert!(one.iter().all(|result| result[1] != "ERROR"), "{one:#?}");
    assert_eq!(remote.store.parts_read(), 0, "files were brought near whole");
    let far = judged(&["balances", "--memory-limit", "512MB"], &there);
    assert!(remote.store.parts_read() > 0, "files are read where they lie");
    assert_eq!(Some(&far[0]), one.iter().find(|result| result[0] == far[0][0]));
    let again = remote.spawn(&["audit", "export", "--out", &there], &[]).expect_code(3, SOON);
    assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
}
