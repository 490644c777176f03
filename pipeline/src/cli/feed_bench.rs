//! `tally feed-bench`: many subscribers, faults on purpose, and an account of every event at every one of them.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

mod account;
mod faults;
mod memory;
mod proxy;
mod publisher;
mod report;
mod service;
mod subscriber;
mod world;

use super::feed_client::{End, Line, Signatures, Transport};
use account::{Audience, Latencies, Publication};
use anyhow::{Context, bail};
use faults::{Fault, Faults};
use memory::Memory;
use proxy::Proxy;
use report::{Quantiles, Report, Revoked, Struck};
use service::Usage;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use subscriber::{Counts, REVOKED_MAX, Shared, Subscriber};
use tally_pipeline::config::{ClickHouse, Kafka};
use tokio_util::sync::CancellationToken;
use world::World;

/// Load the feed and break it on purpose: without arguments two minutes over both transports on an in-process broker,
/// the embedded ClickHouse and a `tally serve` of its own.
///
/// Every event is counted at every subscriber by its id. Exit code 0: nothing was lost, nobody got what is another's,
/// whoever was revoked got nothing after two seconds. 1: not so. 3: it could not be done. Everything stays on loopback.
#[derive(clap::Args, Debug)]
pub(crate) struct FeedBenchArgs {
    /// How many subscribers.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    subscribers: u32,
    /// By which transport they come; both: in turn.
    #[arg(long, default_value = "both", value_name = "WHICH")]
    transport: Which,
    /// Who gets an event: all of them, as admins; or its owner alone, one after the other, as buyers.
    #[arg(long, default_value = "all", value_name = "WHO")]
    audience: Audience,
    /// Events published per second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    rate: u32,
    /// How long they are published.
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3_600), value_name = "N")]
    seconds: u64,
    /// How many connections are cut, spread over that time.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(..=1_000_000), value_name = "N")]
    cuts: u64,
    /// What goes wrong: cut, swallow, stall, kill, roll, revoke, with commas between; `none` for a run without faults.
    #[arg(long, default_value = "cut,swallow,stall,kill,roll,revoke", value_name = "LIST", value_parser = faults_of)]
    faults: FaultList,
    /// How many readers stall at once, by the fault of that name; half of them on each transport where both are used.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    stalled: u32,
    /// Same seed, same choice of whom a fault strikes.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// A service of yours, http:// and a loopback address; it cannot be killed or measured, and its keys are not rolled. Needs --brokers and --token-key; --clickhouse to revoke.
    #[arg(long, value_name = "URL", requires = "token_key")]
    service: Option<String>,
    /// The private key that the tokens for --service are signed with.
    #[arg(long, value_name = "FILE")]
    token_key: Option<std::path::PathBuf>,
    /// Claim `iss` of those tokens.
    #[arg(long, default_value = ISSUER, value_name = "TEXT")]
    issuer: String,
    /// Claim `aud` of those tokens.
    #[arg(long = "token-audience", default_value = AUDIENCE, value_name = "TEXT")]
    token_audience: String,
    /// Publish to this Kafka instead of an in-process broker; the four topics must exist.
    #[command(flatten)]
    kafka: Kafka,
    #[command(flatten)]
    clickhouse: ClickHouse,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Issuer and audience of the tokens for a service of its own.
const ISSUER: &str = "tally-feed-bench";
const AUDIENCE: &str = "tally";
/// A swallowed connection is let go after this at the latest.
const SWALLOWED_MAX: Duration = Duration::from_secs(60);
/// Longest wait for the subscribers to be connected.
const CONNECT_MAX: Duration = Duration::from_secs(180);
/// Subscribers that are on their way in at once.
const CONNECTING_MAX: usize = 256;
/// How long connections rest before their memory is looked at.
const REST: Duration = Duration::from_secs(2);
/// Of fewer connections the memory of one cannot be told from what else goes on.
const MEASURED_CONNECTIONS_MIN: usize = 500;
/// Longest wait, after the last event, for all to have it.
const SETTLE: Duration = Duration::from_secs(45);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Files that one connection takes here where a proxy stands before the service: its socket, and two of the proxy.
const FILES_THROUGH_PROXY: u64 = 3;
/// Files beside those.
const FILES_BESIDE: u64 = 512;

/// The transports of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    Ws,
    Sse,
    Both,
}

