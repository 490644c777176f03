//! Two instances of one group, killed again and again in the middle of their work.
#![expect(clippy::print_stdout, reason = "the seed and the course of a failed run must be seen")]

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tally_tests::account::{compare, read};
use tally_tests::{Kafka, Stage, TempFolder, eventually, skip_without};

const EVENTS: u64 = 200_000;
const KILLS: usize = 10;
/// Small blocks, so that many are under way; a short session, so that the group soon notices a death.
const IMPATIENT: [&str; 8] = [
    "--block-rows-max",
    "2000",
    "--linger-ms",
    "50",
    "--kafka-property",
    "session.timeout.ms=1500",
    "--kafka-property",
    "heartbeat.interval.ms=300",
];

/// A splitmix64: the moments of a run, from its seed.
pub(crate) struct Moments(pub(crate) u64);

/// The seed of this run: `TALLY_TEST_SEED`, else a new one.
pub(crate) fn seed() -> u64 {
    let given = std::env::var("TALLY_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| u64::from(now.subsec_nanos()))
    })
}

impl Moments {
    /// A number below that.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Scenario: a simulated platform publishes 200,000 events, valid, invalid and repeated ones, while two instances
/// take them; ten times one of the two is killed at a random moment and started again.
/// Guarantees: held against what Kafka acknowledged, id by id: every offset has one disposition, every valid event
/// one fact, every invalid one its dead letter for the expected reason, in the table and in the topic, none both.
#[test]
fn kills_at_random_moments_lose_and_double_nothing() {
    if skip_without(Kafka::real()) {
        return;
    }
    let seed = seed();
    println!("TALLY_TEST_SEED={seed} repeats these moments");
    let stage = Stage::shared("kill");
    let folder = TempFolder::new("kill");
    let record = folder.path().join("record");
    let mut moments = Moments(seed);
    let mut thresholds: Vec<u64> = (0..KILLS).map(|_| moments.below(EVENTS * 9 / 10)).collect();
    thresholds.sort_unstable();

    let mut instances = [stage.ingest(&IMPATIENT), stage.ingest(&IMPATIENT)];
    let (events, numbered) = (EVENTS.to_string(), seed.to_string());
    let file = record.to_str().expect("paths are text");
    let publish = ["--events", &events, "--seed", &numbered, "--invalid-permille", "20", "--record", file];
    let mut simulate = stage.simulate(&publish);
    let began = Instant::now();
    for threshold in thresholds {
        eventually(Duration::from_secs(60), "progress between two kills", || {
            (stage.receipts() >= threshold).then_some(())
        });
        thread::sleep(Duration::from_millis(moments.below(80)));
        let victim = &mut instances[usize::from(moments.below(2) == 1)];
        assert!(victim.is_running(), "an instance ended by itself\n{}", victim.log_tail());
        victim.sigkill();
        println!("killed beyond {threshold} receipts, {:.1} s", began.elapsed().as_secs_f64());
        *victim = stage.ingest(&IMPATIENT);
    }
    simulate.expect_success(Duration::from_secs(120));
    instances.iter_mut().for_each(|instance| instance.sigkill());
    let unattested = EVENTS - stage.receipts().min(EVENTS);
    println!("{unattested} events left at {:.1} s", began.elapsed().as_secs_f64());
    stage.catch_up(&IMPATIENT);
    println!("caught up at {:.1} s", began.elapsed().as_secs_f64());

    let published = read(&record);
    assert_eq!(published.len() as u64, EVENTS);
    println!("{}", compare(&stage, &published).join("\n"));
}
