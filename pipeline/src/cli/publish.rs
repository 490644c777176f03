//! `tally publish`: JSON lines in, Avro events out, each held against its contract first.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::schema::topic;
use anyhow::{Context, bail};
use deliver::{Delivery, Stopped};
use indicatif::{ProgressBar, ProgressStyle};
use input::open;
use prepare::{Frame, Lines, Preparer, Refused};
use serde::Serialize;
use std::io::BufRead;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tally_pipeline::config::{EventBound, Kafka, SchemaRegistry};
use tally_schemas::{Contract, Topic, latest, versions};
use tokio_util::sync::CancellationToken;

mod deliver;
mod input;
mod prepare;

/// Refused lines that are listed; the others are counted.
const REFUSED_LISTED_MAX: usize = 50;
/// Exit code where Kafka could not be reached, or did not take everything.
const UNREACHED: u8 = 3;

/// Publish events: JSON lines in, Avro out, keyed as the contract says.
///
/// Each line is one event, an object whose keys are the fields of the contract. Integers may be numbers or decimal
/// strings, times RFC 3339 text or microseconds since 1970 UTC. A file is checked as a whole before anything is sent;
/// standard input is checked line by line, and the first wrong line stops it.
///
/// The first Ctrl-C stops taking lines, waits for what was sent, and says where to go on.
///
/// Exit code 0: all acknowledged. 1: a line was refused. 3: Kafka could not be reached or did not take everything, or
/// a signal came before the end.
#[derive(clap::Args, Debug)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    kafka: Kafka,
    #[command(flatten)]
    registry: SchemaRegistry,
    #[command(flatten)]
    event: EventBound,
    /// The contract, which is the topic's name without its prefix.
    #[arg(long, value_parser = topic)]
    topic: Topic,
    /// How the schema is named in front of each event; confluent needs a registry.
    #[arg(long, value_enum, default_value_t = Framing::SingleObject)]
    framing: Framing,
    /// Version of the contract to write; the newest if absent.
    #[arg(long, value_name = "N")]
    contract_version: Option<u32>,
    /// Send at most this many events a second; as fast as Kafka takes them if absent.
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    /// The time that the Kafka record bears: now, or the event's own occurred_at (at the latest now). Give occurred-at to
    /// load a history, whose events would count as skewed otherwise. Kafka deletes by this time: set retention.ms of
    /// the topic (-1 for no end) before events are loaded that are older than it.
    #[arg(long, value_enum, default_value_t = RecordTime::Now)]
    record_time: RecordTime,
    /// A file of JSON lines; `-` is standard input.
    #[arg(long, default_value = "-")]
    file: PathBuf,
    /// Check every line and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
}

/// How the schema is named in front of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Framing {
    /// `C3 01` and the schema's fingerprint; needs no registry.
    SingleObject,
    /// `00` and the registry's id of the schema.
    Confluent,
}

/// Which time a Kafka record bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RecordTime {
    /// When it is sent.
    Now,
    /// When the event happened.
    OccurredAt,
}

/// What became of the lines.
#[derive(Debug, Serialize)]
struct Summary {
    topic: String,
    contract_version: u32,
    dry_run: bool,
    /// Lines that were events in order.
    valid: u64,
    /// Events that Kafka has taken for good.
    acknowledged: u64,
    refused_count: u64,
    refused: Vec<Refused>,
    /// Where to go on: the first line of which Kafka has not said that it took it.
    first_line_not_sent: Option<u64>,
    /// Why sending stopped, if it did.
    stopped: Option<String>,
    seconds: f64,
}

/// Runs `tally publish`. Errors mean that it could not begin.
pub(crate) async fn run(args: PublishArgs) -> anyhow::Result<ExitCode> {
    let contract = contract(args.topic, args.contract_version)?;
    let frame = match args.framing {
        Framing::SingleObject => Frame::SingleObject,
        Framing::Confluent => Frame::Confluent(registered_id(&args, contract).await?),
    };
    let preparer = Preparer::new(contract, frame, args.event.value_bytes_max as usize, args.record_time)?;
    let (json, stop) = (args.json, super::shutdown()?);
    let publishing = tokio::task::spawn_blocking(move || publish(&args, &preparer, &stop));
    let (summary, code) = publishing.await.context("publishing was cut off")??;
    print(&summary, json)?;
    Ok(ExitCode::from(code))
}

/// Checks and sends; gives the summary and the exit code.
fn publish(
    args: &PublishArgs,
    preparer: &Preparer,
    stop: &CancellationToken,
) -> anyhow::Result<(Summary, u8)> {
    let started = Instant::now();
    let mut summary = Summary {
        topic: args.kafka.topic(args.topic),
        contract_version: preparer.contract().version,
        dry_run: args.dry_run,
        valid: 0,
        acknowledged: 0,
        refused_count: 0,
        refused: Vec::new(),
        first_line_not_sent: None,
        stopped: None,
        seconds: 0.0,
    };
    let from_file = args.file != Path::new("-");
    if from_file || args.dry_run {
        check_all(open(&args.file, stop)?, preparer, stop, &mut summary)?;
    }
    let mut code = u8::from(summary.refused_count > 0);
    if stop.is_cancelled() {
        summary.stopped = Some(Stopped::Told.to_string());
        code = UNREACHED;
    } else if code == 0 && !args.dry_run {
        code = send_all(args, preparer, stop, &mut summary)?;
    }
    summary.seconds = started.elapsed().as_secs_f64();
    Ok((summary, code))
}

