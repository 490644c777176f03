//! One call: received, drawn for, executed under its key, answered — or not.

use super::super::code::{Code, PROBLEM, Problem};
use super::super::contract::{self, Ask, Endpoint};
use super::super::platform::{ATTEMPT_HEADER, KEY_HEADER, RevokeRequest, TransitionRequest};
use super::faults::{Drawn, Fault};
use super::ledger::Ledger;
use super::{BODY_BYTES_MAX, Platform, tasks};
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;

/// How long a request hangs at most, seconds; then its connection ends.
const HANG_S_MAX: u64 = 600;

/// One of the six calls.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Call {
    /// Of credits or licences.
    Asked(Endpoint),
    /// A step of a task.
    Transition,
    /// The revocation of a licence.
    Revoke,
}

/// An answer that is kept under its key.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Bytes,
    retry_after_s: Option<u32>,
}

/// Marks a response in whose place the connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reset;

/// A request that was read and checked.
enum Wanted {
    Ask(Ask),
    Transition(TransitionRequest),
    Revoke(RevokeRequest),
}

struct Arrived {
    call: Call,
    headers: HeaderMap,
    body: Bytes,
    receipt: usize,
}

enum Outcome {
    Answer(Answer),
    Hang,
    Reset,
}

impl Call {
    pub(super) const ALL: [Call; 6] = [
        Call::Asked(Endpoint::CreditsEstimate),
        Call::Asked(Endpoint::CreditsCharge),
        Call::Asked(Endpoint::CreditsRefund),
        Call::Asked(Endpoint::LicensesCheck),
        Call::Transition,
        Call::Revoke,
    ];

    pub(super) const fn path(self) -> &'static str {
        match self {
            Call::Asked(endpoint) => endpoint.path(),
            Call::Transition => Endpoint::TasksTransitions.path(),
            Call::Revoke => Endpoint::LicensesRevoke.path(),
        }
    }

    pub(super) fn of_path(path: &str) -> Option<Call> {
        Call::ALL.into_iter().find(|call| call.path() == path)
    }

    /// Whether it is done once under its key.
    const fn needs_key(self) -> bool {
        match self {
            Call::Asked(endpoint) => endpoint.moves_money(),
            Call::Transition | Call::Revoke => true,
        }
    }

    fn read(self, body: &[u8]) -> Result<Wanted, Problem> {
        let malformed = |wrong: contract::Malformed| Problem::because(wrong.code, wrong.detail);
        match self {
            Call::Asked(endpoint) => Ask::read(endpoint, body).map(Wanted::Ask).map_err(malformed),
            Call::Transition => {
                let ask = contract::parse(body).map_err(malformed)?;
                tasks::read_transition(&ask)?;
                Ok(Wanted::Transition(ask))
            }
            Call::Revoke => {
                let ask = contract::parse(body).map_err(malformed)?;
                tasks::read_revoke(&ask)?;
                Ok(Wanted::Revoke(ask))
            }
        }
    }
}

impl Wanted {
    /// Equal for equal requests.
    fn digest(&self) -> [u8; 32] {
        let bytes = match self {
            Wanted::Ask(ask) => ask.canonical(),
            Wanted::Transition(ask) => serde_json::to_vec(ask).unwrap_or_default(), // texts: nothing there can fail
            Wanted::Revoke(ask) => serde_json::to_vec(ask).unwrap_or_default(),
        };
        Sha256::digest(bytes).into()
    }

    fn execute(&self, ledger: &mut Ledger, key: &str, now_us: i64, life_us: i64) -> Answer {
        match self {
            Wanted::Ask(Ask::Estimate(ask)) => Answer::of(ledger.estimate(ask, now_us, life_us)),
            Wanted::Ask(Ask::Charge(ask)) => Answer::of(ledger.charge(key, ask, now_us)),
            Wanted::Ask(Ask::Refund(ask)) => Answer::of(ledger.refund(key, ask, now_us)),
            Wanted::Ask(Ask::Check(ask)) => Answer::of(ledger.tasks.check(ask, now_us)),
            Wanted::Transition(ask) => Answer::of(ledger.transition(ask)),
            Wanted::Revoke(ask) => Answer::of(ledger.revoke(ask)),
        }
    }
}

