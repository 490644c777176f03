//! `tally replay`.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::store;
use anyhow::Context;
use std::process::ExitCode;
use tally_pipeline::config::Sections;
use tally_pipeline::replay::{Range, Survey, replay};

/// Read a range of a topic once more: say what the store lacks of it, and with --execute fill that in.
///
/// What stands in the ledger stays as it is: a lost fact or dead letter is put back under its receipt, an offset
/// without disposition is judged, and offsets that no lane has committed yet are left to `tally ingest`, which may run
/// meanwhile. No offset of the group is committed. A dead letter that would be accepted today is counted; `tally dead
/// replay` publishes it again.
///
/// Exit code 0: the range is whole, or was made so. 1: something is missing. 2: offsets of it are still to be taken. 3: it could
/// not be read or written.
#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("range").required(true).multiple(true).args(["from_offset", "from"]))]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    sections: Sections,
    /// The Kafka topic.
    #[arg(long)]
    topic: String,
    /// Its partition, for a range of offsets.
    #[arg(long, value_name = "P", requires = "from_offset", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// First offset.
    #[arg(long, value_name = "A", requires_all = ["partition", "to_offset"], conflicts_with_all = ["from", "to"], value_parser = clap::value_parser!(i64).range(0..))]
    from_offset: Option<i64>,
    /// Up to this offset, which is not included.
    #[arg(long, value_name = "B", requires = "from_offset", value_parser = clap::value_parser!(i64).range(1..))]
    to_offset: Option<i64>,
    /// Records of all partitions appended at or after this time, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "to", value_parser = milliseconds)]
    from: Option<i64>,
    /// Records appended before this time, RFC 3339.
    #[arg(long, value_name = "TIME", requires = "from", value_parser = milliseconds)]
    to: Option<i64>,
    /// Fill in what is missing; without it nothing is written.
    #[arg(long)]
    execute: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(crate) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let offsets = args.partition.zip(args.from_offset).zip(args.to_offset);
    let range = match (offsets, args.from.zip(args.to)) {
        (Some(((partition, from), to)), _) => Range::Offsets { partition, from, to },
        (None, Some((from_ms, to_ms))) => Range::Times { from_ms, to_ms },
        (None, None) => anyhow::bail!("give a range of offsets or of time"),
    };
    let opened = store::open(&args.sections.clickhouse).await?;
    let surveys = replay(&args.sections, &opened.store, (&args.topic, range), args.execute).await;
    opened.close().await?;
    let surveys = surveys?;
    let sound = match args.execute {
        true => surveys.iter().all(Survey::is_mended),
        false => surveys.iter().all(Survey::is_whole),
    };
    let untaken: u64 = surveys.iter().map(|survey| survey.not_taken).sum();
    // of offsets that no lane has passed nothing can be said yet
    let (verdict, code) = match (sound, untaken) {
        (false, _) => ("FAIL", 1),
        (true, 0) => ("PASS", 0),
        (true, _) => ("PENDING", 2),
    };
    if args.json {
        let report = serde_json::json!({
            "verdict": verdict, "topic": args.topic, "executed": args.execute, "partitions": surveys,
        });
        println!("{report}");
    } else {
        print(&args, &surveys);
    }
    if untaken > 0 && !args.json {
        println!(
            "{untaken} offsets of the range were not passed by a lane of group {} yet: `tally ingest` takes them",
            args.sections.kafka.group
        );
    }
    Ok(ExitCode::from(code))
}

fn print(args: &ReplayArgs, surveys: &[Survey]) {
    println!(
        "{:>9} {:>12} {:>12} {:>9} {:>9} {:>7} {:>7} {:>9} {:>10} {:>12}",
        "partition",
        "from",
        "to",
        "records",
        "accepted",
        "dead",
        "holes",
        "not taken",
        "facts lost",
        "letters lost"
    );
    for s in surveys {
        println!(
            "{:>9} {:>12} {:>12} {:>9} {:>9} {:>7} {:>7} {:>9} {:>10} {:>12}",
            s.partition,
            s.from,
            s.to,
            s.records,
            s.accepted,
            s.dead,
            s.holes,
            s.not_taken,
            s.facts_lost,
            s.letters_lost
        );
    }
    let sum = |of: fn(&Survey) -> u64| surveys.iter().map(of).sum::<u64>();
    let gaps = sum(|s| s.unrecorded_gap_offsets);
    if gaps > 0 {
        println!("{gaps} offsets hold no record and are not recorded as gaps");
    }
    let acceptable = sum(|s| s.now_acceptable);
    if acceptable > 0 {
        let topic = &args.topic;
        println!(
            "{acceptable} dead letters would be accepted today: `tally dead replay --topic {topic}` publishes them again"
        );
    }
    let astray = sum(|s| s.not_restorable);
    if astray > 0 {
        println!("{astray} lost facts cannot be restored: judged today they are not what their receipts say");
    }
    match args.execute {
        true => println!("{} rows restored, {} holes filled", sum(|s| s.restored), sum(|s| s.filled)),
        false => println!("nothing was written; --execute fills in what is missing"),
    }
}

/// Milliseconds since 1970 UTC of an RFC 3339 time.
fn milliseconds(text: &str) -> anyhow::Result<i64> {
    let time = chrono::DateTime::parse_from_rfc3339(text);
    Ok(time.context("expected a time such as 2026-02-01T12:00:00Z")?.timestamp_millis())
}
