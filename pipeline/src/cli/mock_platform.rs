//! `tally mock-platform`: the credit and licence services in memory, for tests.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tally_pipeline::gateway::contract::{AMOUNT_MICROS_MAX, parse};
use tally_pipeline::gateway::mock::{Config, NewWallet, Script, serve};

/// Serve the platform's credit and licence services out of memory, for tests of what calls them: money is exact, every refusal is
/// the contract's, and a script says what goes wrong. Calls for tests lie under /_mock/ and need no token.
///
/// Exit code 0: stopped in good order. 3: could not run.
#[derive(clap::Args, Debug)]
pub(crate) struct MockPlatformArgs {
    /// Address on loopback; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8490", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// File of the bearer tokens that are taken, one a line; without it every token is.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File of what goes wrong, JSON, as POST /_mock/script takes it; without it nothing does.
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Wallets that are there from the start: wallet-1, wallet-2 and so on. 0 to 10000000.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000_000), value_name = "N")]
    wallets: u32,
    /// Credits in each of them, micros. 0 to 10^15.
    #[arg(long, default_value_t = 1_000_000_000, value_parser = clap::value_parser!(i64).range(0..=AMOUNT_MICROS_MAX), value_name = "N")]
    balance_micros: i64,
    /// Milliseconds that an estimate stands. 1 to 86400000.
    #[arg(long, default_value_t = 900_000, value_parser = clap::value_parser!(u32).range(1..=86_400_000), value_name = "MS")]
    estimate_ms: u32,
}

pub(crate) async fn run(args: MockPlatformArgs) -> anyhow::Result<ExitCode> {
    let stop = super::shutdown()?;
    let wallet = |number| NewWallet {
        wallet_id: format!("wallet-{number}"),
        balance_micros: args.balance_micros,
        frozen: false,
    };
    let config = Config {
        listen: args.listen,
        tokens: args.token_file.as_deref().map(tokens).transpose()?,
        script: args.script.as_deref().map(script).transpose()?.unwrap_or_default(),
        wallets: (1..=args.wallets).map(wallet).collect(),
        estimate_us: i64::from(args.estimate_ms) * 1_000,
        now_us: || chrono::Utc::now().timestamp_micros(),
    };
    let serving = serve(config, stop).await?;
    println!("mock platform: http://{}/   (SIGTERM ends it)", serving.address);
    serving.ended.await?;
    Ok(ExitCode::SUCCESS)
}

fn tokens(path: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let tokens: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if tokens.is_empty() {
        bail!("{} has no token: one a line", path.display());
    }
    Ok(tokens)
}

fn script(path: &Path) -> anyhow::Result<Script> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&bytes).with_context(|| format!("{} is no script", path.display()))
}
