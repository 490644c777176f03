//! Embedded ClickHouse: the real engine in this process, served over the ClickHouse HTTP interface.
//!
//! [`run`] loads `libchdb`, opens the data folder and listens on loopback, so that any ClickHouse
//! client works unchanged. Production sets the address of a cluster and never loads any of this.
//!
//! The way of a request:
//! 1. `server` accepts it, checks the user, and waits for a free place;
//! 2. `request` reads address and headers; `body` moves the body to the statement's thread;
//! 3. `session` gives it a connection of the engine: a fresh one, or the one of its `session_id`.
//!    Settings, database and parameters are set on that connection alone, so they cannot leak;
//! 4. `statement` finds where an INSERT ends and its data begins; `execute` runs it and passes the
//!    data on in pieces; `select` passes results on in pieces, which `splice` makes one document;
//! 5. `answer` gives it ClickHouse's headers, or the exception with its code and HTTP status.
//!
//! `library` holds all the unsafe code. `folder` lets one process serve a folder and others find
//! it. What is absent: TLS, more than one user, roles, external tables (files in
//! multipart bodies), limits on the functions `file` and `url`: who may query may read what this
//! process may read, so give a password where other people use the machine.

mod answer;
mod blocks;
mod body;
mod compression;
mod engine;
mod error;
mod execute;
mod folder;
#[cfg(test)]
mod fuzz_tests;
mod library;
mod multipart;
mod request;
mod select;
mod server;
mod session;
mod splice;
mod statement;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use folder::{Endpoint, locate};

/// Release of the engine that this module is written for.
pub const ENGINE_RELEASE: &str = "26.7.3-stable.1";

/// How an embedded ClickHouse is served.
#[derive(Clone, Debug)]
pub struct Config {
    /// Data folder; the engine's files are in its subfolder `clickhouse`.
    pub data_dir: PathBuf,
    /// Port on loopback; 0 takes a free one. Default 0.
    pub port: u16,
    /// The engine library, when it is not at its usual places (see [`find_library`]).
    pub library: Option<PathBuf>,
    /// Name of the one user. Default `default`.
    pub user: String,
    /// Password of the user; empty means none is needed. Default empty.
    pub password: String,
    /// Largest body of a request, before decompression. Default 4 GiB.
    pub body_bytes_max: u64,
    /// Longest statement, the data of an INSERT left out. Default 1 MiB.
    pub query_bytes_max: usize,
    /// Largest result held in memory: one in a format that cannot be streamed (JSON, Parquet and the
    /// like; measured in the engine's columns), or one that `wait_end_of_query` asks to be held. The
    /// others are streamed and may have any size. Default 256 MiB.
    pub held_answer_bytes_max: usize,
    /// Statements that run at once. Default 32.
    pub queries_max: usize,
    /// Statements that wait for a place; more are refused with 503. Default 256.
    pub waiting_queries_max: usize,
    /// Longest wait for a place. Default 30 s.
    pub wait_max: Duration,
    /// Named sessions kept at once; the oldest idle one makes room. Default 256.
    pub sessions_max: usize,
    /// `max_execution_time` of statements that set none, in seconds. Default 600.
    pub statement_seconds_max: u64,
    /// Longest pause of a client in sending a body or taking a result. Default 60 s.
    pub idle: Duration,
    /// Whether [`run`] prints the line with the address on standard output. Default true.
    pub announce: bool,
    /// Time for running statements to end at shutdown. Default 10 s.
    pub shutdown: Duration,
}

impl Config {
    /// The defaults, for a data folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            port: 0,
            library: None,
            user: "default".into(),
            password: String::new(),
            body_bytes_max: 4 << 30,
            query_bytes_max: 1 << 20,
            held_answer_bytes_max: 256 << 20,
            queries_max: 32,
            waiting_queries_max: 256,
            wait_max: Duration::from_secs(30),
            sessions_max: 256,
            statement_seconds_max: 600,
            idle: Duration::from_secs(60),
            announce: true,
            shutdown: Duration::from_secs(10),
        }
    }
}

/// Serves ClickHouse on loopback until `shutdown`; prints one line with the address when ready.
///
/// # Errors
/// When the library is missing or unfit, another process serves the folder, the engine refuses the
/// folder, or the port is taken. Errors of single queries go to their clients.
#[expect(clippy::print_stdout, reason = "the ready line is what the command prints")]
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let data_dir = config.data_dir.clone();
    let claim = blocking(move || folder::Claim::take(&data_dir)).await?;
    let library = find_library(config.library.as_deref(), &config.data_dir)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port));
    let listener = tokio::net::TcpListener::bind(address).await;
    let listener = listener.map_err(|source| Error::Listen { address, source })?;
    let address = listener.local_addr().map_err(|source| Error::Listen { address, source })?;
    let (folder, seconds_max) = (config.data_dir.join("clickhouse"), config.statement_seconds_max);
    let engine = blocking(move || engine::Engine::start(&library, &folder, seconds_max)).await?;
    let url = format!("http://{address}");
    claim.announce(&Endpoint { pid: std::process::id(), url: url.clone() })?;
    tracing::info!(url, version = engine.version, "clickhouse is ready");
    if config.announce {
        println!("clickhouse ready at {url}");
    }
    match server::Server::new(engine, config).serve(listener, shutdown).await {
        Some(engine) => blocking(move || drop(engine)).await,
        None => tracing::warn!("a statement did not end; the engine is left open"),
    }
    drop(claim);
    Ok(())
}

/// Runs what waits for disk or engine without holding up the other tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Finds the engine library: `named`, else the environment's `TALLY_CHDB_LIB`, else
/// `DATA/libchdb.so`, else `tally/chdb-RELEASE/libchdb.so` in the user's cache folder.
///
/// # Errors
/// [`Error::LibraryMissing`] with the command that fetches it. A place that is named explicitly is
/// the only one looked at.
pub fn find_library(named: Option<&Path>, data_dir: &Path) -> Result<PathBuf, Error> {
    let explicit =
        named.map(Path::to_owned).or_else(|| std::env::var_os("TALLY_CHDB_LIB").map(PathBuf::from));
    let places = match explicit {
        Some(path) => vec![path],
        None => {
            let cache =
                std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
            let cache =
                cache.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
            let cached = cache.map(|cache| cache.join(format!("tally/chdb-{ENGINE_RELEASE}/libchdb.so")));
            std::iter::once(data_dir.join("libchdb.so")).chain(cached).collect()
        }
    };
    if let Some(found) = places.iter().find(|path| path.is_file()) {
        // A bare name would be looked up by the loader in the system's folders instead.
        return Ok(std::path::absolute(found).unwrap_or_else(|_| found.clone()));
    }
    let looked = places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(Error::LibraryMissing { looked })
}
