//! `tally seal`: hashes what was stored into trees and signs them.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::{shutdown, store};
use anyhow::{Context, bail};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tally_pipeline::config::ClickHouse;
use tally_queries::private::{read_private, write_private};
use tally_queries::seal::{Keys, Log, Sealed, Signers, generate_key, seal};
use tally_queries::visible::visible;

/// Hash what was stored since the last seal into each partition's tree, and sign one checkpoint over all.
///
/// Exit code 0: all that is stored is sealed. 2: sealed, but a partition has a hole; or there is nothing to seal. 3: could not.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct SealArgs {
    #[command(subcommand)]
    command: Option<SealCommand>,
    #[command(flatten)]
    clickhouse: ClickHouse,
    #[command(flatten)]
    seals: Seals,
    /// File of a private key; twice while keys rotate, then both sign.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// File of public keys that may have signed before, beside those of --key.
    #[arg(long, value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Seal again after so long, until stopped: such as 30s, 5m, 1h. 1 s to 7 d.
    #[arg(long, value_parser = duration, value_name = "DURATION")]
    every: Option<Duration>,
}

#[derive(clap::Subcommand, Debug)]
enum SealCommand {
    Keygen(KeygenArgs),
}

/// Make a pair of Ed25519 keys: FILE for the sealer alone, FILE.pub for everyone.
#[derive(clap::Args, Debug)]
struct KeygenArgs {
    /// Where the private key goes; must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The log's name, the same for all its keys: a host and path that are yours, without scheme.
    #[arg(long, default_value = "tally", value_name = "NAME")]
    name: String,
}

/// Where the log lies.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Seals {
    /// Directory or object store (s3://bucket/prefix) of tiles and checkpoints; DIR/seals where --data DIR is given.
    #[arg(id = "seals.at", long = "seals", env = "TALLY_SEALS_AT", value_name = "DIR|URL")]
    at: Option<String>,
}

impl Seals {
    /// Opens the log; `create` makes its directory.
    pub(crate) fn open(&self, clickhouse: &ClickHouse, create: bool) -> anyhow::Result<Log> {
        let beside = clickhouse.data.as_ref().map(|data| data.join("seals").display().to_string());
        let Some(at) = self.at.clone().or(beside) else { bail!("where is the log? give --seals DIR or URL") };
        Ok(Log::open(&at, create)?)
    }
}

/// Reads files of public keys.
pub(crate) fn texts(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let read =
        |file: &PathBuf| std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()));
    files.iter().map(read).collect()
}

/// Reads a duration such as `90s`, `15m`, `2h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a whole number with s, m, h or d, such as 15m".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    if count == 0 {
        return Err("must be longer than nothing".to_owned());
    }
    Ok(Duration::from_secs(u64::from(count) * seconds))
}

/// Runs it.
pub(crate) async fn run(args: SealArgs) -> anyhow::Result<ExitCode> {
    if let Some(SealCommand::Keygen(args)) = &args.command {
        return keygen(args);
    }
    if args.key.is_empty() {
        bail!("with which key? give --key FILE, which `tally seal keygen` makes")
    }
    let private: Vec<String> = args.key.iter().map(|file| read_private(file)).collect::<Result<_, _>>()?;
    let signers = Signers::parse(&private)?;
    let keys = Keys::parse(&[signers.public(), &texts(&args.keys)?].concat())?;
    let log = args.seals.open(&args.clickhouse, true)?;
    let opened = store::open(&args.clickhouse).await?;
    let stop = shutdown()?;
    let code = loop {
        let sealed = seal(opened.store.client(), &log, &signers, &keys, now_micros()?).await;
        let (code, pause) = match (&sealed, args.every) {
            (Ok(sealed), every) => (print(sealed), every),
            (Err(error), Some(pause)) => {
                tracing::error!(error = %chain(error), "could not seal; trying again");
                (super::FAILED, Some(pause))
            }
            (Err(_), None) => (super::FAILED, None),
        };
        let Some(pause) = pause else {
            sealed?;
            break code;
        };
        tokio::select! {
            () = stop.cancelled() => break code,
            () = tokio::time::sleep(pause) => {}
        }
    };
    opened.close().await?;
    Ok(ExitCode::from(code))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

fn print(sealed: &Sealed) -> u8 {
    let mut code = 0;
    for lane in &sealed.lanes {
        if lane.added > 0 {
            println!("{}: {} leaves added", visible(&lane.lane.to_string()), lane.added);
        }
        if let Some(stop) = lane.stop {
            println!("{}: stopped: {stop}", visible(&lane.lane.to_string()));
            code = 2;
        }
    }
    match &sealed.checkpoint {
        Some(checkpoint) => {
            let leaves: u64 = checkpoint.heads.iter().map(|head| head.size).sum();
            let what = if sealed.published { "signed" } else { "nothing new since" };
            let signers = checkpoint.signers.join(", ");
            println!(
                "{what} checkpoint {}: {leaves} leaves, {} partitions, {signers}",
                sealed.number,
                checkpoint.heads.len()
            );
        }
        None => {
            println!("nothing to seal");
            code = 2;
        }
    }
    code
}

fn keygen(args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let (private, public) = generate_key(&args.name)?;
    let mut beside = args.out.clone().into_os_string();
    beside.push(".pub");
    write_pair((&args.out, &private), (Path::new(&beside), &public))?;
    println!("{public}");
    Ok(ExitCode::SUCCESS)
}

/// Writes two files that must not exist yet: a private key for its owner alone, and the public one for everybody.
pub(crate) fn write_pair(private: (&Path, &str), public: (&Path, &str)) -> anyhow::Result<()> {
    let (path, key) = private;
    write_private(path, &format!("{key}\n")).with_context(|| format!("creating {}", path.display()))?;
    let (path, key) = public;
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let mut file = file.with_context(|| format!("creating {}", path.display()))?;
    writeln!(file, "{key}")?;
    Ok(file.sync_all()?)
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    /// Scenario: durations as people write them, and mistakes.
    /// Guarantees: units mean what they say; nothing is guessed.
    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "s", "5", "0s", "-1m", "1.5h", "3w", "5ä"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
