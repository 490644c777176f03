//! The same rows as Parquet, and a store that does not answer.

use super::ledger::{FIRST_DAY, Ledger, RUN, Record, Said, T0, said};
use super::{accuracy, completeness, money, offsets, repurchase, service};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use tally_tests::{Tally, TempFolder, free_port};

const JOBS: [&str; 8] =
    ["offsets", "completeness", "accuracy", "stability", "repurchase", "realtime", "balances", "sla"];

/// What a result says, without when, where and how long.
fn substance(said: &Said) -> Vec<Value> {
    let told = [
        "job",
        "verdict",
        "sentence",
        "window",
        "numerator",
        "denominator",
        "measures",
        "counters",
        "offenders",
        "offenders_total",
    ];
    let one = |result: &Value| told.iter().map(|name| ((*name).to_owned(), result[name].clone())).collect();
    said.results.iter().map(one).collect()
}

/// Every job over the store and over an export of it; gives what both said.
fn both_ways(ledger: &Ledger, more: &[&str]) -> Said {
    let folder = TempFolder::new("export");
    let out = folder.path().join("parquet");
    let out = out.to_str().expect("paths are text");
    let export = [&["audit", "export", "--out", out][..], &ledger.at()].concat();
    Tally::spawn(&export, &[]).expect_success(RUN);
    let here = ledger.audit("all", more);
    let there = said(&[&["audit", "all", "--parquet", out][..], more].concat());
    let jobs: Vec<&str> = here.results.iter().filter_map(|result| result["job"].as_str()).collect();
    assert_eq!(jobs, JOBS, "{}", here.stderr);
    assert_eq!(substance(&here), substance(&there), "{}", there.stderr);
    assert_eq!(here.code, there.code);
    for result in here.results.iter().chain(&there.results) {
        assert_eq!(result["cross_check"]["agrees"], true, "{result:#}");
    }
    // an export is never mixed with another
    let again = Tally::spawn(&export, &[]).end_within(RUN);
    assert!(again.status.code() == Some(3) && again.stderr.contains("is not empty"), "{}", again.stderr);
    here
}

/// Scenario: the stories of all jobs in one store; exported; every job over both.
/// Guarantees: the same windows, counters, verdicts, offenders, sentences and exit code; both ways have a second opinion.
#[test]
fn an_export_says_what_the_store_says() {
    let mut ledger = Ledger::new();
    completeness::stories(&mut ledger);
    accuracy::stories(&mut ledger);
    repurchase::stories(&mut ledger);
    money::stories(&mut ledger);
    offsets::stories(&mut ledger);
    service::cases(&mut ledger);
    service::deliveries(&mut ledger);
    ledger.ended();
    let said = both_ways(&ledger, &[&FIRST_DAY[..], &["--launch", "2026-03-02"]].concat());
    assert_eq!(said.code, Some(1)); // some fail, none is in error
    let verdict =
        |job: &str| said.results.iter().find(|result| result["job"] == job).map(|r| r["verdict"].clone());
    for job in ["offsets", "completeness", "accuracy", "realtime", "balances", "sla"] {
        assert_eq!(verdict(job), Some("FAIL".into()), "{job}");
    }
}

/// Scenario: a file of an export is lost; another one is cut; one is added; then all is as it was.
/// Guarantees: exit code 3 and the file's name, no verdict; the whole export is judged.
#[test]
fn an_export_that_is_not_whole_is_not_judged() {
    let mut ledger = Ledger::new();
    ledger.put(Record::task("t", "SUBMITTED", 1, T0));
    ledger.ended();
    let folder = TempFolder::new("export");
    let out = folder.path().join("parquet");
    let place = out.to_str().expect("paths are text");
    Tally::spawn(&[&["audit", "export", "--out", place][..], &ledger.at()].concat(), &[]).expect_success(RUN);
    let judge = || said(&["audit", "completeness", "--parquet", place]);
    let refused = |name: &str, why: &str| {
        let said = judge();
        assert_eq!((said.code, said.results.len()), (Some(3), 0), "{}", said.stderr);
        assert!(said.stderr.contains(name) && said.stderr.contains(why), "{}", said.stderr);
    };
    let letters = out.join("dead_letters/all.parquet");
    let bytes = std::fs::read(&letters).expect("a file of the export");
    std::fs::remove_file(&letters).expect("it can be deleted");
    refused("dead_letters/all.parquet", "is missing");
    std::fs::write(&letters, &bytes[..bytes.len() - 1]).expect("it can be written");
    refused("dead_letters/all.parquet", "has another size");
    std::fs::write(&letters, &bytes).expect("it can be written");
    std::fs::write(out.join("dead_letters/more.parquet"), &bytes).expect("it can be written");
    refused("dead_letters/more.parquet", "was added");
    std::fs::remove_file(out.join("dead_letters/more.parquet")).expect("it can be deleted");
    assert_eq!(judge().results.len(), 1);
}

/// Scenario: a store with tables and nothing in them, judged with and without a window.
/// Guarantees: the same over its export; nothing passes.
#[test]
fn nothing_is_never_a_pass() {
    let ledger = Ledger::new();
    for window in [&FIRST_DAY[..], &[]] {
        let said = both_ways(&ledger, window);
        assert_eq!(said.code, Some(2));
        for result in &said.results {
            let verdict = result["verdict"].as_str().expect("a verdict");
            assert!(["NOT_EVALUATED", "PENDING"].contains(&verdict), "{result:#}");
        }
    }
}

