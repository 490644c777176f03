//! Results: streamed in pieces where engine and format allow it, else whole within a bound.

use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::compression::Encoder;
use super::engine;
use super::error::{Exception, Kind};
use super::execute::{Answer, Done, Job, Reply, Tail, cancelled, send};
use super::library::{Class, Connection, Progress, Select};
use super::session::Session;
use super::splice::Splice;
use super::statement;

/// An answer begins when this much of it is there, or all of it: until then a failure still gets
/// its own status, as with ClickHouse's response buffer.
const HELD_BYTES: usize = 1 << 20;
/// Pieces of an answer on their way at once.
const PIECES_MAX: usize = 4;
/// `TOO_MANY_ROWS_OR_BYTES`
const TOO_MANY_BYTES: u16 = 396;

impl Job {
    /// Runs what is not an INSERT with data.
    pub(super) fn query(
        &mut self,
        session: &mut Session,
        text: &[u8],
        format: Option<String>,
        started: Instant,
        reply: &mut Option<Reply>,
    ) -> Result<Done, Exception> {
        if statement::is_blank(text) {
            return Err(Exception::new(Kind::SyntaxError, "Empty query."));
        }
        let (statements, class) = session.connection.classify(text);
        if statements > 1 {
            return Err(Exception::new(
                Kind::SyntaxError,
                "Syntax error (Multi-statements are not allowed).",
            ));
        }
        self.check_readonly(class, statement::first_word_is(text, "SET"), session)?;
        let format = format.unwrap_or_else(|| self.output_format());
        if class != Class::ReadOnly {
            let result = self.whole(session, text, started, Some(format));
            if class != Class::Mutating {
                session.forget_state();
            }
            return result;
        }
        if let Some(splice) = Splice::of(&format)
            && let Some(done) =
                self.stream(&mut session.connection, (text, &format), splice, started, reply)?
        {
            return Ok(done);
        }
        self.bounded(session, text, started, format)
    }

    fn output_format(&self) -> String {
        self.request.default_format.clone().unwrap_or_else(|| "TabSeparated".into())
    }

    /// Runs a SELECT whose result the engine holds whole, within the bound.
    fn bounded(
        &self,
        session: &mut Session,
        text: &[u8],
        started: Instant,
        format: String,
    ) -> Result<Done, Exception> {
        let bound = self.bounds.held_answer_bytes_max;
        if self.request.setting("max_result_bytes").is_some() {
            return self.whole(session, text, started, Some(format));
        }
        engine::set(&mut session.connection, [("max_result_bytes", bound.to_string().as_str())])?;
        self.whole(session, text, started, Some(format)).map_err(|exception| match exception.code {
            TOO_MANY_BYTES => Exception {
                code: TOO_MANY_BYTES,
                text: format!(
                    "Code: {TOO_MANY_BYTES}. DB::Exception: the result is larger than {bound} bytes, and its format \
                     cannot be streamed; use one that can, as JSONEachRow, CSV, Native or ArrowStream, or set \
                     max_result_bytes. (TOO_MANY_ROWS_OR_BYTES)"
                ),
            },
            _ => exception,
        })
    }

    /// Runs a statement whose result the engine holds whole.
    pub(super) fn whole(
        &self,
        session: &mut Session,
        text: &[u8],
        started: Instant,
        format: Option<String>,
    ) -> Result<Done, Exception> {
        self.check_cancelled()?;
        let output = self.output_format();
        let chunk = session
            .connection
            .query(text, &output, &self.request.parameters)
            .map_err(|text| Exception::from_engine(&text))?;
        let progress = chunk.progress();
        let mut encoder = Encoder::new(self.request.answer_coding).map_err(encoding_failed)?;
        let first = encoder.push(Bytes::from_owner(chunk)).map_err(encoding_failed)?;
        let last = encoder.finish().map_err(encoding_failed)?;
        Ok(Done::whole(format.unwrap_or(output), progress, started, vec![first, last]))
    }

