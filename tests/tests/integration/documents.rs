//! The examples of the documents, run as they stand there; and what the documents say of other crates.

use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;
use tally_queries::audit::JobName;
use tally_queries::audit::result::Verdict;
use tally_schemas::Topic;
use tally_tests::gateway::{Gateway, SCOPES};
use tally_tests::{Ended, MockPlatform, Process, Stage, TempFolder, eventually, python, repository, stage};

/// An example that takes longer hangs.
const RUN: Duration = Duration::from_secs(120);

fn document(name: &str) -> String {
    let path = repository().join("pipeline/docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks of that language in a document, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let blocks = text.split(&opening).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Runs a block with an interpreter, in the repository's root.
fn run(command: Command, text: &str, variables: &[(&str, &str)]) -> Ended {
    let (mut command, folder) = (command, TempFolder::new("example"));
    let path = folder.path().join("example");
    std::fs::write(&path, text).expect("an example can be written");
    command.arg(&path).current_dir(repository()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("NO_PROXY", "127.0.0.1,localhost").envs(variables.iter().copied());
    Process::spawn("example", command, folder.path()).expect_success(RUN)
}

fn sh() -> Command {
    let mut command = Command::new("sh");
    command.arg("-eu");
    command
}

/// Scenario: somebody copies the examples of `api.md` into a shell and into Python.
/// Guarantees: they do what the text around them says: calls are answered and credits move, and the event is accepted.
#[test]
fn the_examples_of_the_api_document_run() {
    let stage = Stage::shared("documents");
    let platform = MockPlatform::start(&[]);
    let gateway = Gateway::start(&stage, &platform, &[]);
    platform.grant("wallet-1", 1_000_000);
    platform.prepare(
        "licenses",
        &json!([{"license_id": "license-1", "user_id": "user-1", "quota_micros": 100_000, "expires_at": "2090-01-01T00:00:00Z"}]),
    );
    let (text, token) = (document("api.md"), gateway.token("scheduler", &format!("{SCOPES} flows:compute")));
    let at_gateway = [("GATEWAY", gateway.url.as_str()), ("TOKEN", token.as_str())];
    let ended = run(sh(), &blocks(&text, "sh").concat(), &at_gateway);
    let answers: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
        .collect();
    let has: Vec<&str> = ["license_id", "estimate_id", "charge_id", "charge_id", "refund_id", "id"].to_vec();
    assert_eq!(answers.len(), has.len(), "{}", ended.stdout);
    for (answer, id) in answers.iter().zip(has) {
        assert!(answer[id].is_string(), "{answer} has no {id}");
    }
    // the flow goes on by itself
    let moved = || -> Vec<i64> {
        platform.statement().movements.iter().map(|movement| movement.amount_micros).collect()
    };
    eventually(RUN, "the flow's last movement", || (moved().len() == 7).then_some(()));
    let [calling, publishing] = &blocks(&text, "python")[..] else { panic!("two examples for Python") };
    let python = || Command::new(python::interpreter());
    let ended = run(python(), calling, &at_gateway);
    assert!(ended.stdout.contains("'charge_id'"), "{}", ended.stdout);
    assert_eq!(moved(), [1_000_000, 20_000, 18_000, 2_000, 20_000, 15_000, 5_000, 7_000]);
    let brokers = stage.kafka.bootstrap();
    let ended =
        run(python(), publishing, &[("BROKERS", brokers), ("TALLY_KAFKA_TOPIC_PREFIX", stage.prefix())]);
    let event_id = ended.stdout.split_whitespace().next().expect("an event's id").to_owned();
    let balance = stage.catch_up(&[]);
    assert_eq!(stage::line(&balance, Topic::Task).accepted, 1, "{}", stage.reasons());
    let sql = format!(
        "SELECT count() FROM task_events_final WHERE event_id = '{event_id}' AND source = 'render-farm'"
    );
    assert_eq!(stage.number(&sql), 1);
}

/// Scenario: a job or a verdict is added, or an exit code changes.
/// Guarantees: the audit plan has each job, and each verdict with its exit code.
#[test]
fn the_audit_plan_has_every_job_and_verdict() {
    let text = document("audit.md");
    for job in tally_queries::audit::all_jobs() {
        assert!(text.contains(&format!("\n| `{}` |", JobName::name(job))), "{job:?} is not in the plan");
    }
    for verdict in Verdict::ALL {
        let row = text.lines().find(|line| line.starts_with(&format!("| {} |", verdict.name())));
        let row = row.unwrap_or_else(|| panic!("{verdict} is not in the plan"));
        let code = row.rsplit('|').nth(1).unwrap_or_default().trim();
        let code = code.chars().next().and_then(|digit| digit.to_digit(10));
        assert_eq!(code, Some(u32::from(Verdict::exit_code([verdict]))), "{row}");
    }
}
