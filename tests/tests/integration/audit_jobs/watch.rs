//! `tally audit watch`: each closed window judged once, whatever happens to the watcher.
#![expect(clippy::print_stdout, reason = "the seed of a failed run must be seen")]

use super::super::kill::{Moments, seed};
use super::ledger::{HOUR, Ledger, MINUTE, RUN, Record, T0};
use std::collections::BTreeSet;
use std::time::Duration;
use tally_tests::{Tally, eventually};

/// Eight jobs over three windows.
const RESULTS: usize = 24;
const JOBS: usize = 8;
/// Kills of one test; it ends earlier where all is recorded.
const KILLS_MAX: u32 = 12;
const SOON: Duration = Duration::from_secs(240);

/// Four hours with a task each; with 04:00 seen and one hour of grace the windows up to 03:00 are closed.
fn hours() -> Ledger {
    let mut ledger = Ledger::new();
    for hour in 0..4 {
        ledger.put(Record::task(&format!("t{hour}"), "SUBMITTED", 1, T0 + hour * HOUR + MINUTE));
    }
    ledger.seen_at(T0 + 4 * HOUR);
    ledger
}

fn watch(ledger: &Ledger, more: &[&str]) -> Tally {
    let watch = ["audit", "watch", "--listen", "127.0.0.1:0", "--round-seconds", "1"];
    Tally::spawn(&[&watch[..], &ledger.at(), more].concat(), &[])
}

/// Job and window of each recorded result.
fn recorded(ledger: &Ledger) -> Vec<String> {
    let sql = "SELECT job, toString(window_from), toString(window_to) FROM job_results_final";
    ledger.database.query(sql).lines().map(str::to_owned).collect()
}

/// Holds the history to one result for each job and closed window.
fn each_once(ledger: &Ledger) {
    let all = recorded(ledger);
    let different: BTreeSet<&String> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (RESULTS, RESULTS), "{all:#?}");
    let end = |line: &&String| line.ends_with("2026-03-02 03:00:00.000000");
    assert_eq!(different.iter().filter(|line| end(line)).count(), JOBS);
}

/// Scenario: three of four windows are closed; watch runs once, and once more; then an event of the first window comes
/// late and shows a hole.
/// Guarantees: each closed window of each job is recorded once; the open one is not; a late event restates one result.
#[test]
fn each_closed_window_is_judged_once() {
    let mut ledger = hours();
    for _ in 0..2 {
        watch(&ledger, &["--once"]).expect_success(RUN);
        each_once(&ledger);
    }
    ledger.put(Record::task("t0", "STARTED", 3, T0 + 2 * MINUTE));
    ledger.seen_at(T0 + 4 * HOUR);
    watch(&ledger, &["--once"]).expect_success(RUN);
    let restated = "SELECT job, toString(window_from), verdict FROM job_results_final
        WHERE restates != toUUID('00000000-0000-0000-0000-000000000000') AND job = 'completeness'";
    assert_eq!(ledger.database.query(restated), "completeness\t2026-03-02 00:00:00.000000\tFAIL\n");
}

/// Scenario: watch is killed as soon as it has recorded something, and started again.
/// Guarantees: it ends up with each closed window judged once, and shows the verdict of the latest one of each job.
#[test]
fn a_killed_watcher_goes_on() {
    let ledger = hours();
    let mut killed = watch(&ledger, &[]);
    eventually(SOON, "a first result", || (!recorded(&ledger).is_empty()).then_some(()));
    killed.sigkill();
    assert!(recorded(&ledger).len() < RESULTS, "it was killed in the middle");
    let mut watching = watch(&ledger, &[]);
    eventually(SOON, "all results", || (recorded(&ledger).len() >= RESULTS).then_some(()));
    let metrics = eventually(SOON, "the verdicts of all jobs", || {
        assert!(watching.is_running(), "watch ended\n{}", watching.log_tail());
        let log = watching.stderr();
        let (_, rest) = log.split_once("verdicts are served")?;
        let (line, _) = rest.split_once('\n')?;
        let address = line.split_once("address=")?.1.split_whitespace().next()?;
        let mut page = ureq::get(format!("http://{address}/metrics")).call().ok()?;
        let page = page.body_mut().read_to_string().ok()?;
        (page.matches("tally_audit_verdict{audit=").count() == JOBS).then_some(page)
    });
    // one whole task an hour; nothing else happened; 2026-03-02T03:00Z, if the round has come to its end
    assert!(metrics.contains("tally_audit_verdict{audit=\"completeness\"} 0\n"), "{metrics}");
    assert!(metrics.contains("tally_audit_verdict{audit=\"offsets\"} 0\n"), "{metrics}");
    assert!(metrics.contains("tally_audit_verdict{audit=\"sla\"} 2\n"), "{metrics}");
    watching.sigterm();
    watching.expect_success(RUN);
    each_once(&ledger);
}

/// Scenario: watch is killed again and again, each time a random moment after its start; then it runs to its end.
/// Guarantees: whatever it had recorded by then stands, each closed window of each job once; nothing is recorded twice or torn.
#[test]
fn a_watcher_killed_at_random_moments_goes_on() {
    let seed = seed();
    println!("TALLY_TEST_SEED={seed} repeats these moments");
    let mut moments = Moments(seed);
    let ledger = hours();
    let (mut kills, mut before) = (0, 0);
    while kills < KILLS_MAX && recorded(&ledger).len() < RESULTS {
        let mut watching = watch(&ledger, &[]);
        std::thread::sleep(Duration::from_millis(300 + moments.below(2_500)));
        assert!(watching.is_running(), "watch ended by itself\n{}", watching.log_tail());
        watching.sigkill();
        kills += 1;
        let all = recorded(&ledger);
        let different: BTreeSet<&String> = all.iter().collect();
        assert_eq!(all.len(), different.len(), "after kill {kills}: {all:#?}");
        assert!(all.len() >= before, "what was recorded stands");
        before = all.len();
    }
    assert!(kills > 1, "it was done before it was killed twice");
    watch(&ledger, &["--once"]).expect_success(RUN);
    each_once(&ledger);
}