    /// Runs a SELECT in pieces; `None` when it cannot be, and nothing is answered yet.
    fn stream(
        &self,
        connection: &mut Connection,
        (text, format): (&[u8], &str),
        splice: Splice,
        started: Instant,
        reply: &mut Option<Reply>,
    ) -> Result<Option<Done>, Exception> {
        self.check_cancelled()?;
        let select = match connection.select(text, &self.output_format(), &self.request.parameters) {
            Ok(select) => select,
            // SHOW, DESCRIBE, EXPLAIN and their like: not begun, so nothing runs twice.
            Err(reason) if reason.contains("Streaming query is not supported for query") => return Ok(None),
            Err(reason) => return Err(Exception::from_engine(&reason)),
        };
        let encoder = Encoder::new(self.request.answer_coding).map_err(encoding_failed)?;
        let mut stream = Stream { job: self, select, splice, encoder, progress: Progress::default() };
        let limit =
            if self.request.wait_end_of_query { self.bounds.held_answer_bytes_max } else { HELD_BYTES };
        let (mut held, mut held_bytes, mut first) = (Vec::new(), 0_usize, true);
        while held_bytes <= limit {
            let Some(piece) = stream.fetch()? else {
                held.extend(stream.end()?);
                return Ok(Some(Done::whole(format.into(), stream.progress, started, held)));
            };
            if std::mem::take(&mut first) && stream.splice.refuses(&piece, format) {
                return Ok(None);
            }
            let piece = stream.encode(piece)?;
            held_bytes = held_bytes.saturating_add(piece.len());
            held.push(piece);
        }
        if self.request.wait_end_of_query {
            return Err(Exception::new(
                Kind::LimitExceeded,
                format_args!(
                    "the result is larger than {limit} bytes; leave out `wait_end_of_query` to stream it."
                ),
            ));
        }
        let (pieces, rest) = mpsc::channel(PIECES_MAX);
        let answer = Answer {
            format: format.into(),
            progress: stream.progress,
            elapsed: started.elapsed(),
            first: held,
            rest: Some(rest),
        };
        let reply = reply.take().ok_or_else(cancelled)?;
        reply.send(Ok(answer)).map_err(|_| cancelled())?;
        stream.send_rest(pieces).map(|tail| Some(Done::Streamed(tail)))
    }

    /// What the server writes into an answer that has begun (since release 25.11).
    fn exception_marker(&self, exception: &Exception) -> Bytes {
        let (tag, message) = (&self.exception_tag, exception.body(&self.engine.version));
        format!("\r\n__exception__\r\n{tag}\r\n{message}{} {tag}\r\n__exception__\r\n", message.len()).into()
    }
}

/// A SELECT on its way.
struct Stream<'a> {
    job: &'a Job,
    select: Select<'a>,
    splice: Splice,
    encoder: Encoder,
    progress: Progress,
}

impl Stream<'_> {
    fn fetch(&mut self) -> Result<Option<Bytes>, Exception> {
        self.job.check_cancelled()?;
        let chunk = self.select.fetch().map_err(|text| Exception::from_engine(&text))?;
        Ok(chunk.map(|chunk| {
            self.progress.add(chunk.progress());
            Bytes::from_owner(chunk)
        }))
    }

    fn encode(&mut self, piece: Bytes) -> Result<Bytes, Exception> {
        let piece = self.splice.piece(piece)?;
        self.encoder.push(piece).map_err(encoding_failed)
    }

    fn end(&mut self) -> Result<[Bytes; 2], Exception> {
        let end = self.encoder.push(Bytes::from_static(self.splice.end())).map_err(encoding_failed)?;
        let encoder = std::mem::replace(&mut self.encoder, Encoder::Identity);
        Ok([end, encoder.finish().map_err(encoding_failed)?])
    }

    /// Sends the pieces as they come. A failure is written into the answer, which then breaks off.
    fn send_rest(
        mut self,
        pieces: mpsc::Sender<Result<Bytes, super::execute::Broken>>,
    ) -> Result<Tail, Exception> {
        let (runtime, idle) = (&self.job.runtime, self.job.bounds.idle);
        let failure = loop {
            let piece = match self.fetch() {
                Ok(None) => break None,
                Ok(Some(piece)) => self.encode(piece),
                Err(exception) => Err(exception),
            };
            match piece {
                Ok(piece) => {
                    if !send(runtime, &pieces, Ok(piece), idle) {
                        return Err(cancelled());
                    }
                }
                Err(exception) => break Some(exception),
            }
        };
        if let Some(exception) = &failure {
            let marker = self.encoder.push(self.job.exception_marker(exception)).map_err(encoding_failed)?;
            send(runtime, &pieces, Ok(marker), idle);
            let encoder = std::mem::replace(&mut self.encoder, Encoder::Identity);
            let last = encoder.finish().map_err(encoding_failed)?;
            return Ok(Tail { pieces, last, broken: true });
        }
        let [end, last] = self.end()?;
        send(runtime, &pieces, Ok(end), idle);
        Ok(Tail { pieces, last, broken: false })
    }
}

fn encoding_failed(error: std::io::Error) -> Exception {
    Exception::new(Kind::Engine, format_args!("cannot compress the answer: {error}."))
}