impl Which {
    fn of(self, index: usize) -> Transport {
        match self {
            Which::Ws => Transport::Ws,
            Which::Sse => Transport::Sse,
            Which::Both if index.is_multiple_of(2) => Transport::Ws,
            Which::Both => Transport::Sse,
        }
    }
}

/// Faults, as one argument.
#[derive(Clone, Debug)]
struct FaultList(Vec<Fault>);

fn faults_of(text: &str) -> Result<FaultList, String> {
    if text == "none" {
        return Ok(FaultList(Vec::new()));
    }
    let one = |name: &str| {
        Fault::ALL
            .into_iter()
            .find(|fault| fault.name() == name)
            .ok_or_else(|| format!("no fault is called '{name}'"))
    };
    text.split(',').map(str::trim).map(one).collect::<Result<_, _>>().map(FaultList)
}

pub(crate) async fn run(args: FeedBenchArgs) -> anyhow::Result<ExitCode> {
    let shutdown = super::shutdown()?;
    let FaultList(mut which) = args.faults.clone();
    which.retain(|fault| *fault != Fault::Cut || args.cuts > 0);
    raise_files(u64::from(args.subscribers), if breaks_lines(&which) { FILES_THROUGH_PROXY } else { 1 })?;
    let world = World::open(&args).await?;
    if !world.service.lock().await.is_own()
        && which.iter().any(|fault| matches!(fault, Fault::Kill | Fault::Roll))
    {
        world.close().await?;
        bail!("a service of yours is neither killed nor are its keys rolled: leave both out of --faults");
    }
    let measured = measure(&args, &world, which, &shutdown).await;
    world.close().await?;
    let report = measured?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether some fault breaks connections from outside.
fn breaks_lines(which: &[Fault]) -> bool {
    which.iter().any(|fault| matches!(fault, Fault::Cut | Fault::Swallow))
}

/// Lifts the bound of open files, here and for the children started after it.
fn raise_files(subscribers: u64, files_each: u64) -> anyhow::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = subscribers * files_each + FILES_BESIDE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let wanted = Rlimit { current: Some(needed), maximum: maximum.map(|maximum| maximum.max(needed)) };
    if setrlimit(Resource::Nofile, wanted).is_ok() {
        return Ok(());
    }
    if maximum.is_none_or(|maximum| maximum >= needed) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
            .context("lifting the bound of open files")?;
        return Ok(());
    }
    let maximum = maximum.unwrap_or(0);
    bail!(
        "{subscribers} subscribers need {needed} open files, and only {maximum} are allowed: \
         raise the hard limit (ulimit -Hn), or take at most {} subscribers",
        maximum.saturating_sub(FILES_BESIDE) / files_each
    )
}

