//! The HTTP interface: connections, paths, and the way of a query to its thread and back.

use std::convert::Infallible;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::Config;
use super::answer::{self, AnswerTo, Labels};
use super::body;
use super::engine::Engine;
use super::error::{Exception, Kind};
use super::execute::{Bounds, Job, Reply};
use super::request::Request;
use super::session::Sessions;

/// Stack of a thread that runs a statement: the engine's parser recurses, and its own threads have
/// as much.
const STACK_BYTES: usize = 8 << 20;
/// Largest head of a request. The address alone may have 64 KiB (a bound of the `http` crate).
const HEAD_BYTES_MAX: usize = 400 << 10;
/// Longest wait for the head of a request.
const HEAD_SECONDS_MAX: u64 = 30;

/// Where statements run: the engine, and what stands in its place when connections alone are tested.
pub(super) trait Runs: Sized + Send + Sync + 'static {
    /// Runs a statement on its thread, and answers through `reply`.
    fn run(job: Job<Self>, reply: Reply);

    /// Ends the statements whose `log_comment` is `comment`; all of them when `None`.
    fn kill(&self, comment: Option<&str>);
}

impl Runs for Engine {
    fn run(job: Job, reply: Reply) {
        job.run(reply);
    }

    fn kill(&self, comment: Option<&str>) {
        Engine::kill(self, comment);
    }
}

/// What all connections share.
pub(super) struct Server<E = Engine> {
    engine: Arc<E>,
    sessions: Arc<Sessions>,
    config: Config,
    about: answer::Server,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    ids: RandomState,
    id: AtomicU64,
}

type Answered = Response<answer::Body>;

/// The bounds of every connection.
pub(super) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_SECONDS_MAX))
        .max_buf_size(HEAD_BYTES_MAX);
    http
}

impl Server {
    pub(super) fn new(engine: Engine, config: Config) -> Self {
        let about = answer::Server {
            version: engine.version.clone(),
            timezone: engine.timezone.clone(),
            display_name: "tally-embedded".into(),
        };
        Self::over(engine, about, config)
    }
}

impl<E: Runs> Server<E> {
    /// Over what runs the statements; `about` is what the answers say of the server.
    pub(super) fn over(engine: E, about: answer::Server, config: Config) -> Self {
        Self {
            engine: Arc::new(engine),
            sessions: Arc::new(Sessions::new(config.sessions_max)),
            running: Arc::new(Semaphore::new(config.queries_max)),
            waiting: Arc::new(Semaphore::new(config.waiting_queries_max)),
            about,
            config,
            ids: RandomState::new(),
            id: AtomicU64::new(0),
        }
    }

    /// Serves until `shutdown`, then lets the running statements end, up to the deadline; those
    /// that do not are killed. Gives back the engine when nothing uses it any more.
    pub(super) async fn serve(self, listener: TcpListener, shutdown: CancellationToken) -> Option<E> {
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let mut sweep = tokio::time::interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = sweep.tick() => server.sessions.sweep(false),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => server.connection(stream, &graceful),
                    // Out of file descriptors, most likely: the next try would fail at once.
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(listener);
        if tokio::time::timeout(server.config.shutdown, graceful.shutdown()).await.is_err() {
            tracing::warn!("statements still run at the deadline and are ended");
            server.engine.kill(None);
        }
        server.into_engine().await
    }