impl Answer {
    fn of<T: Serialize>(result: Result<T, Problem>) -> Answer {
        match result {
            Ok(body) => {
                let body = serde_json::to_vec(&body).unwrap_or_default().into(); // texts and numbers: nothing there can fail
                Answer { status: StatusCode::OK, body, retry_after_s: None }
            }
            Err(problem) => Answer::problem(&problem),
        }
    }

    pub(super) fn problem(problem: &Problem) -> Answer {
        let body = serde_json::to_vec(problem).unwrap_or_default().into();
        Answer { status: problem.code.status(), body, retry_after_s: None }
    }

    fn error(way: u64) -> Answer {
        Answer::problem(&Problem::new(if way.is_multiple_of(2) { Code::Internal } else { Code::Overloaded }))
    }

    /// As of a platform with a code that the gateway has never heard of.
    fn under_way() -> Answer {
        let body = serde_json::json!({
            "type": format!("{PROBLEM}request_in_progress"), "title": "another request under the key is under way",
            "status": 409, "code": "request_in_progress", "retry": "same_key",
        });
        Answer { status: StatusCode::CONFLICT, body: body.to_string().into(), retry_after_s: None }
    }

    fn retry_after(self, seconds: u32) -> Answer {
        Answer { retry_after_s: Some(seconds), ..self }
    }

