//! Runs one statement, on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::body::{Body, Piece};
use super::engine::Engine;
use super::error::{Exception, Kind};
use super::library::{Class, Connection, Progress};
use super::request::Request;
use super::session::{Lease, Session};
use super::statement::{self, Forbidden, Insert, Statement};

/// The beginning of an answer, or the whole of it.
pub(super) struct Answer {
    pub(super) format: String,
    pub(super) progress: Progress,
    pub(super) elapsed: Duration,
    pub(super) first: Vec<Bytes>,
    /// More pieces, when it is not the whole. An `Err` breaks the connection.
    pub(super) rest: Option<mpsc::Receiver<Result<Bytes, Broken>>>,
}

/// The answer ended in an exception after it had begun.
#[derive(Debug, thiserror::Error)]
#[error("the answer ended in an exception")]
pub(super) struct Broken;

/// Bounds of one statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Longest statement without the data of an INSERT.
    pub(super) query_bytes_max: usize,
    /// Largest answer that is held whole.
    pub(super) held_answer_bytes_max: usize,
    /// Longest wait for the client to take a piece of the answer.
    pub(super) idle: Duration,
}

/// All that a statement needs. `E` is where it runs.
pub(super) struct Job<E = Engine> {
    pub(super) engine: Arc<E>,
    pub(super) request: Request,
    pub(super) body: Option<mpsc::Receiver<Piece>>,
    pub(super) lease: Option<Lease>,
    pub(super) query_id: String,
    pub(super) exception_tag: String,
    pub(super) cancelled: Arc<AtomicBool>,
    pub(super) finished: Arc<AtomicBool>,
    pub(super) bounds: Bounds,
    pub(super) runtime: Handle,
    pub(super) permit: OwnedSemaphorePermit,
}

pub(super) type Reply = oneshot::Sender<Result<Answer, Exception>>;

impl Job {
    /// Runs the statement, answers through `reply`, and gives the session back.
    pub(super) fn run(mut self, reply: Reply) {
        let mut reply = Some(reply);
        let result = match self.lease.take() {
            Some(mut lease) => {
                let result = lease.session(&self.engine).and_then(|session| self.run_in(session, &mut reply));
                // Free the name before the client can see the end of the answer and use it again.
                drop(lease);
                result
            }
            None => Session::open(&self.engine, true)
                .and_then(|mut session| self.run_in(&mut session, &mut reply)),
        };
        self.finished.store(true, Ordering::Release);
        drop(self.permit);
        match (result, reply) {
            (Ok(Done::Whole(answer)), Some(reply)) => drop(reply.send(Ok(answer))),
            (Err(exception), Some(reply)) => drop(reply.send(Err(exception))),
            (Ok(Done::Streamed(tail)), _) => tail.send(&self.runtime, self.bounds.idle),
            (_, None) => {}
        }
    }

    fn run_in(&mut self, session: &mut Session, reply: &mut Option<Reply>) -> Result<Done, Exception> {
        let before = session.apply(&self.request, &self.query_id);
        let result = match &before {
            Ok(_) => self.execute(session, reply),
            Err(exception) => Err(exception.clone()),
        };
        if let Ok(before) = before {
            session.restore(before)?;
        }
        result
    }

    fn execute(&mut self, session: &mut Session, reply: &mut Option<Reply>) -> Result<Done, Exception> {
        let started = Instant::now();
        let (mut body, text, complete) = self.read()?;
        match statement::split(&text) {
            Statement::Forbidden(what) => Err(forbidden(what)),
            Statement::Insert(insert) if insert.data < text.len() || !complete || insert.format.is_some() => {
                let inline = complete && insert.format.as_deref() == Some("Values");
                self.check_readonly(Class::Mutating, false, session)?;
                if inline {
                    // Values may hold bound parameters, which only the whole statement knows.
                    return self.whole(session, &text, started, None);
                }
                self.insert(&mut session.connection, (&text, insert), &mut body, started)
            }
            _ if !complete => Err(Exception::new(
                Kind::SyntaxError,
                format_args!("Max query size exceeded: {} bytes.", self.bounds.query_bytes_max),
            )),
            Statement::Insert(insert) if self.request.default_format.is_some() => {
                self.check_readonly(Class::Mutating, false, session)?;
                self.insert(&mut session.connection, (&text, insert), &mut body, started)
            }
            Statement::Insert(_) => self.whole(session, &text, started, None),
            Statement::Query { format } => self.query(session, &text, format, started, reply),
        }
    }

