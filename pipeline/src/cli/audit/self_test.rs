//! `tally audit self-test`: does the audit find what is wrong, all of it, and nothing else?
//!
//! ```text
//! history ─▶ clean world:  route ─▶ audit, seal, verify: no alarm  ─▶ duplicates ─▶ no verdict changes
//!        └─▶ harmed world: plan ─▶ publication ─▶ route ─▶ audit ─▶ late events ─▶ restated? ─▶ seal
//!                                  ─▶ tamper with the store ─▶ audit, verify ─▶ compare by id
//! ```
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::super::demo::registry;
use super::super::store;
use anyhow::Context;
use clap::Parser;
use rdkafka::mocking::MockCluster;
use serde_json::json;
use std::process::ExitCode;
use tally_pipeline::config::{ClickHouse, SchemaRegistry, Sections};
use tally_pipeline::simulator::foreign_schemas;
use tally_queries::audit::history::record;
use tally_queries::audit::result::{JobResult, WindowState};
use tally_queries::audit::{JobName, all_jobs};
use tally_sinks::Store;
use uuid::Uuid;

mod class;
mod compare;
mod evidence;
mod history;
mod plan;
mod publication;
mod scratch;
mod tamper;

use class::Class;
use compare::{Count, Evidence, Expected, Finding, Injected, Outcome, Probe, compare, probe};
use evidence::{Atlas, Audit, JOBS, verified};
use history::History;
use plan::{Draw, Plan};
use scratch::Scratch;
use tamper::Ground;

/// Harm a scratch copy of a simulated platform in every known way, and see whether the audit finds all of it and nothing else.
///
/// Exit code 0: everything was found, nothing else was. 1: something was missed, or was a false alarm. 3: could not run.
#[derive(clap::Args, Debug)]
pub(crate) struct SelfTestArgs {
    /// Where the scratch databases are made, and dropped at the end; without one, in an embedded engine of its own.
    #[command(flatten)]
    clickhouse: ClickHouse,
    /// The same seed, the same events, the same harms at the same places. Without it, one that nobody chose.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// About how many clean events the platform publishes.
    #[arg(long, default_value_t = 6_000, value_parser = clap::value_parser!(u32).range(2_000..=2_000_000), value_name = "N")]
    events: u32,
    /// Only these kinds of harm.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CLASS,…")]
    classes: Vec<Class>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Let the audit forget its first finding of this job: then the self-test must fail.
    #[arg(long, hide = true, value_parser = ["offsets", "completeness", "balances", "verify"], value_name = "JOB")]
    blind: Option<String>,
}

/// The sections' defaults, part of which the self-test sets itself.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    sections: Sections,
}

/// Seeds end here, so that they survive JSON readers that know no 64-bit integers.
const SEED_END: u128 = 1 << 53;

