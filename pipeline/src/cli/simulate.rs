//! `tally simulate`: the simulated platform on a Kafka of your own.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use anyhow::Context;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use tally_pipeline::TruthFile;
use tally_pipeline::config::{Kafka, SchemaRegistry};
use tally_pipeline::simulate::{Pace, SimulateError, now_micros, simulate};
use tally_pipeline::simulator::{Config, Expect, Simulator};

/// Publish the events of a seeded, simulated platform: tasks, money, licences, cases; some invalid, some twice.
///
/// With `--registry` they are framed in the Confluent wire format, under the contracts that `tally schema register` has put there.
#[derive(clap::Args, Debug)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    kafka: Kafka,
    #[command(flatten)]
    registry: SchemaRegistry,
    /// How many events.
    #[arg(long, value_name = "N")]
    events: u64,
    /// Same seed, same history.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Invalid events per thousand.
    #[arg(long, default_value_t = 10, value_name = "N")]
    invalid_permille: u16,
    /// Duplicate events per thousand.
    #[arg(long, default_value_t = 10, value_name = "N")]
    duplicate_permille: u16,
    /// Write one JSON line per acknowledged event: topic, partition, offset, event_id, expect.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Write what an audit of these events must find, as JSON: figures, balances, broken tasks, orders.
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
}

/// Simulated time between two events of the default configuration, microseconds: measured over 200,000 events.
const EVENT_GAP_MICROS: u64 = 380_000;

pub(crate) async fn run(args: SimulateArgs) -> anyhow::Result<ExitCode> {
    let shutdown = super::shutdown()?;
    super::admitted(&args.kafka).await?;
    let back = i64::try_from(args.events.saturating_mul(EVENT_GAP_MICROS * 11 / 10))?;
    let config = Config {
        start: now_micros() - back, // so that the last event lies in the past
        invalid_permille: args.invalid_permille,
        duplicate_permille: args.duplicate_permille,
        ..Config::seeded(args.seed)
    };
    let ids = registered_ids(&args).await?;
    let began = Instant::now();
    let publish = move || {
        let mut simulator = Simulator::new(config);
        if let Some(ids) = ids {
            simulator.frame_confluent(|contract| ids[&contract.fingerprint]);
        }
        let sent = simulate(&args.kafka, &mut simulator, Pace::Count(args.events), &shutdown)?;
        Ok::<_, SimulateError>((sent, simulator))
    };
    let (sent, simulator) = tokio::task::spawn_blocking(publish).await??;
    let seconds = began.elapsed().as_secs_f64();
    if let Some(path) = args.record {
        let mut file = BufWriter::new(File::create(path)?);
        for one in &sent {
            let expect = match one.expect {
                Expect::Accept => "accept",
                Expect::Duplicate => "duplicate",
                Expect::Dead(reason) => reason,
            };
            let line = serde_json::json!({
                "topic": one.topic.name(), "partition": one.partition, "offset": one.offset,
                "event_id": one.event_id, "expect": expect,
            });
            writeln!(file, "{line}")?;
        }
        file.flush()?;
    }
    if let Some(path) = args.truth {
        let truth = TruthFile::of(args.seed, simulator.opens_at(), simulator.truth(), &sent);
        truth.write(&path).with_context(|| path.display().to_string())?;
    }
    println!("{} events acknowledged in {seconds:.1} s", sent.len());
    Ok(ExitCode::SUCCESS)
}

/// What the registry, if one is given, has for each contract, by its fingerprint.
async fn registered_ids(args: &SimulateArgs) -> anyhow::Result<Option<HashMap<u64, u32>>> {
    let Some(registry) = args.registry.client()? else { return Ok(None) };
    let mut ids = HashMap::new();
    for contract in tally_schemas::contracts() {
        let id = super::schema::registered_id(&registry, &args.kafka.topic_prefix, contract).await?;
        ids.insert(contract.fingerprint, id);
    }
    Ok(Some(ids))
}
