//! The mock platform: the whole contract of the credit and licence services, kept in memory, with a script of what goes wrong.
//!
//! ```text
//! request ─▶ receipt ─▶ draw ─▶ latency ─▶ fault before ─▶ authentication ─▶ key ─▶ ledger ─▶ fault after ─▶ answer
//! ```
//! It is no stub: money moves exactly, once for each key, and every refusal is one of the contract's. The calls under `/_mock/`
//! are for tests, need no token, and stand in no document: so it listens on loopback alone.

mod admin;
mod authentication;
mod call;
mod faults;
mod ledger;
mod receipts;
mod tasks;

pub use admin::{Statement, Sums};
pub use faults::{Faults, LATENCY_MS_MAX, Script, ScriptError, WHOLE_PERMILLE};
pub use ledger::{Kind, Ledger, Movement, NewWallet, Sum, UNIT_MICROS, Wallet};
pub use receipts::Receipt;
pub use tasks::{License, NewLicense, Task};

use super::code::{Code, Problem};
use authentication::Authentication;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use call::{Answer, Call, Reset};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use receipts::Receipts;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes of a call's body.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a body under `/_mock/`: a hundred thousand wallets.
const ADMIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Seconds that connections may take to end.
const DRAIN_S_MAX: u64 = 2;
/// A head that is not complete by then ends the connection.
const HEAD_S_MAX: u64 = 30;
/// After the system refused a connection (too many files open, say).
const PAUSE_MS: u64 = 50;

/// How a mock platform begins.
#[derive(Debug)]
pub struct Config {
    /// Where it listens; loopback.
    pub listen: SocketAddr,
    /// Bearer tokens that are taken; without them every one.
    pub tokens: Option<Vec<String>>,
    /// What goes wrong.
    pub script: Script,
    /// Wallets that are there.
    pub wallets: Vec<NewWallet>,
    /// How long an estimate stands, micros.
    pub estimate_us: i64,
    /// The time of day, micros since 1970.
    pub now_us: fn() -> i64,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum MockError {
    /// It would be reached from elsewhere.
    #[error("the mock platform listens on loopback alone, not on {0}: its calls for tests need no token")]
    NotLoopback(SocketAddr),
    /// The script cannot be played.
    #[error("the script cannot be played")]
    Script(#[from] ScriptError),
    /// A wallet cannot be made.
    #[error("wallet {0} cannot be made: balances are 0 to 10^15 micros")]
    Wallet(String),
    /// The address cannot be had.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
}

/// A mock that listens.
#[derive(Debug)]
pub struct Serving {
    /// Where.
    pub address: SocketAddr,
    /// Ends after its connections have.
    pub ended: JoinHandle<()>,
}

/// The ledger, and the first answer under every key.
#[derive(Debug, Default)]
struct Books {
    ledger: Ledger,
    answers: HashMap<String, ((Call, [u8; 32]), Answer)>,
}

#[derive(Debug)]
struct Platform {
    books: Mutex<Books>,
    receipts: Mutex<Receipts>,
    script: Mutex<Arc<Script>>,
    authentication: Authentication,
    estimate_us: i64,
    now_us: fn() -> i64,
}

/// The connection ends here, without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the script ends the connection")]
struct ConnectionReset;

impl Platform {
    fn new(config: Config) -> Result<Platform, MockError> {
        config.script.check()?;
        let mut books = Books::default();
        for wallet in &config.wallets {
            let granted = books.ledger.grant(wallet, (config.now_us)());
            granted.map_err(|_| MockError::Wallet(wallet.wallet_id.clone()))?;
        }
        let authentication = Authentication::default();
        if let Some(tokens) = &config.tokens {
            authentication.accept(tokens);
        }
        let (estimate_us, now_us) = (config.estimate_us, config.now_us);
        let script = Mutex::new(Arc::new(config.script));
        Ok(Platform {
            books: Mutex::new(books),
            receipts: Mutex::default(),
            script,
            authentication,
            estimate_us,
            now_us,
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn receipts(&self) -> MutexGuard<'_, Receipts> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> Arc<Script> {
        Arc::clone(&self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn play(&self, script: Script) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }
}

/// Serves until `stop`; returns once it listens.
///
/// # Errors
/// See [`MockError`].
pub async fn serve(config: Config, stop: CancellationToken) -> Result<Serving, MockError> {
    let listen = config.listen;
    if !listen.ip().is_loopback() {
        return Err(MockError::NotLoopback(listen));
    }
    let platform = Arc::new(Platform::new(config)?);
    let listener = TcpListener::bind(listen).await.map_err(|error| MockError::Listen(listen, error))?;
    let address = listener.local_addr().map_err(|error| MockError::Listen(listen, error))?;
    let ended = tokio::spawn(accept(listener, router(platform), stop));
    Ok(Serving { address, ended })
}

fn router(platform: Arc<Platform>) -> Router {
    let calls = Call::ALL
        .into_iter()
        .fold(Router::new(), |router, call| router.route(call.path(), post(call::answer)));
    calls
        .merge(admin::router())
        .fallback(async || Answer::problem(&Problem::new(Code::NotFound)).into_response())
        .method_not_allowed_fallback(async || {
            Answer::problem(&Problem::new(Code::MethodNotAllowed)).into_response()
        })
        .with_state(platform)
}

async fn accept(listener: TcpListener, app: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted =
            tokio::select! { () = stop.cancelled() => break, accepted = listener.accept() => accepted };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            continue;
        };
        connections.spawn(connection(stream, app.clone(), stop.clone()));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(stream: TcpStream, app: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection waits for full segments");
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| answer(app.clone(), request));
    let mut served = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(HEAD_S_MAX))
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            // what hangs ends all the same
            tokio::time::timeout(Duration::from_secs(DRAIN_S_MAX), served).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(app: Router, request: hyper::Request<Incoming>) -> Result<Response, ConnectionReset> {
    let Ok(response) = TowerToHyperService::new(app).call(request).await; // a router always answers
    match response.extensions().get::<Reset>() {
        Some(Reset) => Err(ConnectionReset),
        None => Ok(response),
    }
}
