//! Samples of a process and of the group's lag, taken beside everything else.

use super::faults::Happened;
use super::{PARTITIONS, Place};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tally_schemas::Topic;
use tally_tests::{Group, Tally};

const LOOK: Duration = Duration::from_secs(1);
/// For the group's coordinator, which may be down.
const ANSWER: Duration = Duration::from_secs(2);

/// One look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    /// Records that the group has committed.
    pub(super) taken: f64,
    /// Records that Kafka acknowledged and the group has not committed.
    pub(super) lag: f64,
}

/// Memory of the process that is watched, at one look; also while the group's coordinator does not answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) at: Instant,
    /// What it holds, MiB.
    pub(super) mib: f64,
    /// The most that it ever held, MiB.
    pub(super) peak_mib: f64,
}

/// A thread that looks every second. Dropped, it ends.
pub(super) struct Watch {
    samples: Arc<Mutex<Vec<Sample>>>,
    memory: Arc<Mutex<Vec<Memory>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(place: &Place, process: &Tally, acknowledged: Arc<AtomicU64>) -> Watch {
        let topics = Topic::ALL.map(|contract| format!("{}{}", place.prefix, contract.name()));
        let group = Group::new(place.kafka.bootstrap(), &place.prefix, topics, PARTITIONS);
        let (samples, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let memory = Arc::new(Mutex::new(Vec::new()));
        let (kept, held) = (Arc::clone(&samples), Arc::clone(&memory));
        let (stopped, id) = (Arc::clone(&stop), process.id());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
                let (mib, peak_mib) = (status_mib(id, "VmRSS:"), peak_mib(id));
                let look = Memory { at: Instant::now(), mib, peak_mib };
                held.lock().unwrap_or_else(PoisonError::into_inner).push(look);
                // what is acknowledged is counted last, so that the lag is never too small
                let Some(taken) = group.taken(ANSWER) else { continue };
                let lag = acknowledged.load(Ordering::Relaxed).saturating_sub(taken);
                #[expect(clippy::cast_precision_loss, reason = "figures for people")]
                let sample = Sample { at: Instant::now(), taken: taken as f64, lag: lag as f64 };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
            }
        });
        Watch { samples, memory, stop, thread: Some(thread) }
    }

    /// All looks at memory so far.
    pub(super) fn memory(&self) -> Vec<Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All looks so far.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until everything that was acknowledged is committed, in two looks that begin now. Where it is not in time, the end of the log
    /// of `who` is told.
    pub(super) fn until_caught_up(&self, timeout: Duration, who: &Tally) {
        let (from, deadline) = (self.samples().len(), Instant::now() + timeout);
        loop {
            let samples = self.samples();
            let late = samples.get(from..).unwrap_or_default();
            if late.windows(2).any(|two| two.iter().all(|sample| sample.lag == 0.0)) {
                return;
            }
            let lags: Vec<f64> = late.iter().step_by(10).map(|sample| sample.lag).collect();
            assert!(
                Instant::now() < deadline,
                "not caught up after {timeout:?}; behind, every 10 s: {lags:?}\n{}",
                who.log_tail()
            );
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            _ = thread.join(); // a panic of it was printed
        }
    }
}

/// The most memory that a process ever held, MiB.
pub(super) fn peak_mib(process: u32) -> f64 {
    status_mib(process, "VmHWM:")
}

fn status_mib(process: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// MiB a second by the line of least squares through the samples.
pub(super) fn slope(samples: &[Memory]) -> f64 {
    let Some(first) = samples.first() else { return 0.0 };
    let points: Vec<(f64, f64)> =
        samples.iter().map(|sample| ((sample.at - first.at).as_secs_f64(), sample.mib)).collect();
    #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
    let number = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / number;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    if below > 0.0 { above / below } else { 0.0 }
}

/// What followed each fault, until the next: how long it lasted, the most records behind, how long after its end no more than a second of
/// the rate were left for good, and the memory then.
pub(super) fn aftermath(happened: &[Happened], samples: &[Sample], memory: &[Memory], rate: f64) -> String {
    let Some(start) = memory.first().map(|one| one.at) else { return String::new() };
    let ends = happened.iter().skip(1).map(|next| Some(next.begun)).chain([None]);
    let line = |(&Happened { fault, begun, ended }, end): (&Happened, Option<Instant>)| {
        let within = |at: Instant| at >= begun && end.is_none_or(|end| at < end);
        let seen: Vec<&Sample> = samples.iter().filter(|one| within(one.at)).collect();
        let most = seen.iter().map(|one| one.lag).fold(0.0, f64::max);
        let over = recovered(&seen, ended, rate);
        let over = over.map_or("-".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
        let held = memory.iter().rfind(|one| within(one.at)).map_or(0.0, |one| one.mib);
        let (at, took) = ((begun - start).as_secs(), (ended - begun).as_secs_f64());
        format!("{at:>5}  {:<15}{took:>6.1}{most:>10.0}{over:>8}{held:>6.0}\n", format!("{fault:?}"))
    };
    happened.iter().zip(ends).map(line).collect()
}

/// How long after `ended` the lag was within a bound for good, as far as these samples go.
fn recovered(seen: &[&Sample], ended: Instant, bound: f64) -> Option<Duration> {
    let within = seen.iter().rev().take_while(|one| one.lag <= bound).last()?;
    Some(within.at.saturating_duration_since(ended))
}

/// The longest time, seconds, for which the lag stayed above a bound; a gap between two looks counts to it.
pub(super) fn longest_above(samples: &[Sample], bound: f64) -> f64 {
    let (mut longest, mut since) = (0.0_f64, None);
    for sample in samples {
        match (sample.lag > bound, since) {
            (true, None) => since = Some(sample.at),
            (true, Some(from)) => longest = longest.max((sample.at - from).as_secs_f64()),
            (false, Some(from)) => {
                longest = longest.max((sample.at - from).as_secs_f64());
                since = None;
            }
            (false, None) => {}
        }
    }
    longest
}

/// Scenario: samples on a line, with a lag that rises twice.
/// Guarantees: the slope is that of the line, the stretch the longer one; it has recovered where it stays low.
#[test]
fn figures_of_samples() {
    let begun = Instant::now();
    let lags = [0.0, 9.0, 9.0, 0.0, 9.0, 9.0, 9.0, 0.0, 0.0];
    let at = |number: u32| begun + Duration::from_secs(u64::from(number));
    let sample = |(number, lag): (u32, f64)| Sample { at: at(number), taken: 0.0, lag };
    let samples: Vec<Sample> = (0..).zip(lags).map(sample).collect();
    let held = |number: u32| Memory { at: at(number), mib: 100.0 + 0.5 * f64::from(number), peak_mib: 0.0 };
    let memory: Vec<Memory> = (0..9).map(held).collect();
    assert!((slope(&memory) - 0.5).abs() < 1e-9);
    assert!((longest_above(&samples, 5.0) - 3.0).abs() < 1e-9);
    let seen: Vec<&Sample> = samples.iter().collect();
    assert_eq!(recovered(&seen, at(2), 5.0), Some(Duration::from_secs(5))); // not at 3, where it was low in passing
    assert_eq!(recovered(&seen[..7], at(2), 5.0), None);
    assert!(slope(&memory[..1]).abs() < 1e-9);
}
