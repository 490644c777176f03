//! Rows a second of the reconciliation. Not a test: `make bench` runs it, in release, and prints.

use super::bench_rows::{STEP, fill};
use serde_json::Value;
use std::time::{Duration, Instant};
use tally_queries::audit::{Auditor, Limits, Settings, Source};
use tally_queries::catalog::{Place, open_parquet};
use tally_tests::{ClickHouse, Tally, TempFolder};

/// The limit that is held.
const LIMIT_BYTES: usize = 512 << 20;
/// Tasks, each with one receipt.
const TASKS: [u32; 2] = [1_000_000, 10_000_000];
/// How often each is measured; the median is told.
const ROUNDS: usize = 3;
/// How often a process is asked for its memory.
const LOOK: Duration = Duration::from_millis(20);

/// Every task with its receipt, and those without one or the other: what a reconciliation is without its rules.
const JOIN: &str = "SELECT count(*) AS tasks, sum(CASE WHEN a.task_id IS NULL OR t.task_id IS NULL THEN 1 ELSE 0 END) AS unmatched
    FROM (SELECT task_id FROM task_events) AS t FULL JOIN
    (SELECT task_id FROM audit_log WHERE topic = 'task-events' AND disposition = 'ACCEPTED') AS a ON a.task_id = t.task_id";

/// A million and ten million tasks against as many receipts: `tally audit completeness` of an export and of ClickHouse, with and
/// without a limit; beside it the plain FULL JOIN of the same engine over the same files, by hash and by merging sorted runs.
#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_reconciliation() {
    for tasks in TASKS {
        let database = ClickHouse::shared().database();
        fill(&database, tasks);
        let store = ["--clickhouse", database.url(), "--database", database.name(), "--no-record"];
        let folder = TempFolder::new("bench-audit");
        let place = folder.path().join("parquet").display().to_string();
        let began = Instant::now();
        let export = [&["audit", "export", "--out", &place][..], &store[..4]].concat();
        Tally::spawn(&export, &[]).expect_success(STEP);
        println!("{tasks} tasks, {} input rows; load {}", 2 * tasks, load());
        println!("  export: {:.1} s", began.elapsed().as_secs_f64());
        let limit = format!("{}MB", LIMIT_BYTES >> 20);
        for memory in [&[][..], &["--memory-limit", &limit]] {
            judged(tasks, &[&["--parquet", &place][..], memory].concat());
            judged(tasks, &[&store[..], memory].concat());
        }
        for (memory, by_hash) in [(None, true), (Some(LIMIT_BYTES), true), (Some(LIMIT_BYTES), false)] {
            joined(tasks, &place, memory, by_hash);
        }
        println!("  load {}", load());
    }
}

/// Runs the job and tells how long its plans took, how long the job as a whole with its second opinion, and its memory.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn judged(tasks: u32, input: &[&str]) {
    let arguments = [&["audit", "completeness", "--format", "json"][..], input].concat();
    let (mut plans, mut jobs, mut most, mut spilled) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..ROUNDS {
        let mut tally = Tally::spawn(&arguments, &[("TALLY_LOG", "tally_queries=debug")]);
        while tally.try_wait().is_none() {
            most = most.max(memory_kib(tally.id()));
            std::thread::sleep(LOOK);
        }
        let ended = tally.expect_success(STEP);
        let said: Value = serde_json::from_str(&ended.stdout).expect("a report");
        let result = &said["results"][0];
        assert_eq!(result["counters"]["population"], tasks, "{result:#}");
        assert_eq!((&result["verdict"], &result["cross_check"]["agrees"]), (&"PASS".into(), &true.into()));
        let others = ["check.sql", "letters_again.sql"]; // the second opinion
        let own = ended
            .stderr
            .lines()
            .filter(|line| line.contains("elapsed_us=") && !others.iter().any(|text| line.contains(text)));
        let own: Vec<&str> = own.collect();
        plans.push(own.iter().map(|line| field(line, "elapsed_us=")).sum::<u64>() / 1000);
        spilled = own.iter().map(|line| field(line, "spilled_bytes=")).sum::<u64>() >> 20;
        jobs.push(result["duration_ms"].as_u64().expect("a number"));
    }
    let (plan, job) = (median(plans), median(jobs));
    let rate = u64::from(2 * tasks) * 1000 / plan.max(1);
    println!(
        "  {:<12}{:<8} plan {plan} ms, {rate} input rows/s; job with its second opinion {job} ms; spilled {spilled} MiB; process at most {} MiB",
        input[0].trim_start_matches("--"),
        if input.contains(&"--memory-limit") { "limited" } else { "" },
        most >> 10
    );
}

/// Runs the plain join over the export.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
#[tokio::main]
async fn joined(tasks: u32, place: &str, memory_bytes_max: Option<usize>, by_hash: bool) {
    let place = Place::open(place).expect("a place");
    let snapshot = open_parquet(&place).await.expect("an export");
    let limits = Limits { memory_bytes_max, ..Limits::default() };
    let auditor =
        Auditor::new(Source::Parquet(place), snapshot, Settings::default(), &limits).expect("a session");
    let context = auditor.context();
    let choose = format!("SET datafusion.optimizer.prefer_hash_join = {by_hash}");
    context.sql(&choose).await.expect("a setting").collect().await.expect("set");
    let name = format!(
        "{} join{}",
        if by_hash { "hash" } else { "merge" },
        if memory_bytes_max.is_some() { " limited" } else { "" }
    );
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        match context.sql(JOIN).await.expect("a plan").collect().await {
            Ok(batches) => {
                let rows = batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
                assert_eq!(rows, 1);
                times.push(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            }
            Err(error) => {
                let said = error.to_string();
                return println!(
                    "  {name}: fails after {} ms: {:.120}",
                    began.elapsed().as_millis(),
                    said.replace('\n', " ")
                );
            }
        }
    }
    let time = median(times);
    println!("  {name}: {time} ms, {} input rows/s", u64::from(2 * tasks) * 1000 / time.max(1));
}

fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all[all.len() / 2]
}

/// The number after a name in a line of the log.
fn field(line: &str, name: &str) -> u64 {
    let rest = line.split(name).nth(1).unwrap_or_default();
    rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn memory_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// The load of the machine: figures of a busy one are lower.
fn load() -> String {
    std::fs::read_to_string("/proc/loadavg")
        .unwrap_or_default()
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned()
}