async fn measure(
    args: &FeedBenchArgs,
    world: &World,
    which: Vec<Fault>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Report> {
    let stop = shutdown.child_token();
    let _stop_at_the_end = stop.clone().drop_guard();
    let service = world.service.lock().await.address;
    let proxy = if breaks_lines(&which) {
        Some(Proxy::start(service, which.contains(&Fault::Stall)).await?)
    } else {
        None
    };
    let count = args.subscribers as usize;
    let revocable = if which.contains(&Fault::Revoke) { 2 } else { 0 };
    let events = args.seconds * u64::from(args.rate);
    let shared = Arc::new(Shared {
        publication: Publication::new(args.audience, count + revocable, usize::try_from(events)?),
        audience: args.audience,
        minter: world.minter.clone(),
        signatures: Signatures::of(&format!("http://{service}")),
        address: proxy.as_ref().map_or(service, Proxy::address),
        stalls: which.contains(&Fault::Stall),
        pushes: Latencies::new()?,
        counts: Counts::default(),
        ends: std::sync::Mutex::default(),
        recoveries: which
            .iter()
            .map(|fault| Ok((*fault, Latencies::new()?)))
            .collect::<anyhow::Result<_>>()?,
    });
    shared.signatures.refresh().await.context("the service's keys")?;
    let run = uuid::Uuid::new_v4().simple().to_string();
    let all: Vec<Arc<Subscriber>> = (0..count + revocable)
        .map(|index| {
            Arc::new(Subscriber::new(index, args.transport.of(index), format!("bench-{}-{index}", &run[..8])))
        })
        .collect();
    let (steady, revoked) = all.split_at(count);
    greeted(&shared, &all).await?; // a service that has just begun still grows by itself
    tokio::time::sleep(REST).await;
    let before = world.service.lock().await.usage();
    let running = connect(&shared, &all, &stop).await?;
    tokio::time::sleep(REST).await;
    let idle = world.service.lock().await.usage();

    let killed = which.contains(&Fault::Kill);
    let faults = Faults {
        which: which.clone(),
        seconds: args.seconds,
        cuts: args.cuts,
        seed: args.seed,
        stalled: args.stalled as usize,
        subscribers: steady.to_vec(),
        revocable: revoked.to_vec(),
        shared: Arc::clone(&shared),
        proxy,
        service: Arc::clone(&world.service),
        store: world.store(),
        stalls: Default::default(),
        slow_closes: Default::default(),
        struck: Default::default(),
    };
    let began = Instant::now();
    let published = publish_under(args, world, &faults, &all, &stop).await?;
    settle(&shared, steady, published, &stop).await;
    let seconds = began.elapsed().as_secs_f64();
    let after = world.service.lock().await.usage();
    let slow_closes = world.service.lock().await.slow_closes().await;
    let slow_closes = slow_closes.map(|closes| closes + faults.slow_closes.load(Ordering::Relaxed));
    let revoked = look_at_revoked(&shared, revoked).await?;
    stop.cancel();
    for task in running {
        task.await??;
    }
    let cpu = idle
        .zip(after)
        .filter(|_| !killed)
        .map(|(idle, after): (Usage, Usage)| after.cpu_seconds - idle.cpu_seconds);
    let connection_bytes = before.zip(idle).map(|(before, idle): (Usage, Usage)| {
        idle.resident_bytes.saturating_sub(before.resident_bytes) / all.len() as u64
    });
    let connection_bytes = connection_bytes.filter(|_| all.len() >= MEASURED_CONNECTIONS_MIN);
    Ok(sum_up(
        &shared,
        steady,
        &faults,
        Summary { published, seconds, cpu, connection_bytes, memory: &world.memory, slow_closes, revoked },
    ))
}

/// Waits until the service greets somebody.
async fn greeted(shared: &Shared, all: &[Arc<Subscriber>]) -> anyhow::Result<()> {
    let first = all.first().context("there are no subscribers")?;
    let token = first.token(shared)?;
    let deadline = Instant::now() + CONNECT_MAX;
    loop {
        let greeting = async {
            Line::open(first.opening(shared, &token, "now")).await?.next(|frame| frame.op == "hello").await
        };
        match greeting.await {
            Ok(true) => return Ok(()),
            other if Instant::now() > deadline => bail!("the service greets nobody: {other:?}"),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Lets the subscribers in, some at a time, until all have been greeted.
async fn connect(
    shared: &Arc<Shared>,
    all: &[Arc<Subscriber>],
    stop: &CancellationToken,
) -> anyhow::Result<Vec<tokio::task::JoinHandle<anyhow::Result<()>>>> {
    let deadline = Instant::now() + CONNECT_MAX;
    let mut running = Vec::with_capacity(all.len());
    let mut greeted = 0; // of the first ones: they are let in in order
    while greeted < all.len() {
        while running.len() < all.len() && running.len() - greeted < CONNECTING_MAX {
            let one = Arc::clone(&all[running.len()]);
            running.push(tokio::spawn(one.run(Arc::clone(shared), stop.clone())));
        }
        while all.get(greeted).is_some_and(|one| one.greeted.load(Ordering::Relaxed)) {
            greeted += 1;
        }
        if Instant::now() > deadline || stop.is_cancelled() {
            bail!("{greeted} of {} subscribers were connected within {} s", all.len(), CONNECT_MAX.as_secs());
        }
        if let Some(refused) = all.iter().find(|one| one.stopped.load(Ordering::Relaxed) != 0) {
            bail!(
                "the service refused subscriber {} with {}",
                refused.index,
                refused.stopped.load(Ordering::Relaxed)
            );
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(running)
}

/// Publishes while the faults strike.
async fn publish_under(
    args: &FeedBenchArgs,
    world: &World,
    faults: &Faults,
    all: &[Arc<Subscriber>],
    stop: &CancellationToken,
) -> anyhow::Result<u64> {
    let subjects: Vec<String> = all.iter().map(|one| one.subject.clone()).collect();
    let (kafka, shared, ended) = (world.kafka.clone(), Arc::clone(&faults.shared), stop.clone());
    let pace = (args.rate, args.seconds * u64::from(args.rate));
    let publishing = tokio::task::spawn_blocking(move || {
        publisher::publish(&kafka, &shared.publication, &subjects, pace, &ended)
    });
    let (published, struck) = tokio::join!(publishing, faults.run(stop));
    struck?;
    published?
}

/// Waits until every subscriber has everything, or for as long as that may take.
async fn settle(shared: &Shared, steady: &[Arc<Subscriber>], published: u64, stop: &CancellationToken) {
    let deadline = Instant::now() + SETTLE;
    let whole = |one: &Arc<Subscriber>| one.page().is_whole(&shared.publication, published);
    while !steady.iter().all(whole) && Instant::now() < deadline && !stop.is_cancelled() {
        tokio::time::sleep(LOOK).await;
    }
}

/// What became of those that were revoked, and whether they can read again what came before.
async fn look_at_revoked(shared: &Shared, revoked: &[Arc<Subscriber>]) -> anyhow::Result<Vec<Revoked>> {
    let mut found = Vec::new();
    for one in revoked {
        let at = one.revoked_at_ns.load(Ordering::Relaxed);
        let since = Duration::from_nanos(shared.publication.now_ns().saturating_sub(at));
        tokio::time::sleep(REVOKED_MAX.saturating_sub(since)).await;
        let token = one.token(shared)?;
        let replay = async {
            let mut line = Line::open(one.opening(shared, &token, "earliest")).await?;
            loop {
                line.next(|frame| (frame.op == "event").then_some(()))
                    .await?
                    .map_or(Ok(()), |()| Err(End::Lost))?;
            }
        };
        let end: Result<Result<(), End>, _> = tokio::time::timeout(REVOKED_MAX, replay).await;
        let replay_closed_with = match end {
            Ok(Err(End::Closed(code))) => code,
            _ => 0,
        };
        found.push(Revoked {
            transport: one.transport.name(),
            closed_with: one.stopped.load(Ordering::Relaxed),
            late_events: one.late.load(Ordering::Relaxed),
            replay_closed_with,
        });
    }
    Ok(found)
}

/// What is known at the end of a run beside the counters.
struct Summary<'a> {
    published: u64,
    seconds: f64,
    cpu: Option<f64>,
    connection_bytes: Option<u64>,
    memory: &'a Memory,
    slow_closes: Option<u64>,
    revoked: Vec<Revoked>,
}

fn sum_up(shared: &Shared, steady: &[Arc<Subscriber>], faults: &Faults, summary: Summary<'_>) -> Report {
    let Summary { published, seconds, cpu, connection_bytes, memory, slow_closes, revoked } = summary;
    let counts = &shared.counts;
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let missing = steady.iter().map(|one| one.page().missing(&shared.publication, published)).sum();
    let deliveries: u64 = steady.iter().map(|one| one.page().received()).sum();
    let struck = Fault::ALL.into_iter().filter(|fault| faults.which.contains(fault)).map(|fault| {
        let recovery = shared.recoveries.get(&fault).map(|latencies| Quantiles::of(&latencies.merged()));
        Struck { fault: fault.name(), times: faults.times(fault), caught_up: recovery }
    });
    Report {
        subscribers: steady.len(),
        seconds,
        published,
        deliveries,
        deliveries_per_second: deliveries as f64 / seconds,
        deliveries_per_cpu_second: cpu.filter(|cpu| *cpu > 0.0).map(|cpu| deliveries as f64 / cpu),
        missing,
        foreign: read(&counts.foreign),
        repeats: read(&counts.repeats),
        gaps: read(&counts.gaps),
        resyncs: read(&counts.resyncs),
        silences: read(&counts.silences),
        broken: read(&counts.broken),
        connects: read(&counts.connects),
        signatures_checked: read(&counts.signatures_checked),
        signatures_wrong: read(&counts.signatures_wrong),
        signing_keys: shared.signatures.used(),
        ends: shared.ends.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
        push: Quantiles::of(&shared.pushes.merged()),
        faults: struck.collect(),
        revoked,
        stopped: steady.iter().filter(|one| one.stopped.load(Ordering::Relaxed) != 0).count(),
        slow_closes,
        connection_bytes,
        service_peak_bytes: memory.peak(),
        stalled_bytes: faults.stalled_bytes(memory),
    }
}