/// Scenario: nobody listens where the store should be.
/// Guarantees: exit code 3, the address and what to do; no verdict.
#[test]
fn a_store_that_is_not_there() {
    let url = format!("http://127.0.0.1:{}", free_port());
    let said = said(&["audit", "all", "--clickhouse", &url]);
    assert_eq!((said.code, said.results.len()), (Some(3), 0));
    assert!(said.stderr.contains(&url), "{}", said.stderr);
    assert!(!said.stderr.contains("PASS"), "{}", said.stderr);
}

/// A relay to a server that goes away for good when a request speaks of `word`.
fn relay_until(word: &'static str, to: &str) -> String {
    let to = to.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let gone = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            if gone.load(Ordering::SeqCst) {
                continue; // dropped: closed
            }
            let Ok(server) = TcpStream::connect(&to) else { continue };
            let (Ok(answers), Ok(asker)) = (server.try_clone(), client.try_clone()) else { continue };
            let gone = gone.clone();
            thread::spawn(move || copy(answers, asker, |_| false));
            thread::spawn(move || {
                copy(client, server, |seen| {
                    let found = seen.windows(word.len()).any(|part| part == word.as_bytes());
                    gone.fetch_or(found, Ordering::SeqCst) || found
                });
            });
        }
    });
    format!("http://{address}")
}

/// Passes bytes on until the end, or until `stop` says so of what has passed; then closes both.
fn copy(mut from: TcpStream, mut to: TcpStream, stop: impl Fn(&[u8]) -> bool) {
    let mut buffer = vec![0; 1 << 16];
    let mut seen = Vec::new();
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        seen.extend_from_slice(&buffer[..read]);
        if stop(&seen) || to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // either may be closed already
    _ = from.shutdown(Shutdown::Both);
    _ = to.shutdown(Shutdown::Both);
}

/// Scenario: the store answers until a job asks it for task events, and then is gone: for good.
/// Guarantees: verdict ERROR and exit code 3 with the cause, not the PASS that the same rows get.
#[test]
fn a_store_that_goes_away_in_the_middle() {
    let mut ledger = Ledger::new();
    money::stories(&mut ledger);
    completeness::stories(&mut ledger);
    ledger.ended();
    let window = ["--from", "2026-03-04", "--to", "2026-03-05"];
    ledger.audit("completeness", &window).says("PASS", 0);
    let url = relay_until("t.state_version", ledger.database.url());
    let at = ["--clickhouse", &url, "--database", ledger.database.name(), "--no-record"];
    let said = said(&[&["audit", "completeness"][..], &at, &window].concat());
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    for result in &said.results {
        assert_eq!(result["verdict"], "ERROR", "{result:#}");
        let sentence = result["sentence"].as_str().expect("a sentence");
        assert!(sentence.contains("ClickHouse") && sentence.contains("again"), "{sentence}");
    }
    assert!(said.results.len() == 1 || said.stderr.contains("ClickHouse"), "{}", said.stderr);
}

/// A relay that cuts the first `cuts` answers of more than `bytes` bytes off after these, and counts them in the number it gives.
fn relay_that_cuts(cuts: usize, bytes: usize, to: &str) -> (String, Arc<AtomicUsize>) {
    let to = to.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let cut = Arc::new(AtomicUsize::new(0));
    let counted = cut.clone();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&to) else { continue };
            let (Ok(answers), Ok(asker)) = (server.try_clone(), client.try_clone()) else { continue };
            let cut = cut.clone();
            thread::spawn(move || {
                copy(answers, asker, |seen| seen.len() > bytes && cut.fetch_add(1, Ordering::SeqCst) < cuts);
            });
            thread::spawn(move || copy(client, server, |_| false));
        }
    });
    (format!("http://{address}"), counted)
}

/// Scenario: 60,000 tasks, two of them without receipts; three answers of ClickHouse are cut off after a megabyte, of which rows
/// were handed on already.
/// Guarantees: the same figures and offenders as without a cut; the partition is asked again and taken up, the job is not run again.
#[test]
fn an_answer_that_breaks_off_is_taken_up() {
    let store = super::super::audit_scale::store(60_000);
    let input = |url: &str| {
        let at = ["audit", "completeness", "--clickhouse", url, "--database", store.name(), "--no-record"];
        said(&at)
    };
    let whole = input(store.url());
    whole.says("FAIL", 1);
    let (url, cut) = relay_that_cuts(3, 1 << 20, store.url());
    let resumed = input(&url);
    assert!(cut.load(Ordering::SeqCst) >= 3, "nothing was cut off");
    assert_eq!(substance(&whole), substance(&resumed), "{}", resumed.stderr);
    let log = &resumed.stderr;
    let taken_up =
        log.lines().filter(|line| line.contains("asking ClickHouse again") && !line.contains("rows=0 "));
    assert!(taken_up.count() >= 1, "{log}");
    assert!(!log.contains("job is run again"), "{log}");
}
