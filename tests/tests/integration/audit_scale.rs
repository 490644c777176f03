//! The audit under a memory limit, and on several machines: the same answer, or none.

use std::time::Duration;

use serde_json::Value;
use tally_tests::{ClickHouse, Database, Tally, TempFolder, eventually};

/// A job in a debug build beside other work.
const AUDIT: Duration = Duration::from_secs(240);
const START: Duration = Duration::from_secs(60);
/// Tasks of the store: three events and three receipts each.
const TASKS: u32 = 40_000;

/// A store of so many tasks, two of which (1000 and 2001) have no receipts.
pub(crate) fn store(tasks: u32) -> Database<'static> {
    let database = ClickHouse::shared().database();
    let at = ["--clickhouse", database.url(), "--database", database.name()];
    Tally::spawn(&[&["migrate"][..], &at].concat(), &[]).expect_success(START);
    let row = "WITH intDiv(number, 3) AS n, number % 3 AS v, toDateTime64('2026-11-01 00:00:00', 6, 'UTC') + toIntervalSecond(n) AS at,
        concat('t-', lower(hex(sipHash64(n)))) AS task, reinterpretAsUUID(sipHash128(number)) AS id, SHA256(toString(number)) AS hash,
        toUUID('00000000-0000-0000-0000-000000000001') AS topic_id, ['SUBMITTED', 'STARTED', 'SUCCEEDED'][v + 1] AS said";
    database.query(&format!(
        "INSERT INTO task_events (event_id, occurred_at, source, policy_tag, actor_role, task_id, kind, queue, state_version, audience,
            topic, topic_id, partition, offset, appended_at, digest, rank)
        {row} SELECT id, at, 's', 'GENERAL_USE', 'BUYER', task, said, 'NORMAL', v + 1, 'CUSTOMER',
            'task-events', topic_id, 0, number, at, hash, 1 FROM numbers({tasks} * 3)"
    ));
    database.query(&format!(
        "INSERT INTO audit_log (topic, topic_id, partition, offset, appended_at, disposition, raw_sha256, digest, event_id, occurred_at,
            source, kind, policy_tag, actor_role, task_id)
        {row} SELECT 'task-events', topic_id, 0, number, at, 'ACCEPTED', hash, hash, id, at, 's', said, 'GENERAL_USE', 'BUYER', task
        FROM numbers({tasks} * 3) WHERE n NOT IN (1000, 2001)"
    ));
    database.query(&format!(
        "INSERT INTO partition_heads SELECT 'task-events', toUUID('00000000-0000-0000-0000-000000000001'), 0, 0, {tasks} * 3, {tasks} * 3, now64(3), 1"
    ));
    database
}

/// Verdict, figures and offenders of completeness and offsets; and what they logged.
fn judged(job: &str, input: &[&str], more: &[&str]) -> (Value, String) {
    let arguments = [&["audit", job, "--format", "json"][..], input, more].concat();
    let ended = Tally::spawn(&arguments, &[("TALLY_LOG", "tally_queries=debug,info")]).end_within(AUDIT);
    let said: Value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error} in {}\n{}", ended.stdout, ended.stderr));
    let mut result = said["results"][0].clone();
    let named = result.as_object_mut().expect("a result");
    named.retain(|name, _| {
        ["verdict", "sentence", "counters", "offenders", "offenders_total"].contains(&name.as_str())
    });
    (result, ended.stderr)
}

fn worker(input: &[&str]) -> (Tally, String) {
    let arguments = [&["audit", "worker", "--listen", "127.0.0.1:0"][..], input].concat();
    let worker = Tally::spawn(&arguments, &[]);
    let address = eventually(START, "the address of a worker", || {
        worker.stdout().strip_prefix("worker: ").map(|rest| rest.trim().to_owned())
    });
    (worker, address)
}

/// Scenario: completeness and offsets of one store: from ClickHouse and from its export, alone, in little memory, and by two workers.
/// Then one worker is gone.
/// Guarantees: the planted losses and nothing else, whichever way; the limit is kept by spilling, and with files by reading a few
/// buckets at a time; plans are distributed; a worker that is gone is an ERROR that names it.
#[test]
fn the_same_answer_in_little_memory_and_on_workers() {
    let store = store(TASKS);
    let at_store = ["--clickhouse", store.url(), "--database", store.name()];
    let folder = TempFolder::new("export");
    let place = folder.path().join("parquet").display().to_string();
    Tally::spawn(&[&["audit", "export", "--out", &place][..], &at_store].concat(), &[]).expect_success(AUDIT);
    let clickhouse = [&at_store[..], &["--no-record"]].concat();
    let (first, first_at) = worker(&at_store);
    let (mut second, second_at) = worker(&at_store);
    let workers = format!("{first_at},{second_at}");

    // offsets is the plan with the most operators, each of which wants its share
    for (job, memory) in [("completeness", "16MB"), ("offsets", "160MB")] {
        let (alone, _) = judged(job, &clickhouse, &[]);
        assert_eq!(alone["verdict"], "FAIL", "{alone:#}");
        if job == "completeness" {
            let expected = [("population", i64::from(TASKS)), ("missing_audit", 2), ("incomplete", 2)];
            for (name, count) in expected {
                assert_eq!(alone["counters"][name], count, "{name}");
            }
        }
        for input in [&clickhouse[..], &["--parquet", &place]] {
            let (little, log) = judged(job, input, &["--memory-limit", memory]);
            assert_eq!(little, alone, "{job} of {input:?} in little memory\n{log}");
            // of files a pass takes so few buckets that nothing need be spilled
            if job == "completeness" && input != ["--parquet", &place] {
                let spilled =
                    log.lines().any(|line| line.contains(" spills=") && !line.contains(" spills=0 "));
                assert!(spilled, "nothing was spilled\n{log}");
            }
            let (shared, log) = judged(job, input, &["--workers", &workers]);
            assert_eq!(shared, alone, "{job} of {input:?} on workers\n{log}");
            assert!(log.contains("DistributedExec"), "{log}");
        }
    }
    second.sigkill();
    let (gone, _) = judged("completeness", &["--parquet", &place], &["--workers", &workers]);
    assert_eq!(gone["verdict"], "ERROR", "{gone:#}");
    let sentence = gone["sentence"].as_str().unwrap_or_default();
    assert!(sentence.contains(&format!("Workers that do not answer: {second_at}.")), "{sentence}");
    drop(first);
}