    /// Waits up to 5 s more for the threads, whose sessions must close before the engine.
    async fn into_engine(self: Arc<Self>) -> Option<E> {
        let queries_max = u32::try_from(self.config.queries_max).unwrap_or(u32::MAX);
        let all = Arc::clone(&self.running).acquire_many_owned(queries_max);
        let _ = tokio::time::timeout(Duration::from_secs(5), all).await;
        self.sessions.sweep(true);
        let mut engine = Arc::clone(&self.engine);
        drop(self);
        for _ in 0..50 {
            match Arc::try_unwrap(engine) {
                Ok(engine) => return Some(engine),
                Err(shared) => engine = shared,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // A thread holds on to it: closing it under the thread would crash.
        std::mem::forget(engine);
        None
    }

    fn connection(self: &Arc<Self>, stream: tokio::net::TcpStream, graceful: &GracefulShutdown) {
        let _ = stream.set_nodelay(true);
        let watched = graceful.watch(self.handle(&http(), stream));
        tokio::spawn(async move {
            if let Err(error) = watched.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }

    /// Answers what comes over one connection, whatever carries it.
    pub(super) fn handle<S>(
        self: &Arc<Self>,
        http: &http1::Builder,
        stream: S,
    ) -> impl GracefulConnection<Error = hyper::Error> + Send + use<E, S>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let server = Arc::clone(self);
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.route(request).await) }
        });
        http.serve_connection(TokioIo::new(stream), service)
    }

    async fn route(self: Arc<Self>, request: hyper::Request<Incoming>) -> Answered {
        let has_query = request.uri().query().is_some_and(|query| query.contains("query="));
        match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/ping" | "/replicas_status") => {
                answer::text(StatusCode::OK, "Ok.\n")
            }
            (&Method::GET | &Method::HEAD, "/") if !has_query => answer::text(StatusCode::OK, "Ok.\n"),
            (&Method::GET | &Method::HEAD | &Method::POST, "/") => self.query(request).await,
            (_, "/") => answer::text(StatusCode::METHOD_NOT_ALLOWED, "Use GET or POST.\n"),
            (_, path) => answer::text(
                StatusCode::NOT_FOUND,
                format!("There is no handle {path}\n\nUse / or /ping for health checks.\n"),
            ),
        }
    }

    async fn query(self: Arc<Self>, request: hyper::Request<Incoming>) -> Answered {
        let (parts, incoming) = request.into_parts();
        let mut labels = Labels { query_id: self.unique_id(), exception_tag: self.exception_tag() };
        let mut incoming = Some(incoming);
        let prepared = match Request::read(&parts) {
            Ok(request) => self.prepare(request, &mut incoming, &mut labels).await,
            Err(exception) => Err(exception),
        };
        if let Some(unread) = incoming {
            tokio::spawn(body::drain(unread, self.body_bounds()));
        }
        match prepared {
            Ok((to, job, guard)) => match self.start(job).await {
                Ok(answer) => answer::result(answer, &to, &self.about, &labels, guard),
                Err(exception) => answer::exception(&exception, &self.about, &labels),
            },
            Err(exception) => answer::exception(&exception, &self.about, &labels),
        }
    }

    async fn prepare(
        &self,
        mut request: Request,
        incoming: &mut Option<Incoming>,
        labels: &mut Labels,
    ) -> Result<(AnswerTo, Job<E>, Guard<E>), Exception> {
        self.authenticate(&request)?;
        if let Some(query_id) = &request.query_id {
            labels.query_id.clone_from(query_id);
        }
        if request.boundary.is_some()
            && let Some(form) = incoming.take()
        {
            let form = body::whole(form, self.config.query_bytes_max, self.body_bounds()).await?;
            request.add_form(&form)?;
        }
        let permit = self.admit().await?;
        let lease = request.session.take().map(|asked| self.sessions.take(asked)).transpose()?;
        let (pieces, reader) = body::channel();
        if let Some(incoming) = incoming.take() {
            tokio::spawn(body::pump(incoming, pieces, self.body_bounds()));
        }
        let guard = Guard {
            engine: Arc::clone(&self.engine),
            // A comment of the client's own may not be unique, and so cannot be used to kill.
            comment: request.setting("log_comment").is_none().then(|| labels.query_id.clone()),
            cancelled: Arc::default(),
            finished: Arc::default(),
        };
        let to = AnswerTo::new(&request);
        let job = Job {
            engine: Arc::clone(&self.engine),
            lease,
            query_id: labels.query_id.clone(),
            exception_tag: labels.exception_tag.clone(),
            cancelled: Arc::clone(&guard.cancelled),
            finished: Arc::clone(&guard.finished),
            bounds: Bounds {
                query_bytes_max: self.config.query_bytes_max,
                held_answer_bytes_max: self.config.held_answer_bytes_max,
                idle: self.config.idle,
            },
            runtime: tokio::runtime::Handle::current(),
            permit,
            body: Some(reader),
            request,
        };
        Ok((to, job, guard))
    }

    fn body_bounds(&self) -> body::Bounds {
        body::Bounds { bytes_max: self.config.body_bytes_max, idle: self.config.idle }
    }

    async fn start(&self, job: Job<E>) -> Result<super::execute::Answer, Exception> {
        let (reply, answer) = oneshot::channel();
        let thread = std::thread::Builder::new().name("clickhouse-query".into()).stack_size(STACK_BYTES);
        thread.spawn(move || E::run(job, reply)).map_err(|error| {
            Exception::new(
                Kind::TooManyQueries,
                format_args!("cannot start a thread for the query: {error}."),
            )
        })?;
        answer
            .await
            .unwrap_or_else(|_| Err(Exception::new(Kind::Engine, "the thread of the query has ended.")))
    }

    fn authenticate(&self, request: &Request) -> Result<(), Exception> {
        let user = request.user.as_bytes().ct_eq(self.config.user.as_bytes());
        let password = request.password.as_bytes().ct_eq(self.config.password.as_bytes());
        if bool::from(user & password) {
            return Ok(());
        }
        Err(Exception::new(
            Kind::AuthenticationFailed,
            format_args!(
                "{}: Authentication failed: password is incorrect, or there is no user with such name.",
                request.user
            ),
        ))
    }

    /// A place to run in, waited for in a queue that has a bound in length and time.
    async fn admit(&self) -> Result<OwnedSemaphorePermit, Exception> {
        let refused = || {
            let maximum = self.config.queries_max;
            Exception::new(
                Kind::TooManyQueries,
                format_args!("Too many simultaneous queries. Maximum: {maximum}. Try again later."),
            )
        };
        if let Ok(permit) = Arc::clone(&self.running).try_acquire_owned() {
            return Ok(permit);
        }
        let _place = self.waiting.try_acquire().map_err(|_| refused())?;
        let running = Arc::clone(&self.running).acquire_owned();
        match tokio::time::timeout(self.config.wait_max, running).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(refused()),
        }
    }

    fn random(&self) -> u64 {
        let mut hasher = self.ids.build_hasher();
        hasher.write_u64(self.id.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }

    /// An id in the form of a UUID.
    fn unique_id(&self) -> String {
        let (high, low) = (self.random(), self.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        )
    }

    /// Sixteen lower-case letters, as the server's own tags.
    fn exception_tag(&self) -> String {
        let mut number = u128::from(self.random()) << 64 | u128::from(self.random());
        std::iter::repeat_with(|| {
            let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or_default());
            number /= 26;
            letter
        })
        .take(16)
        .collect()
    }
}

/// Ends the statement when the client goes before it has ended.
struct Guard<E: Runs> {
    engine: Arc<E>,
    comment: Option<String>,
    cancelled: Arc<AtomicBool>,
    finished: Arc<AtomicBool>,
}

impl<E: Runs> Drop for Guard<E> {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Release);
        if self.finished.load(Ordering::Acquire) {
            return;
        }
        let (engine, comment) = (Arc::clone(&self.engine), self.comment.take());
        if let Some(comment) = comment {
            // On a thread, since it waits for the engine.
            let thread = std::thread::Builder::new().name("clickhouse-kill".into());
            let _ = thread.spawn(move || engine.kill(Some(&comment)));
        }
    }
}