/// Holds every line against the contract; sends nothing.
fn check_all(
    reader: Box<dyn BufRead>,
    preparer: &Preparer,
    stop: &CancellationToken,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let progress = progress("checking", None);
    let mut lines = Lines::new(reader);
    while let Some((number, line)) = lines.next().context("reading the events")? {
        if stop.is_cancelled() {
            break; // what was read may be half a line
        }
        match line.and_then(|line| preparer.prepare(number, line)) {
            Ok(Some(_)) => summary.valid += 1,
            Ok(None) => {}
            Err(refused) => summary.refuse(refused),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

/// Sends line after line until the end, a refused line, or until Kafka fails. Gives the exit code.
fn send_all(
    args: &PublishArgs,
    preparer: &Preparer,
    stop: &CancellationToken,
    summary: &mut Summary,
) -> anyhow::Result<u8> {
    let config = args.kafka.client().map_err(anyhow::Error::msg)?;
    let mut delivery = Delivery::new(config, &summary.topic)?;
    if let Err(stopped) = delivery.reach() {
        summary.first_line_not_sent = Some(1);
        summary.stopped = Some(stopped.to_string());
        return Ok(UNREACHED);
    }
    let known = if args.file == Path::new("-") { None } else { Some(summary.valid) };
    let progress = progress("publishing", known);
    let mut lines = Lines::new(open(&args.file, stop)?);
    let mut pace = Pace::new(args.rate);
    let mut next_line = 1;
    summary.valid = 0;
    let mut stopped: Option<Stopped> = None;
    while stopped.is_none() {
        let line = lines.next().context("reading the events")?;
        if stop.is_cancelled() {
            stopped = Some(Stopped::Told);
            break; // what was read may be half a line
        }
        let Some((number, line)) = line else { break };
        next_line = number;
        match line.and_then(|line| preparer.prepare(number, line)) {
            Ok(Some(event)) => {
                summary.valid += 1;
                delivery.wait(pace.until_next());
                stopped = delivery.send(&event).err();
                progress.set_position(delivery.acknowledged());
            }
            Ok(None) => {}
            Err(refused) => {
                summary.refuse(refused);
                break;
            }
        }
        if stopped.is_none() {
            next_line = number + 1;
        }
    }
    let failed = delivery.finish().err();
    progress.finish_and_clear();
    summary.acknowledged = delivery.acknowledged();
    let stopped = failed.or(stopped);
    summary.first_line_not_sent = match (&stopped, summary.refused.last()) {
        (Some(stopped), _) => Some(stopped.line().map_or(next_line, |line| line.min(next_line))),
        (None, Some(refused)) => Some(refused.line),
        (None, None) => None,
    };
    summary.stopped = stopped.as_ref().map(ToString::to_string);
    Ok(match stopped {
        Some(_) => UNREACHED,
        None if summary.refused_count > 0 => 1,
        None => 0,
    })
}

impl Summary {
    fn refuse(&mut self, refused: Refused) {
        self.refused_count += 1;
        if self.refused.len() < REFUSED_LISTED_MAX {
            self.refused.push(refused);
        }
    }
}

fn print(summary: &Summary, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(summary)?);
        return Ok(());
    }
    for refused in &summary.refused {
        println!("{refused}");
    }
    let more = summary.refused_count.saturating_sub(summary.refused.len() as u64);
    if more > 0 {
        println!("and {more} more lines refused");
    }
    if let Some(stopped) = &summary.stopped {
        println!("{stopped}");
    }
    let Summary { topic, contract_version, valid, acknowledged, refused_count, seconds, .. } = summary;
    if summary.dry_run || (*refused_count > 0 && *acknowledged == 0) {
        println!("{topic} version {contract_version}: {valid} valid, {refused_count} refused, nothing sent");
        return Ok(());
    }
    println!("{topic} version {contract_version}: {acknowledged} acknowledged in {seconds:.1} s");
    if let Some(line) = summary.first_line_not_sent {
        println!(
            "go on from line {line}; an event that is sent twice counts once, as long as it keeps its event_id"
        );
    }
    Ok(())
}

fn contract(topic: Topic, version: Option<u32>) -> anyhow::Result<&'static Contract> {
    let Some(version) = version else { return Ok(latest(topic)) };
    match versions(topic).find(|contract| contract.version == version) {
        Some(contract) => Ok(contract),
        None => bail!("{topic} has no version {version}; the newest is {}", latest(topic).version),
    }
}

async fn registered_id(args: &PublishArgs, contract: &Contract) -> anyhow::Result<u32> {
    let Some(registry) = args.registry.client()? else {
        bail!("the Confluent framing names schemas by a registry's id: give --registry URL");
    };
    super::schema::registered_id(&registry, &args.kafka.topic_prefix, contract).await
}

/// A bar on standard error; none where that is not a terminal.
fn progress(what: &'static str, length: Option<u64>) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match length {
        Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} ({per_sec}, {eta})",
        None => "{spinner} {msg} {human_pos} ({per_sec})",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_message(what)
}

/// Spreads events over time: the n-th is due n/rate seconds after the first.
struct Pace {
    started: Instant,
    rate: Option<NonZeroU32>,
    events: u64,
}

impl Pace {
    fn new(rate: Option<NonZeroU32>) -> Pace {
        Pace { started: Instant::now(), rate, events: 0 }
    }

    fn until_next(&mut self) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let due = Duration::from_nanos(self.events.saturating_mul(1_000_000_000) / u64::from(rate.get()));
        self.events += 1;
        due.saturating_sub(self.started.elapsed())
    }
}

#[cfg(test)]
mod tests;
