//! `tally verify`: is what was sealed still there, as it was?
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::seal::{Seals, duration, now_micros, texts};
use super::store;
use super::witness::Broker;
use anyhow::Context;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tally_pipeline::Source;
use tally_pipeline::config::{ClickHouse, Kafka};
use tally_queries::audit::result::moment;
use tally_queries::seal::{Class, Finding, Keys, Report, Request, Scope, Witness, verify};
use tally_queries::visible::{visible, visible_json};
use tally_queries::{Verification, record_verification};
use tally_sinks::{Difference, Store};

/// How long a row may wait for its seal where --max-age says nothing else.
const MAX_AGE_DEFAULT: Duration = Duration::from_secs(3_600);

/// Compute every leaf again from ClickHouse and hold it against the signed trees; digest every fact again; with --against-kafka hold
/// receipts and dead letters against the bytes that Kafka still has.
///
/// Exit code 0: verified. 1: tampered; the first rows are named. 2: not all is sealed, or not lately, or nothing is there. 3: could not check.
#[derive(clap::Args, Debug)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    #[command(flatten)]
    seals: Seals,
    /// File of public keys, one a line; may be repeated. One of them must have signed.
    #[arg(long = "keys", visible_alias = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// Only what was appended at or after this, RFC 3339, and what follows it in its partition.
    #[arg(long, value_parser = time, value_name = "TIME", conflicts_with = "sample")]
    since: Option<i64>,
    /// Only so many leaves, drawn at random, each with its tile and its inclusion proof. 1 to 1000000.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    sample: Option<u32>,
    /// Draw the same leaves as the run that printed this seed.
    #[arg(long, value_name = "SEED", requires = "sample")]
    seed: Option<u64>,
    /// How long a row may wait for its seal; where it is given, how old the newest sealed record may be, too. 1h unless told.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    max_age: Option<Duration>,
    /// A checkpoint that was kept elsewhere: the log must be a continuation of it. Its list of heads lies beside it in FILE.heads.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Read the records of what is verified from Kafka again, and hold the SHA-256 of their bytes against their receipts and dead letters.
    /// What retention has deleted is counted. A Kafka that does not answer is exit code 3; one that has nothing left of it, 2.
    #[arg(long)]
    against_kafka: bool,
    #[command(flatten)]
    kafka: Kafka,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Milliseconds since 1970 of a time in RFC 3339.
fn time(text: &str) -> Result<i64, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text);
    time.map(|time| time.timestamp_millis())
        .map_err(|_| "expected a time such as 2026-01-31T00:00:00Z".to_owned())
}

/// Runs it.
pub(crate) async fn run(args: VerifyArgs) -> anyhow::Result<ExitCode> {
    let keys = Keys::parse(&texts(&args.keys)?)?;
    let log = args.seals.open(&args.clickhouse, false)?;
    let now_micros = now_micros()?;
    let seed = args.seed.unwrap_or(now_micros.unsigned_abs());
    let scope = match (args.since, args.sample) {
        (Some(since), _) => Scope::Since(since),
        (None, Some(count)) => Scope::Sample(count, seed),
        (None, None) => Scope::All,
    };
    let expect = args.expect.as_ref().map(|file| {
        let mut heads = file.clone().into_os_string();
        heads.push(".heads");
        let read =
            |file: PathBuf| std::fs::read(&file).with_context(|| format!("reading {}", file.display()));
        anyhow::Ok((read(file.clone())?, read(PathBuf::from(heads))?))
    });
    let request = Request {
        scope,
        now_ms: now_micros / 1_000,
        max_age_ms: i64::try_from(args.max_age.unwrap_or(MAX_AGE_DEFAULT).as_millis())?,
        fresh: args.max_age.is_some(),
        expect: expect.transpose()?,
    };
    let broker = match args.against_kafka {
        true => {
            let source = Source::open(args.kafka.client().map_err(anyhow::Error::msg)?, &args.kafka.group)?;
            source.admitted().await?;
            Some(Broker(source))
        }
        false => None,
    };
    let witness = broker.as_ref().map(|broker| broker as &dyn Witness);
    let opened = store::open(&args.clickhouse).await?;
    let mut report = Box::pin(verify(opened.store.client(), &log, &keys, &request, witness)).await;
    if scope == Scope::All {
        define(&opened.store, &mut report).await;
    }
    let verification = Verification {
        verified_us: now_micros,
        scope: &words(scope),
        against_kafka: args.against_kafka,
        report: &report,
    };
    remember(&opened.store, &verification).await;
    opened.close().await?;
    if args.json {
        println!("{}", visible_json(&serde_json::to_string_pretty(&report)?));
    } else {
        print(&report, matches!(scope, Scope::Sample(..)).then_some(seed));
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// What was looked at, for those who read the list.
fn words(scope: Scope) -> String {
    match scope {
        Scope::All => "all".to_owned(),
        Scope::Since(ms) => format!("since {}", moment(ms.saturating_mul(1_000))),
        Scope::Sample(count, _) => format!("sample of {count}"),
    }
}

/// Writes that it was done. Whoever verifies may have no right to write: then only the pages do not know of it.
async fn remember(store: &Store, verification: &Verification<'_>) {
    if let Err(error) = record_verification(store.client(), verification).await {
        let error = format!("{:#}", anyhow::Error::from(error));
        tracing::warn!(error, "that this verification was done is not written down");
    }
}

/// Holds the definitions of tables and views, through which all figures are read, against those of this version.
async fn define(store: &Store, report: &mut Report) {
    match store.differences().await {
        Ok(differing) => {
            for Difference { name, what, .. } in differing {
                let what = format!("is not what `tally migrate` of this version makes: {what}");
                report.add(Finding::of_table(Class::Tampered, &name, what));
            }
        }
        Err(error) => {
            let what = format!("definitions of tables and views: {:#}", anyhow::Error::from(error));
            report.add(Finding::log(Class::Unchecked, what));
        }
    }
}

fn print(report: &Report, seed: Option<u64>) {
    report.findings.iter().for_each(|finding| println!("{}", visible(&finding.to_string())));
    if report.more > 0 {
        println!("and {} findings more", report.more);
    }
    if let Some(seed) = seed {
        println!("drawn with --seed {seed}");
    }
    if let Some(kafka) = report.kafka {
        println!(
            "against Kafka: the bytes of {} records, {} no longer retained",
            kafka.records, kafka.expired
        );
    }
    let verdict = match report.exit_code() {
        0 => "verified",
        1 => "TAMPERED",
        2 => "INCOMPLETE",
        _ => "COULD NOT CHECK",
    };
    let Report { leaves, facts, unsealed, .. } = report;
    println!(
        "{verdict}: {leaves} leaves, {facts} facts; {unsealed} rows not yet sealed; {}",
        report.signers.join(", ")
    );
}