pub(super) async fn run(mut args: SelfTestArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.clickhouse.cluster.is_empty(),
        "the store is harmed by mutations: give a single server"
    );
    let stop = super::super::shutdown()?;
    let seed = args.seed.unwrap_or((Uuid::now_v7().as_u128() % SEED_END) as u64);
    let mut temporary = None;
    if args.clickhouse.url.is_none() && args.clickhouse.data.is_none() {
        let folder = tempfile::Builder::new().prefix("tally-self-test-").tempdir()?;
        args.clickhouse.data = Some(folder.path().to_owned());
        temporary = Some(folder);
    }
    let engine = store::open(&args.clickhouse).await?;
    let worlds = ["clean", "harmed"].map(|world| {
        let database = format!("tally_self_test_{}_{world}", Uuid::new_v4().simple());
        World { name: world, clickhouse: ClickHouse { database, ..args.clickhouse.clone() } }
    });
    let tested = tokio::select! {
        tested = Box::pin(test(&args, seed, &worlds)) => tested,
        () = stop.cancelled() => Err(anyhow::anyhow!("stopped by a signal")),
    };
    let dropped = drop_databases(&engine.store, &worlds).await;
    let closed = engine.close().await;
    drop(temporary);
    let (outcome, probe) = tested?;
    dropped?;
    closed?;
    Ok(if outcome.holds() && probe.tried == probe.noticed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A database and topics.
struct World {
    name: &'static str,
    clickhouse: ClickHouse,
}

async fn drop_databases(store: &Store, worlds: &[World]) -> anyhow::Result<()> {
    let client = store.client().clone().with_database("default");
    for world in worlds {
        let name = &world.clickhouse.database; // letters, digits and underscores, made above
        let statement = format!("DROP DATABASE IF EXISTS {name} SYNC");
        client.query(&statement).execute().await.with_context(|| format!("dropping {name}"))?;
    }
    Ok(())
}

async fn test(args: &SelfTestArgs, seed: u64, worlds: &[World; 2]) -> anyhow::Result<(Outcome, Probe)> {
    let mut classes = if args.classes.is_empty() { Class::ALL.to_vec() } else { args.classes.clone() };
    classes.sort_unstable();
    classes.dedup();
    let Defaults { mut sections } = Defaults::try_parse_from(["tally"])?;
    let cluster = MockCluster::new(1).context("the in-process broker")?;
    sections.kafka.brokers = cluster.bootstrap_servers();
    sections.kafka.properties.clear();
    sections.bounds.linger_ms = 50;
    let url = Some(registry::serve(foreign_schemas()).await?);
    sections.registry = SchemaRegistry { url, user: None, password: None, ca: None };
    let history = History::of(seed, args.events as usize)?;
    let mut draw = Draw::new(&history, seed);
    let mut plan = Plan::clean(&history);
    publication::draw(&mut plan, &mut draw, &classes)?;
    let mut opened = Vec::new();
    for world in worlds {
        let mut sections = sections.clone();
        sections.kafka.topic_prefix = format!("{}.", world.name);
        sections.kafka.group = format!("self-test-{}", world.name);
        sections.clickhouse = world.clickhouse.clone();
        opened.push(Scratch::open(sections, &cluster).await?);
    }
    let [clean, harmed] = opened.as_slice() else { anyhow::bail!("two worlds were asked for") };
    let mut evidence = Evidence::default();
    baseline(clean, &history, &plan, &mut evidence).await?;
    harm(harmed, &mut plan, &mut draw, &classes, &mut evidence).await?;
    if let Some(job) = &args.blind
        && let Some(first) = evidence.findings.iter().position(|finding| finding.job == job)
    {
        evidence.findings.remove(first);
    }
    for scratch in opened {
        scratch.opened.close().await?;
    }
    let (outcome, probe) = (compare(&evidence), probe(&evidence));
    let report = json!({
        "seed": seed, "events": history.events.len(), "classes": outcome.lines, "missed": outcome.missed,
        "miscounted": outcome.miscounted, "unexplained": outcome.unexplained, "probe": probe,
        "verdict": if outcome.holds() && probe.tried == probe.noticed { "PASS" } else { "FAIL" },
        "injected": evidence.injected, "counts": evidence.counts,
    });
    match args.json {
        true => println!("{report:#}"),
        false => print(seed, history.events.len(), &outcome, probe),
    }
    Ok((outcome, probe))
}

/// The clean world must raise no alarm; then duplicates come, and no verdict may change.
async fn baseline(
    scratch: &Scratch,
    history: &History,
    plan: &Plan,
    evidence: &mut Evidence,
) -> anyhow::Result<()> {
    let clean = Plan::clean(history);
    scratch.take(&clean, &clean.in_turn()).await?;
    let before = Audit::of(scratch, &all_jobs(), None).await?;
    scratch.seal().await?;
    let alarms = verified(&scratch.verify().await?)?;
    evidence.findings.extend(before.findings.iter().cloned().chain(alarms).map(in_clean_world));
    for result in before.results.iter().filter(|result| JOBS.iter().any(|job| job.name() == result.job)) {
        let passes = result.verdict == tally_queries::audit::result::Verdict::Pass;
        anyhow::ensure!(passes, "the clean world does not pass: {} {}", result.job, result.sentence);
    }
    if plan.duplicates.is_empty() {
        return Ok(());
    }
    scratch.take(plan, &plan.duplicates).await?;
    let after = Audit::of(scratch, &all_jobs(), Some(before.window)).await?;
    evidence.findings.extend(after.findings.iter().cloned().map(in_clean_world));
    let changed: i64 = before.results.iter().zip(&after.results).map(|(b, a)| changes(b, a)).sum();
    let figure = "verdicts and figures of a clean world that duplicates change".to_owned();
    evidence.counts.push(Count {
        class: Class::Duplicate,
        figure,
        expected: 0,
        found: changed,
        injections: false,
    });
    Ok(())
}

fn in_clean_world(finding: Finding) -> Finding {
    Finding { why: format!("{} in the clean world", finding.why), ..finding }
}

/// Figures that may differ once something was published again: how many receipts there are, and how many too many.
const OF_DUPLICATES: [&str; 4] = ["receipts", "accepted", "duplicates", "duplicate_audit"];

/// How many figures of a job differ that duplicates must not touch, and the verdict.
fn changes(before: &JobResult, after: &JobResult) -> i64 {
    let touched = |name: &str| OF_DUPLICATES.iter().any(|own| name.rsplit('/').next() == Some(own));
    let names = before.counters.keys().chain(after.counters.keys()).filter(|name| !touched(name));
    let differ = names.filter(|name| before.counters.get(*name) != after.counters.get(*name)).count();
    i64::try_from(differ).unwrap_or(i64::MAX) + i64::from(before.verdict != after.verdict)
}

/// The harmed world: events come, late ones after them, then the store is tampered with.
async fn harm(
    scratch: &Scratch,
    plan: &mut Plan,
    draw: &mut Draw<'_>,
    classes: &[Class],
    evidence: &mut Evidence,
) -> anyhow::Result<()> {
    let mut places = scratch.take(plan, &plan.in_turn()).await?;
    let mut window = None;
    if !plan.late_tasks.is_empty() {
        let first = Audit::of(scratch, &[JobName::Completeness], None).await?;
        anyhow::ensure!(first.window.state != WindowState::Open, "the window of late events is not closed");
        let result = recorded(scratch, &first).await?;
        places.extend(scratch.take(plan, &plan.late()).await?);
        let second = Audit::of(scratch, &[JobName::Completeness], Some(first.window)).await?;
        let restated = recorded(scratch, &second).await?;
        lateness(plan, (&result, &first), (&restated, &second), evidence);
        window = Some(first.window);
    }
    let whole = Audit::of(scratch, &JOBS, window).await?;
    for figure in &plan.figures {
        evidence.counts.push(Count {
            class: figure.class,
            figure: format!("{} {}", figure.job, figure.counter),
            expected: figure.expected,
            found: whole.counter(figure.job, figure.counter),
            injections: figure.injections,
        });
    }
    scratch.seal().await?;
    let before = verified(&scratch.verify().await?)?;
    let sealed = |finding| Finding {
        why: format!("{} before anything was altered", finding_why(&finding)),
        ..finding
    };
    evidence.findings.extend(before.into_iter().map(sealed));
    let mut ground = Ground::new(plan, &places);
    let harms = tamper::draw(plan, draw, &mut ground, classes)?;
    let identities = scratch.identities().await?;
    let prefix = &scratch.sections.kafka.topic_prefix;
    let atlas = Atlas { plan, places: &places, identities: &identities, prefix };
    for harm in harms {
        let id = draw.history.events.get(harm.record).map_or(Uuid::nil(), |event| event.id);
        scratch.harm(harm, id, atlas.at(harm.record)?).await?;
    }
    for injection in &plan.injections {
        evidence.injected.push(atlas.expected(injection)?);
    }
    let last = Audit::of(scratch, &JOBS, window).await?;
    evidence.findings.extend(last.findings);
    evidence.findings.extend(verified(&scratch.verify().await?)?);
    Ok(())
}

fn finding_why(finding: &Finding) -> &str {
    &finding.why
}

/// Records the first result of an audit, as `tally audit` does.
async fn recorded(scratch: &Scratch, audit: &Audit) -> anyhow::Result<JobResult> {
    let result = audit.results.first().context("an audit without a result")?.clone();
    Ok(record(scratch.opened.store.client(), result).await?)
}

/// A late event's task is an offender of the first result and none of the second, which restates the first by exactly that.
fn lateness(
    plan: &Plan,
    (first, before): (&JobResult, &Audit),
    (second, after): (&JobResult, &Audit),
    evidence: &mut Evidence,
) {
    let broken = |audit: &Audit, task: &String| {
        audit.findings.iter().any(|one| one.id == *task && one.why == "broken_chain")
    };
    for task in &plan.late_tasks {
        let id = format!("{task}, restated");
        let expected = Expected { job: "completeness", why: "restated".to_owned(), ids: vec![id.clone()] };
        let what = "an event arrives after the first result of its window";
        evidence.injected.push(Injected {
            class: Class::Late,
            what,
            subject: task.clone(),
            expected: vec![expected],
        });
        if broken(before, task) && !broken(after, task) {
            evidence.findings.push(Finding { job: "completeness", why: "restated".to_owned(), id });
        }
    }
    let late = i64::try_from(plan.late_tasks.len()).unwrap_or(i64::MAX);
    let restated = second.restates.as_ref().filter(|restated| restated.result_id == first.result_id);
    let mut differences = restated.map(|restated| restated.differences.clone()).unwrap_or_default();
    differences.retain(|one| one.figure != "buckets"); // it may be the first event of its ten minutes
    for (figure, expected) in [("complete", late), ("incomplete", -late), ("broken_chain", -late)] {
        let place = differences.iter().position(|one| one.figure == figure);
        let found = place.map(|at| differences.swap_remove(at)).map_or(0, |one| one.after - one.before);
        let figure = format!("completeness {figure}, restated by");
        evidence.counts.push(Count { class: Class::Late, figure, expected, found, injections: false });
    }
    let found = i64::try_from(differences.len()).unwrap_or(i64::MAX);
    let figure = "other figures of completeness that late events restate".to_owned();
    evidence.counts.push(Count { class: Class::Late, figure, expected: 0, found, injections: false });
}

/// Misses and false alarms that are printed; the JSON has all.
const SHOWN_MAX: usize = 20;

fn print(seed: u64, events: usize, outcome: &Outcome, probe: Probe) {
    println!("seed {seed}, {events} clean events");
    println!("{:<14} {:>9} {:>9} {:>9} {:>13}", "class", "injected", "found", "missed", "false alarms");
    for line in &outcome.lines {
        let name = line.class.name();
        println!(
            "{name:<14} {:>9} {:>9} {:>9} {:>13}",
            line.injected, line.found, line.missed, line.false_alarms
        );
    }
    println!("{:<14} {:>9} {:>9} {:>9} {:>13}", "nothing", 0, 0, 0, outcome.unexplained.len());
    for missed in outcome.missed.iter().take(SHOWN_MAX) {
        println!("MISSED {}: {} ({})", missed.class.name(), missed.what, missed.subject);
        for expected in &missed.expected {
            println!("  expected {}: {} {}", expected.job, expected.why, expected.ids.join(" or "));
        }
    }
    for count in outcome.miscounted.iter().take(SHOWN_MAX) {
        println!(
            "MISCOUNTED {}: {} is {}, not {}",
            count.class.name(),
            count.figure,
            count.found,
            count.expected
        );
    }
    for alarm in outcome.unexplained.iter().take(SHOWN_MAX) {
        println!("FALSE ALARM {}: {} {}", alarm.job, alarm.why, alarm.id);
    }
    println!(
        "led astray {} times (a finding left out, a finding made up, a figure off by one), noticed {}",
        probe.tried, probe.noticed
    );
    let injected: u64 = outcome.lines.iter().map(|line| line.injected).sum();
    let found: u64 = outcome.lines.iter().map(|line| line.found).sum();
    match outcome.holds() && probe.tried == probe.noticed {
        true => println!("self-test: {found} of {injected} found, no false alarm"),
        false => println!("self-test: FAILED, {found} of {injected} found"),
    }
}