    pub(super) fn check_readonly(
        &self,
        class: Class,
        is_set: bool,
        session: &Session,
    ) -> Result<(), Exception> {
        let allowed = match (self.request.readonly, class) {
            (0, _) | (_, Class::ReadOnly) => true,
            (2, Class::Control) => is_set,
            (_, Class::Unknown) => session.serves_one_request(),
            _ => false,
        };
        if allowed {
            return Ok(());
        }
        let hint = if self.request.readonly_by_method {
            " For queries over HTTP, method GET implies readonly. You should use method POST for modifying queries."
        } else {
            ""
        };
        Err(Exception::new(
            Kind::Readonly,
            format_args!("default: Cannot execute query in readonly mode.{hint}"),
        ))
    }

    fn insert(
        &mut self,
        connection: &mut Connection,
        (text, insert): (&[u8], Insert),
        body: &mut Body,
        started: Instant,
    ) -> Result<Done, Exception> {
        let format =
            insert.format.or_else(|| self.request.default_format.clone()).unwrap_or_else(|| "Values".into());
        self.check_cancelled()?;
        let mut stream = connection
            .insert(&insert.head, &format, &self.request.parameters)
            .map_err(|text| Exception::from_engine(&text))?;
        let mut open = true;
        if let Some(data) = text.get(insert.data..).filter(|data| !data.is_empty()) {
            open = stream.append(data);
        }
        // A body that breaks off must not be committed: dropping the stream cancels it.
        while open && let Some(piece) = body.next()? {
            self.check_cancelled()?;
            open = stream.append(&piece);
        }
        self.check_cancelled()?;
        let progress = stream.finish().map_err(|text| Exception::from_engine(&text))?;
        Ok(Done::whole(format, progress, started, Vec::new()))
    }

    pub(super) fn check_cancelled(&self) -> Result<(), Exception> {
        if self.cancelled.load(Ordering::Acquire) { Err(cancelled()) } else { Ok(()) }
    }
}

impl<E> Job<E> {
    /// Reads what is needed before the engine sees any of it: the text in the address and the
    /// beginning of the body, up to the bound; and whether that is all there is. The body goes on
    /// behind the text.
    pub(super) fn read(&mut self) -> Result<(Body, Vec<u8>, bool), Exception> {
        let pieces = self.body.take().ok_or_else(cancelled)?;
        let mut body = Body::new(pieces, self.request.body_coding, self.request.body_in_blocks)?;
        let mut text = std::mem::take(&mut self.request.query).into_bytes();
        if !text.is_empty() {
            text.push(b'\n');
        }
        while text.len() <= self.bounds.query_bytes_max {
            match body.next()? {
                Some(piece) => text.extend_from_slice(&piece),
                None => return Ok((body, text, true)),
            }
        }
        Ok((body, text, false))
    }
}

/// How a statement ended well.
pub(super) enum Done {
    Whole(Answer),
    Streamed(Tail),
}

impl Done {
    pub(super) fn whole(format: String, progress: Progress, started: Instant, first: Vec<Bytes>) -> Self {
        Self::Whole(Answer { format, progress, elapsed: started.elapsed(), first, rest: None })
    }
}

/// The end of a streamed answer, sent when session and place are free again.
pub(super) struct Tail {
    pub(super) pieces: mpsc::Sender<Result<Bytes, Broken>>,
    pub(super) last: Bytes,
    pub(super) broken: bool,
}

impl Tail {
    fn send(self, runtime: &Handle, idle: Duration) {
        send(runtime, &self.pieces, Ok(self.last), idle);
        if self.broken {
            send(runtime, &self.pieces, Err(Broken), idle);
        }
    }
}

/// `false` when the client has gone or takes nothing for too long.
pub(super) fn send(
    runtime: &Handle,
    pieces: &mpsc::Sender<Result<Bytes, Broken>>,
    piece: Result<Bytes, Broken>,
    idle: Duration,
) -> bool {
    if piece.as_ref().is_ok_and(Bytes::is_empty) {
        return true;
    }
    runtime.block_on(async { matches!(tokio::time::timeout(idle, pieces.send(piece)).await, Ok(Ok(()))) })
}

pub(super) fn cancelled() -> Exception {
    Exception::new(Kind::Cancelled, "the client has gone.")
}

fn forbidden(what: Forbidden) -> Exception {
    match what {
        Forbidden::IntoOutfile => Exception::new(Kind::OutfileNotAllowed, "INTO OUTFILE is not allowed."),
        Forbidden::FromInfile => Exception::new(
            Kind::NotImplemented,
            "FROM INFILE is not allowed over HTTP; send the data in the body.",
        ),
        Forbidden::Shutdown => Exception::new(
            Kind::SupportDisabled,
            "SYSTEM SHUTDOWN and KILL are not allowed; stop the process with SIGTERM.",
        ),
    }
}
