//! `tally clickhouse`: the embedded engine in a process of its own.

use secrecy::{ExposeSecret, SecretString};
use std::path::PathBuf;
use std::process::ExitCode;
use tally_sinks::embedded;
use tokio::io::AsyncReadExt;

/// Serve the embedded ClickHouse: the real engine on a folder, behind the ClickHouse HTTP interface, on loopback.
#[derive(clap::Args, Debug)]
pub(crate) struct ClickhouseArgs {
    /// Folder; the engine's files are in its subfolder clickhouse.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Port on loopback; 0 takes a free one.
    #[arg(long, default_value_t = 8123, value_name = "PORT")]
    port: u16,
    /// The engine's library, libchdb.so; without it, the place where `make engine` puts it.
    #[arg(long, env = "TALLY_CHDB_LIB", value_name = "FILE")]
    library: Option<PathBuf>,
    /// Name of the one user.
    #[arg(long, default_value = "default", value_name = "NAME")]
    user: String,
    /// Password of the user; empty means none is needed. Better given in the environment.
    #[arg(
        long,
        env = "TALLY_CLICKHOUSE_PASSWORD",
        default_value = "",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    password: SecretString,
    /// Stop when standard input ends, that is, when the process that started this one is gone.
    #[arg(long, hide = true)]
    with_parent: bool,
}

pub(crate) async fn run(args: ClickhouseArgs) -> anyhow::Result<ExitCode> {
    let shutdown = super::shutdown()?;
    if args.with_parent {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await; // its end is what matters
            shutdown.cancel();
        });
    }
    let mut config = embedded::Config::new(args.data);
    config.port = args.port;
    config.library = args.library;
    config.user = args.user;
    config.password = args.password.expose_secret().to_owned();
    embedded::run(config, shutdown).await?;
    Ok(ExitCode::SUCCESS)
}
