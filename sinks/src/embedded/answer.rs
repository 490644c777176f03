//! Answers in ClickHouse's form: headers, bodies, exceptions.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::error::Exception;
use super::execute::{Answer, Broken};
use super::library::Progress;
use super::request::Request;

pub(super) type Body = BoxBody<Bytes, Broken>;

/// What the headers of every answer say of the server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) version: String,
    pub(super) timezone: String,
    pub(super) display_name: String,
}

/// What the headers of an answer say of its request.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    pub(super) query_id: String,
    pub(super) exception_tag: String,
}

/// A short text, for the paths that are not queries.
pub(super) fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    response
}

/// An exception before the answer has begun.
pub(super) fn exception(exception: &Exception, server: &Server, labels: &Labels) -> Response<Body> {
    let mut response = Response::new(full(exception.body(&server.version).into()));
    *response.status_mut() = exception.status();
    common(&mut response, server, labels);
    let headers = response.headers_mut();
    headers.insert("x-clickhouse-exception-code", exception.code.into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    if exception.code == 194 {
        headers.insert(
            "www-authenticate",
            HeaderValue::from_static("Basic realm=\"ClickHouse server HTTP API\""),
        );
    }
    response
}

/// The result of a statement; `guard` lives as long as the body.
pub(super) fn result<G: Send + Sync + Unpin + 'static>(
    answer: Answer,
    request: &AnswerTo,
    server: &Server,
    labels: &Labels,
    guard: G,
) -> Response<Body> {
    let body = match answer.rest {
        None => full(join(answer.first)),
        Some(rest) => {
            BodyExt::boxed(Pieces { first: answer.first.into_iter(), rest, breaking: None, _guard: guard })
        }
    };
    let mut response = Response::new(body);
    common(&mut response, server, labels);
    let headers = response.headers_mut();
    headers.insert("x-clickhouse-summary", value(&summary(answer.progress, answer.elapsed)));
    headers.insert("x-clickhouse-format", value(&answer.format));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(&answer.format)));
    if let Some(coding) = request.coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        headers.insert("vary", HeaderValue::from_static("Accept-Encoding"));
    }
    if let Some(timezone) = &request.timezone {
        headers.insert("x-clickhouse-timezone", value(timezone));
    }
    response
}

/// What an answer must know of its request.
#[derive(Clone, Debug)]
pub(super) struct AnswerTo {
    coding: Option<&'static str>,
    timezone: Option<String>,
}

impl AnswerTo {
    pub(super) fn new(request: &Request) -> Self {
        let timezone = request.setting("session_timezone").filter(|zone| !zone.is_empty());
        Self { coding: request.answer_coding.header(), timezone: timezone.map(str::to_owned) }
    }
}

fn common(response: &mut Response<Body>, server: &Server, labels: &Labels) {
    let headers = response.headers_mut();
    headers.insert("x-clickhouse-server-display-name", value(&server.display_name));
    headers.insert("x-clickhouse-timezone", value(&server.timezone));
    headers.insert("x-clickhouse-query-id", value(&labels.query_id));
    headers.insert("x-clickhouse-exception-tag", value(&labels.exception_tag));
}

/// A header value; what cannot stand in one is left out.
fn value(text: &str) -> HeaderValue {
    let printable: String = text.chars().filter(|letter| (' '..='~').contains(letter)).collect();
    HeaderValue::from_str(&printable).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn summary(progress: Progress, elapsed: Duration) -> String {
    let Progress { read_rows, read_bytes, written_rows, written_bytes } = progress;
    let nanos = elapsed.as_nanos();
    format!(
        "{{\"read_rows\":\"{read_rows}\",\"read_bytes\":\"{read_bytes}\",\"written_rows\":\"{written_rows}\",\
         \"written_bytes\":\"{written_bytes}\",\"total_rows_to_read\":\"0\",\"result_rows\":\"{written_rows}\",\
         \"result_bytes\":\"{written_bytes}\",\"elapsed_ns\":\"{nanos}\"}}"
    )
}

fn content_type(format: &str) -> &'static str {
    match format {
        "TSV"
        | "TSVRaw"
        | "TabSeparated"
        | "TabSeparatedRaw"
        | "TabSeparatedWithNames"
        | "TabSeparatedWithNamesAndTypes"
        | "TSVWithNames"
        | "TSVWithNamesAndTypes" => "text/tab-separated-values; charset=UTF-8",
        "CSV" | "CSVWithNames" | "CSVWithNamesAndTypes" => "text/csv; charset=UTF-8; header=absent",
        "JSONEachRow" | "JSONCompactEachRow" | "JSONStringsEachRow" | "JSONLines" | "NDJSON" => {
            "application/x-ndjson; charset=UTF-8"
        }
        json if json.starts_with("JSON") => "application/json; charset=UTF-8",
        "XML" => "application/xml; charset=UTF-8",
        "Native" | "Parquet" | "ORC" | "Avro" | "Arrow" | "ArrowStream" => "application/octet-stream",
        binary if binary.starts_with("RowBinary") => "application/octet-stream",
        _ => "text/plain; charset=UTF-8",
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never: Infallible| match never {}).boxed()
}

fn join(mut pieces: Vec<Bytes>) -> Bytes {
    pieces.retain(|piece| !piece.is_empty());
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.swap_remove(0),
        _ => pieces.concat().into(),
    }
}

/// The pieces of an answer as they come.
struct Pieces<G> {
    first: std::vec::IntoIter<Bytes>,
    rest: mpsc::Receiver<Result<Bytes, Broken>>,
    /// Set when the connection is to be broken: the pieces before it are given time to leave, so
    /// that the client reads the exception in them.
    breaking: Option<Pin<Box<Sleep>>>,
    _guard: G,
}

impl<G: Unpin> hyper::body::Body for Pieces<G> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(piece) = self.first.by_ref().find(|piece| !piece.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        loop {
            if let Some(pause) = &mut self.breaking {
                return pause.as_mut().poll(context).map(|()| Some(Err(Broken)));
            }
            match std::task::ready!(self.rest.poll_recv(context)) {
                Some(Ok(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Some(Err(Broken)) => {
                    self.breaking = Some(Box::pin(tokio::time::sleep(Duration::from_millis(20))));
                }
                None => return Poll::Ready(None),
            }
        }
    }
}
