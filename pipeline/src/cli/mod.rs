//! The command line. Each command is a module: its arguments, and one `run`.

mod allocator;
mod arguments;
mod audit;
mod balance;
mod clickhouse;
mod config;
mod dashboards;
mod dead;
mod demo;
mod feed;
mod feed_bench;
mod feed_client;
mod gateway;
mod ingest;
mod migrate;
mod mock_platform;
mod pipe;
mod progress;
mod prove;
mod publish;
mod replay;
mod schema;
mod seal;
mod serve;
mod simulate;
mod store;
mod token;
mod verify;
mod witness;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use tally_pipeline::Source;
use tally_pipeline::config::{Kafka, Logging};
use tally_queries::visible::visible_lines;
use tokio_util::sync::CancellationToken;

/// Exit code where something could not be done or checked.
const FAILED: u8 = 3;

/// Every Kafka offset ends as exactly one row or exactly one dead letter, and anyone can check that it did.
#[derive(Parser)]
#[command(name = "tally", version, max_term_width = 110)]
struct Cli {
    /// Configuration file; without it ./tally.toml, if there is one. Environment and flags stand above it.
    #[arg(long, global = true, env = "TALLY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    logging: Logging,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    FeedBench(feed_bench::FeedBenchArgs),
    Ingest(ingest::IngestArgs),
    Publish(publish::PublishArgs),
    Migrate(migrate::MigrateArgs),
    MockPlatform(mock_platform::MockPlatformArgs),
    Replay(replay::ReplayArgs),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    Serve(Box<serve::ServeArgs>),
    Gateway(Box<gateway::GatewayArgs>),
    #[command(subcommand)]
    Token(token::TokenCommand),
    Simulate(simulate::SimulateArgs),
    Prove(prove::ProveArgs),
    Seal(seal::SealArgs),
    FeedKey(feed::FeedKeyArgs),
    Verify(verify::VerifyArgs),
    #[command(subcommand)]
    Dashboards(dashboards::DashboardsCommand),
    Clickhouse(clickhouse::ClickhouseArgs),
    Config(config::ConfigArgs),
}

/// Parses, runs, and says on standard error why it could not.
pub(crate) fn main() -> ExitCode {
    allocator::bound_memory();
    match pipe::ending_quietly(start) {
        Ok(code) => code,
        Err(error) => {
            use std::io::Write;
            let text = visible_lines(&format!("{error:#}"));
            let _ = writeln!(std::io::stderr(), "tally: {text}"); // there is nobody else to tell
            ExitCode::from(FAILED)
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    let command = arguments::with_file(Cli::command())?;
    let matches = match arguments::matches(command, std::env::args_os().collect()) {
        Ok(matches) => matches,
        Err(mistakes) => return arguments::tell(&mistakes),
    };
    let cli = Cli::from_arg_matches(&matches)?;
    log(&cli.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.spawn(allocator::give_back()); // until the runtime ends
    let code = runtime.block_on(run(cli.command, &matches));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2)); // a blocked call to a broker must not hold us
    code
}

async fn run(command: Command, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::FeedBench(args) => Box::pin(feed_bench::run(args)).await,
        Command::Ingest(args) => ingest::run(args).await,
        Command::Publish(args) => publish::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::MockPlatform(args) => mock_platform::run(args).await,
        Command::Audit(command) => Box::pin(audit::run(command)).await, // it holds much between its awaits
        Command::Replay(args) => replay::run(args).await,
        Command::Dead(command) => dead::run(command).await,
        Command::Schema(command) => schema::run(command).await,
        Command::Serve(args) => Box::pin(serve::run(*args)).await,
        Command::Gateway(args) => Box::pin(gateway::run(*args)).await,
        Command::Token(command) => token::run(command).await,
        Command::Simulate(args) => simulate::run(args).await,
        Command::Verify(args) => Box::pin(verify::run(args)).await,
        Command::Prove(args) => Box::pin(prove::run(args)).await,
        Command::Seal(args) => Box::pin(seal::run(args)).await,
        Command::FeedKey(args) => feed::add_key(&args),
        Command::Dashboards(command) => dashboards::run(&command),
        Command::Clickhouse(args) => clickhouse::run(args).await,
        Command::Config(_) => config::run(matches),
    }
}

fn log(logging: &Logging) -> anyhow::Result<()> {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_new(&logging.filter)?;
    let to = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match logging.format.as_str() {
        "json" => to.json().init(),
        _ => to.with_ansi(std::io::stderr().is_terminal()).init(),
    }
    Ok(())
}

/// Ends a command at once, with what to do, where Kafka does not let us in: a producer alone would only be silent.
async fn admitted(kafka: &Kafka) -> anyhow::Result<()> {
    let source = Source::open(kafka.client().map_err(anyhow::Error::msg)?, &kafka.group)?;
    Ok(source.admitted().await?)
}

/// A token that the first SIGTERM or SIGINT cancels; the second ends the process at once.
fn shutdown() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        let mut signals = 0;
        loop {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            signals += 1;
            if signals == 2 {
                std::process::abort();
            }
            tracing::info!("stopping; a second signal ends at once");
            cancel.cancel();
        }
    });
    Ok(token)
}