    /// The same with a body that breaks the contract, in one of four ways.
    fn spoiled(&self, way: u64) -> Answer {
        let body = match serde_json::from_slice::<Value>(&self.body) {
            Ok(Value::Object(fields)) if !way.is_multiple_of(4) => {
                Value::Object(another(fields, way)).to_string().into()
            }
            _ => self.body.slice(..self.body.len() / 2), // no JSON any more
        };
        Answer { body, ..self.clone() }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let is_good = self.status.is_success();
        let kind = if is_good { "application/json" } else { "application/problem+json" };
        let mut response =
            (self.status, [(header::CONTENT_TYPE, kind)], Body::from(self.body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Answers one of the calls, as the script has it.
pub(super) async fn answer(State(platform): State<Arc<Platform>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(call) = Call::of_path(head.uri.path()) else {
        return Answer::problem(&Problem::new(Code::NotFound)).into_response();
    };
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return Answer::problem(&Problem::new(Code::TooLarge)).into_response();
    };
    let receipt = platform.receipts().arrived(
        call,
        text(&head.headers, KEY_HEADER),
        text(&head.headers, ATTEMPT_HEADER),
    );
    let arrived = Arrived { call, headers: head.headers, body, receipt };
    // In a task of its own: what was begun is done, whether or not the caller stays.
    let worker = Arc::clone(&platform);
    let outcome = tokio::spawn(async move { worker.work(arrived).await }).await;
    match outcome {
        Ok(Outcome::Answer(answer)) => {
            platform.receipts().answered(receipt, answer.status.as_u16());
            answer.into_response()
        }
        Ok(Outcome::Hang) => {
            tokio::time::sleep(Duration::from_secs(HANG_S_MAX)).await;
            reset()
        }
        Ok(Outcome::Reset) | Err(_) => reset(),
    }
}

impl Platform {
    async fn work(&self, arrived: Arrived) -> Outcome {
        let key = text(&arrived.headers, KEY_HEADER);
        let subject = if key.is_empty() { arrived.body.as_ref() } else { key.as_bytes() };
        let attempt = text(&arrived.headers, ATTEMPT_HEADER);
        let drawn = self.script().draw(arrived.call, subject, attempt);
        if !drawn.latency.is_zero() {
            tokio::time::sleep(drawn.latency).await;
        }
        if drawn.unavailable {
            self.receipts().struck(arrived.receipt, "unavailable");
            let answer = Answer::problem(&Problem::new(Code::Overloaded));
            return Outcome::Answer(answer.retry_after(drawn.retry_after_s));
        }
        if let Some(fault) = drawn.fault.filter(|fault| fault.is_before()) {
            self.receipts().struck(arrived.receipt, fault.name());
            return before(fault, &drawn);
        }
        let first = self.execute(&arrived);
        let answer = if drawn.duplicate {
            self.receipts().struck(arrived.receipt, "duplicate");
            self.execute(&arrived)
        } else {
            first
        };
        let is_good = answer.status.is_success();
        let fault = drawn.fault.filter(|fault| *fault != Fault::WrongBody || is_good);
        let Some(fault) = fault else { return Outcome::Answer(answer) };
        self.receipts().struck(arrived.receipt, fault.name());
        match fault {
            Fault::HangAfter => Outcome::Hang,
            Fault::ResetAfter => Outcome::Reset,
            Fault::WrongBody => Outcome::Answer(answer.spoiled(drawn.way)),
            _ => Outcome::Answer(Answer::error(drawn.way)),
        }
    }

    fn execute(&self, arrived: &Arrived) -> Answer {
        self.receipts().executed(arrived.receipt);
        self.admitted(arrived).unwrap_or_else(|problem| Answer::problem(&problem))
    }

    fn admitted(&self, arrived: &Arrived) -> Result<Answer, Problem> {
        self.authentication.admit(&arrived.headers)?;
        let kind = text(&arrived.headers, header::CONTENT_TYPE.as_str());
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(Problem::new(Code::UnsupportedMediaType));
        }
        let key = match arrived.call.needs_key() {
            true => Some(key(&arrived.headers)?),
            false => None,
        };
        let wanted = arrived.call.read(&arrived.body)?;
        let (now_us, mut books) = ((self.now_us)(), self.books());
        let Some(key) = key else {
            return Ok(wanted.execute(&mut books.ledger, "", now_us, self.estimate_us));
        };
        let asked = (arrived.call, wanted.digest());
        if let Some((first, answer)) = books.answers.get(key) {
            return match *first == asked {
                true => Ok(answer.clone()),
                false => Err(Problem::new(Code::IdempotencyConflict)),
            };
        }
        let answer = wanted.execute(&mut books.ledger, key, now_us, self.estimate_us);
        books.answers.insert(key.to_owned(), (asked, answer.clone()));
        Ok(answer)
    }
}

/// Fields that lack one, or speak of another amount, wallet, licence or task.
fn another(mut fields: Map<String, Value>, way: u64) -> Map<String, Value> {
    let amount = fields.get("amount_micros").and_then(Value::as_i64);
    match (way % 4, amount) {
        (1, _) => {
            let place = usize::try_from(way / 4).unwrap_or_default() % fields.len().max(1);
            let name = fields.keys().nth(place).cloned().unwrap_or_default();
            fields.remove(&name);
        }
        (2, Some(amount)) => {
            fields.insert("amount_micros".to_owned(), (amount + 1).into());
        }
        _ => {
            let subject =
                ["wallet_id", "license_id", "task_id"].into_iter().find(|id| fields.contains_key(*id));
            fields.insert(subject.unwrap_or_default().to_owned(), "another".into());
        }
    }
    fields
}

fn before(fault: Fault, drawn: &Drawn) -> Outcome {
    match fault {
        Fault::HangBefore => Outcome::Hang,
        Fault::ResetBefore => Outcome::Reset,
        Fault::RateLimited => {
            let answer = Answer::problem(&Problem::new(Code::RateLimited));
            Outcome::Answer(answer.retry_after(drawn.retry_after_s))
        }
        Fault::Denied => Outcome::Answer(Answer::problem(&Problem::new(Code::ScopeMissing))),
        Fault::UnderWay => Outcome::Answer(Answer::under_way()),
        _ => Outcome::Answer(Answer::error(drawn.way)),
    }
}

fn reset() -> Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response(); // never sent: the connection ends in its place
    response.extensions_mut().insert(Reset);
    response
}

/// A header's text; empty where there is none, or none that is text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn key(headers: &HeaderMap) -> Result<&str, Problem> {
    let key = text(headers, KEY_HEADER); // text of a header is printable ASCII
    match (1..=contract::KEY_BYTES_MAX).contains(&key.len()) {
        true => Ok(key),
        false => Err(Problem::new(Code::IdempotencyKeyMissing)),
    }
}
