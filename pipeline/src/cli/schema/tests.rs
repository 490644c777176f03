use super::{CheckArgs, hold, read_folder, run_check, subject};
use std::process::ExitCode;
use tally_schemas::{Contract, Topic, latest, versions};

fn is(code: ExitCode, expected: u8) -> bool {
    format!("{code:?}") == format!("{:?}", ExitCode::from(expected))
}

/// Scenario: the operator checks the committed contracts, then a candidate that removes a required field, then a
/// good one, then something that is no schema.
/// Guarantees: 0, 1, 0, 1.
#[test]
fn exit_codes_of_check() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("candidate.avsc");
    let check = |text: Option<&str>| {
        let named = text.map(|text| {
            std::fs::write(&file, text).expect("written");
            file.clone()
        });
        let topic = named.is_some().then_some(Topic::Task);
        run_check(&CheckArgs { file: named, topic, dir: None }).expect("a verdict")
    };
    assert!(is(check(None), 0));
    let mut schema: serde_json::Value = serde_json::from_str(&latest(Topic::Task).json).expect("JSON");
    assert!(is(check(Some(&schema.to_string())), 0));
    schema["fields"].as_array_mut().expect("fields").retain(|field| field["name"] != "state_version");
    assert!(is(check(Some(&schema.to_string())), 1));
    assert!(is(check(Some("{")), 1));
}

/// Scenario: contracts are checked out of a folder, with a foreign name or a hole in the numbers.
/// Guarantees: the folder is read by topic and version; a wrong name and a hole are errors.
#[test]
fn a_folder_of_contracts() {
    let dir = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    assert!(read_folder(dir.path()).is_err());
    for contract in versions(Topic::Credit) {
        write(&format!("credit-events.v{}.avsc", contract.version), &contract.json);
    }
    write("notes.txt", "ignored");
    let read = read_folder(dir.path()).expect("three contracts");
    assert_eq!(read.iter().map(|contract| contract.version).collect::<Vec<_>>(), [1, 2, 3]);
    let args = CheckArgs { file: None, topic: None, dir: Some(dir.path().to_owned()) };
    assert!(is(run_check(&args).expect("a verdict"), 0));
    write("credit-events.v5.avsc", &latest(Topic::Credit).json);
    let error = read_folder(dir.path()).expect_err("a hole").to_string();
    assert!(error.contains("credit-events version 4 is missing"), "{error}");
    write("credit-events.v4.avsc", &latest(Topic::Credit).json);
    write("orders.v1.avsc", "{}");
    assert!(read_folder(dir.path()).expect_err("a foreign name").to_string().contains("orders.v1.avsc"));
}

/// Scenario: a tag is appended to the policy tags.
/// Guarantees: a notice does not refuse the candidate; a removed tag does.
#[test]
fn tags_may_grow() {
    let earlier: Vec<&Contract> = versions(Topic::Moderation).collect();
    let with = |from: &str, to: &str| {
        let text = latest(Topic::Moderation).json.replace(from, to);
        Contract::parse(Topic::Moderation, 2, &text).expect("a schema")
    };
    assert_eq!(hold("the candidate", &with(r#""BILLING"]"#, r#""BILLING", "NEW"]"#), &earlier), 0);
    assert_eq!(hold("the candidate", &with(r#", "BILLING"]"#, "]"), &earlier), 1);
}

/// Scenario: topics carry a prefix.
/// Guarantees: so do the subjects.
#[test]
fn subjects() {
    assert_eq!(subject("eu.", Topic::License), "eu.license-events-value");
}
