//! The auditor is audited: harms of every kind, each found by its id, and nothing else; and a blind auditor is told from a
//! seeing one.

use std::time::Duration;

use serde_json::Value;
use tally_tests::{ClickHouse, Tally, TempFolder};

/// Two worlds, four turns of the route and six audits, in a debug build beside other work.
const SELF_TEST: Duration = Duration::from_secs(300);

/// Scenario: all harms of one seed, in scratch databases on a server that is there already.
/// Guarantees: every injection of every class is found, nothing else is, every way of leading the comparison astray is
/// noticed; and no scratch database is left.
#[test]
fn every_harm_is_found_and_nothing_else() {
    let data = TempFolder::new("self-test");
    let store = ClickHouse::start(data.path());
    let folder = data.path().to_str().expect("paths are text");
    let flags = ["audit", "self-test", "--seed", "7", "--events", "3000", "--json", "--data", folder];
    let ended = Tally::spawn(&flags, &[]).expect_success(SELF_TEST);
    let report: Value = serde_json::from_str(&ended.stdout).expect("a report");
    assert_eq!(report["verdict"], "PASS");
    let classes = report["classes"].as_array().expect("classes");
    assert_eq!(classes.len(), 7, "every class: {classes:?}");
    for class in classes {
        assert!(class["injected"].as_u64() >= Some(6), "several of each: {class}");
        assert_eq!(class["injected"], class["found"], "{class}");
    }
    assert!(report["probe"]["tried"].as_u64() > Some(100), "{}", report["probe"]);
    assert_eq!(report["probe"]["tried"], report["probe"]["noticed"]);
    assert_eq!(store.query("SELECT count() FROM system.databases WHERE name LIKE 'tally_self_test%'"), "0\n");
    store.stop();
}

/// Scenario: rows are lost, and the audit keeps one finding of `verify` to itself.
/// Guarantees: exit code 1, exactly one injection is missed, and it is named; the scratch databases are gone here, too.
#[test]
fn a_blind_audit_fails_its_self_test() {
    let data = TempFolder::new("self-test-blind");
    let store = ClickHouse::start(data.path());
    let folder = data.path().to_str().expect("paths are text");
    let flags = ["audit", "self-test", "--seed", "3", "--events", "3000", "--classes", "loss", "--json"];
    let mut blind = Tally::spawn(&[&flags[..], &["--blind", "verify", "--data", folder]].concat(), &[]);
    let ended = blind.expect_code(1, SELF_TEST);
    let report: Value = serde_json::from_str(&ended.stdout).expect("a report");
    assert_eq!(report["verdict"], "FAIL");
    let missed = report["missed"].as_array().expect("what was missed");
    assert_eq!(missed.len(), 1, "{missed:?}");
    assert_eq!(missed[0]["expected"][0]["job"], "verify");
    assert_eq!(report["classes"][0]["missed"], 1);
    assert_eq!(store.query("SELECT count() FROM system.databases WHERE name LIKE 'tally_self_test%'"), "0\n");
    store.stop();
}
