//! Soak and overload: hours of events with faults, and more than can be taken. Not a test: `make soak` runs it.
//!
//! One instance of `tally ingest` lives through everything and is watched; another comes, goes and is killed beside it. Environment:
//! `TALLY_SOAK_SECONDS` (3600), `TALLY_SOAK_RATE` (20000 events/s), `TALLY_SOAK_SEED`, `TALLY_SOAK_FAULTS`. A release build keeps that rate; a debug
//! build needs a lower one.

mod faults;
mod load;
mod watch;

use faults::Faults;
use load::{Account, Load};
use serde_json::Value;
use std::ops::RangeBounds;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tally_schemas::Topic;
use tally_tests::stage::seal_and_verify;
use tally_tests::{ClickHouse, Kafka, Proxy, Tally, TempFolder, eventually, skip_without, unique};
use watch::{Memory, Sample, Watch};

/// Partitions of each topic.
const PARTITIONS: i32 = 3;
/// What a process may hold more after an hour than by the line through its samples; of a shorter run its share, but not less
/// than the noise of an allocator.
const GROWTH_MIB_PER_HOUR_MAX: f64 = 48.0;
const GROWTH_MIB_NOISE: f64 = 24.0;
/// How much of the rate may be waiting, and for how long more may, after a fault.
const LAG_SECONDS: f64 = 10.0;
const LAG_STRETCH_SECONDS_MAX: f64 = 90.0;
/// What of the rate has to arrive, in spite of a broker that goes down: else it was another rate.
const PUBLISHED_SHARE_MIN: f64 = 0.9;
/// What nobody may hold, however much is published.
const MEMORY_MIB_MAX: f64 = 256.0;
/// More than the machine can take, by this.
const OVERLOAD: f64 = 3.0;
/// What of it has to arrive, on cores that the producer shares with everybody.
const OVERLOAD_MIN: f64 = 1.8;
/// For so long at most: what is published then has to fit on the disk, too.
const OVERLOAD_SECONDS_MAX: f64 = 90.0;
/// For a process to end, or the group to be caught up after a soak.
const END: Duration = Duration::from_secs(120);
/// More than these the audit of offsets does not hold on a machine of 24 GiB: some 250 bytes for each content, in each of both opinions.
const AUDITED_RECORDS_MAX: u64 = 20_000_000;
/// For a command that reads everything that an hour has stored.
const PROOF: Duration = Duration::from_secs(3_600);

fn setting(name: &str, default: f64) -> f64 {
    let Some(text) = std::env::var(name).ok().filter(|text| !text.is_empty()) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}"))
}

/// The servers, and the names on them.
pub(super) struct Place {
    pub(super) kafka: Kafka,
    pub(super) clickhouse: ClickHouse,
    pub(super) proxy: Proxy,
    pub(super) prefix: String,
    pub(super) database: String,
}

impl Place {
    fn new(data: &TempFolder, seconds: f64) -> Place {
        let (kafka, clickhouse) = (Kafka::start(), ClickHouse::start(data.path()));
        let proxy = Proxy::before(clickhouse.url().trim_start_matches("http://"));
        let (prefix, database) = (format!("{}.", unique("soak")), unique("soak").replace('-', "_"));
        // what is long taken may go, so that an hour fits on a disk; nothing waits that long
        let retention = if seconds > 1_200.0 { "900000" } else { "-1" };
        let config = [("retention.ms", retention), ("segment.bytes", "67108864")];
        for contract in Topic::ALL {
            kafka.create_topic(&format!("{prefix}{}", contract.name()), PARTITIONS, &config);
        }
        Place { kafka, clickhouse, proxy, prefix, database }
    }

    /// `tally ingest` in the soak's group; over the network that fails.
    fn ingest(&self, more: &[&str]) -> Tally {
        let url = self.proxy.url();
        let at =
            ["--brokers", self.kafka.bootstrap(), "--topic-prefix", &self.prefix, "--group", &self.prefix];
        let store = ["--clickhouse", &url, "--database", &self.database, "--listen", "127.0.0.1:0"];
        Tally::spawn(&[&["ingest"], &at[..], &store, more].concat(), &[])
    }

    /// An instance whose name outlives its process, as the README advises: killed and started again, it goes on at once.
    fn named(&self, name: &str) -> Tally {
        self.ingest(&["--kafka-instance", name])
    }

    /// The instance that comes and goes.
    pub(super) fn second(&self) -> Tally {
        self.named("second")
    }

    /// Records in Kafka.
    fn in_kafka(&self) -> u64 {
        let high = |contract: Topic| {
            let topic = format!("{}{}", self.prefix, contract.name());
            (0..PARTITIONS).map(|number| self.kafka.watermarks(&topic, number).1.unsigned_abs()).sum::<u64>()
        };
        Topic::ALL.into_iter().map(high).sum()
    }

    /// What the receipts say, one of each offset, and how many facts there are.
    fn stored(&self) -> Account {
        let word = |at: u32| format!("sumWithOverflow(reinterpretAsUInt64(substring(raw_sha256, {at}, 8)))");
        let facts = Topic::ALL.map(|contract| {
            let table = contract.name().replace('-', "_");
            format!("(SELECT count() FROM {}.{table} FINAL)", self.database)
        });
        let sql = format!(
            "SELECT count(), countIf(disposition = 'DEAD'), {}, {}, {} FROM {}.audit_log FINAL FORMAT TSV",
            facts.join(" + "),
            word(1),
            word(9),
            self.database
        );
        let answer = self.clickhouse.query(&sql);
        let mut numbers = answer.split_whitespace().map(|text| text.parse().expect("a number"));
        let mut next = || numbers.next().expect("five numbers");
        Account { records: next(), dead: next(), facts: next(), sums: [next(), next()] }
    }
}

/// Events at a steady rate, with a fault every few seconds; then, with one instance alone, three times what it was seen to take.
#[test]
#[ignore = "as long as it is told to: run `make soak`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn soak() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let (seconds, rate) = (setting("TALLY_SOAK_SECONDS", 3_600.0), setting("TALLY_SOAK_RATE", 20_000.0));
    let data = TempFolder::new("soak-clickhouse");
    let mut place = Place::new(&data, seconds);
    let seed = setting("TALLY_SOAK_SEED", 7.0);
    println!("soak: {rate:.0} events/s for {seconds:.0} s, seed {seed}");
    let first = place.named("first");
    let (begun, load) = (Instant::now(), Load::start(&place, rate));
    let watch = Watch::start(&place, &first, load.acknowledged());
    let mut faults = Faults::new(seed, place.second());
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while let Some(rest) = end.checked_duration_since(Instant::now()) {
        std::thread::sleep(rest.min(faults.pause()));
        if Instant::now() < end {
            faults.next(&mut place);
        }
    }
    let (happened, peak_of_second) = faults.end();
    load.keep(0.0);
    let asked = rate * begun.elapsed().as_secs_f64();
    watch.until_caught_up(END, &first);
    let (samples, memory) = (watch.samples(), watch.memory());
    println!(
        "soak: second, fault, seconds it lasted, most events behind, seconds until below a second's, MiB"
    );
    println!("{}", watch::aftermath(&happened, &samples, &memory, rate));
    judge_soak(&samples, &memory, rate, seconds);
    #[expect(clippy::cast_precision_loss, reason = "a number of events")]
    let share = load.acknowledged().load(Ordering::Relaxed) as f64 / asked;
    println!("soak: {:.1} % of the rate were published", share * 100.0);
    assert!(share >= PUBLISHED_SHARE_MIN, "this machine does not publish {rate} events/s beside Tally");
    println!("soak: peak of the second instance, whichever it was, {peak_of_second:.0} MiB");
    assert!(peak_of_second <= MEMORY_MIB_MAX, "{peak_of_second:.0} MiB");

    let capacity = capacity(&load, &watch, &first);
    let (begun, acknowledged) = (Instant::now(), load.acknowledged());
    let before = acknowledged.load(Ordering::Relaxed);
    load.keep(capacity * OVERLOAD);
    std::thread::sleep(Duration::from_secs_f64((seconds / 10.0).clamp(20.0, OVERLOAD_SECONDS_MAX)));
    load.keep(0.0);
    let published = begun.elapsed();
    let behind = watch.samples().last().map_or(0.0, |sample| sample.lag);
    #[expect(clippy::cast_precision_loss, reason = "a number of events")]
    let came = (acknowledged.load(Ordering::Relaxed) - before) as f64 / published.as_secs_f64();
    println!(
        "overload: {capacity:.0} events/s are taken; {came:.0} were published, {:.1} times that",
        came / capacity
    );
    assert!(came >= capacity * OVERLOAD_MIN, "this machine cannot publish more than Tally takes");
    watch.until_caught_up(Duration::from_secs_f64(END.as_secs_f64() + 4.0 * behind / capacity), &first);
    let memory = watch.memory();
    let acknowledged = load.end();
    drop(watch);
    let overload = Overload::of(&memory, begun, published, behind); // which tells its figures at once
    balance(&place, first, acknowledged); // whatever memory was held
    overload.judge();
}

/// What the one instance takes with more than enough before it, events a second.
fn capacity(load: &Load, watch: &Watch, first: &Tally) -> f64 {
    load.keep(f64::INFINITY);
    std::thread::sleep(Duration::from_secs(10));
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(10));
    load.keep(0.0);
    let of = |from: Instant, to: Instant| {
        let within: Vec<Sample> =
            watch.samples().into_iter().filter(|one| one.at >= from && one.at <= to).collect();
        let (one, other) = (within.first().expect("a sample"), within.last().expect("a sample"));
        (other.taken - one.taken) / (other.at - one.at).as_secs_f64().max(0.1)
    };
    let capacity = of(begun, Instant::now());
    assert!(capacity > 100.0, "nothing is taken: {capacity}");
    let behind = watch.samples().last().map_or(0.0, |sample| sample.lag);
    watch.until_caught_up(Duration::from_secs_f64(END.as_secs_f64() + 4.0 * behind / capacity), first);
    capacity
}

#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn judge_soak(samples: &[Sample], memory: &[Memory], rate: f64, seconds: f64) {
    let warm = &memory[memory.len() / 4..];
    let per_hour = watch::slope(warm) * 3_600.0;
    let most = memory.iter().map(|one| one.peak_mib).fold(0.0, f64::max);
    let allowed = (GROWTH_MIB_PER_HOUR_MAX * seconds / 3_600.0).max(GROWTH_MIB_NOISE);
    let growth = per_hour * seconds / 3_600.0;
    let stretch = watch::longest_above(samples, rate * LAG_SECONDS);
    println!(
        "soak: memory {:.0} MiB at the end, {most:.0} at most, {per_hour:+.1} MiB an hour by the line through {} samples; \
         lag at most {:.0} events, above {LAG_SECONDS} s of the rate for {stretch:.0} s at most",
        warm.last().map_or(0.0, |one| one.mib),
        warm.len(),
        samples.iter().map(|sample| sample.lag).fold(0.0, f64::max),
    );
    assert!(growth <= allowed, "memory grew by {growth:.1} MiB, {allowed:.0} are allowed");
    assert!(most <= MEMORY_MIB_MAX, "{most:.0} MiB");
    assert!(
        stretch <= LAG_STRETCH_SECONDS_MAX,
        "the lag stayed for {stretch:.0} s: does this build keep {rate} events/s?"
    );
}

/// The most memory, MiB, within that time.
fn most(memory: &[Memory], when: impl RangeBounds<Instant>) -> f64 {
    memory.iter().filter(|one| when.contains(&one.at)).map(|one| one.mib).fold(0.0, f64::max)
}

/// What an overload left behind, and the most memory, MiB, held meanwhile.
struct Overload {
    behind: f64,
    first_half: f64,
    second_half: f64,
    after: f64,
    peak: f64,
}

impl Overload {
    #[expect(clippy::print_stdout, reason = "the figures are the result")]
    fn of(memory: &[Memory], begun: Instant, published: Duration, behind: f64) -> Overload {
        let within: Vec<Memory> = memory.iter().copied().filter(|one| one.at >= begun).collect();
        let (half, end) = (begun + published / 2, begun + published);
        let (first_half, second_half) = (most(memory, begun..half), most(memory, half..end));
        let (after, peak) = (most(memory, end..), within.last().map_or(0.0, |one| one.peak_mib));
        println!(
            "overload: {behind:.0} events behind at its end; memory {first_half:.0} MiB at most in its first half, {second_half:.0} in its \
             second, {after:.0} while it caught up, {:.0} s after the last was published",
            within.last().map_or(0.0, |one| (one.at - begun - published).as_secs_f64()),
        );
        Overload { behind, first_half, second_half, after, peak }
    }

    fn judge(&self) {
        let Overload { behind, first_half, second_half, after, peak } = *self;
        assert!(behind > 0.0, "it was no overload");
        assert!(second_half.max(after) <= first_half + GROWTH_MIB_NOISE, "what waits is held in memory");
        assert!(peak <= MEMORY_MIB_MAX, "{peak:.0} MiB at most");
    }
}

/// Everything that Kafka acknowledged has one receipt, byte for byte; what is invalid is a dead letter, what is valid a fact, what
/// repeats one neither; and each receipt has what it attests: by what `tally ingest` counts,
/// by a verification of everything against seals, and of a short soak by the audit of offsets.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn balance(place: &Place, mut first: Tally, published: Account) {
    first.sigterm();
    first.expect_success(END);
    let begun = Instant::now();
    let ended = place.ingest(&["--until-caught-up", "--json"]).expect_success(PROOF);
    println!("balance: counted in {:.0} s", begun.elapsed().as_secs_f64());
    let balance: Value = serde_json::from_str(&ended.stdout).expect("a balance");
    assert_eq!(balance["verdict"], "PASS", "{balance:#}");
    let in_kafka = eventually(END, "the broker's answers", || Some(place.in_kafka()));
    let stored = place.stored();
    println!("balance: {published:?} acknowledged, {in_kafka} in Kafka, {stored:?} stored");
    assert_eq!((in_kafka, stored), (published.records, published));

    let store = ["--clickhouse", place.clickhouse.url(), "--database", &place.database];
    let [sealed, verified] = seal_and_verify(&store, &[], PROOF);
    println!("proof: sealed in {:.0} s, verified in {:.0} s", sealed.as_secs_f64(), verified.as_secs_f64());
    if published.records > AUDITED_RECORDS_MAX {
        println!(
            "proof: so many offsets are not audited: both opinions of that hold all their contents in memory"
        );
        return;
    }
    let begun = Instant::now();
    Tally::spawn(&[&["audit", "offsets", "--no-record"][..], &store].concat(), &[]).expect_success(PROOF);
    println!("proof: offsets audited in {:.0} s", begun.elapsed().as_secs_f64());
}
