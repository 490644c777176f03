//! One attempt at the platform: what was sent, what came back, and what that means.

use super::answer::Answer;
use super::code::{Code, PROBLEM, Retry};
use super::contract::{AMOUNT_MICROS_MAX, Ask, Endpoint};
use super::credential::Credential;
use super::platform::{ATTEMPT_HEADER, KEY_HEADER};
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use std::time::{Duration, Instant};
use url::Url;

/// Bytes of an answer to a call; a longer one is none of the contract's.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of the answer to a revocation, which names every task that runs under the licence: some sixty thousand.
const REVOCATION_BYTES_MAX: usize = 16 << 20;
/// The longest `Retry-After` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// A connection that is not made by then is given up, whatever the attempt's deadline.
const CONNECT: Duration = Duration::from_secs(2);
/// Connections that are kept open for the next attempts.
const IDLE_MAX: usize = 256;

/// How an attempt ended, as METRICS 3 counts it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Ok,
    Rejected,
    Error,
    Timeout,
}

impl Outcome {
    pub(super) const fn symbol(self) -> &'static str {
        match self {
            Outcome::Ok => "OK",
            Outcome::Rejected => "REJECTED",
            Outcome::Error => "ERROR",
            Outcome::Timeout => "TIMEOUT",
        }
    }
}

/// An attempt that has ended; `T` is what was done, as the platform says: of a call its answer, and the answer's bytes as they came.
#[derive(Clone, Debug)]
pub(super) struct Attempted<T = (Answer, Bytes)> {
    pub(super) outcome: Outcome,
    /// Of the answer, where there was one.
    pub(super) status: Option<u16>,
    pub(super) code: Option<Code>,
    pub(super) latency: Duration,
    /// After which time the platform wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    /// Of a refund that was refused for being too much: what can come back, micros.
    pub(super) remaining_micros: Option<i64>,
    pub(super) heard: Heard<T>,
}

impl<T> Attempted<T> {
    /// Whether it counts against the platform.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Error | Outcome::Timeout)
    }
}

/// What it means for the request.
#[derive(Clone, Debug)]
pub(super) enum Heard<T = (Answer, Bytes)> {
    /// It was done.
    Done(T),
    /// It was refused for good, and nothing was moved.
    Refused(Code),
    /// It was not done: nothing reached the platform, or it said that it did nothing.
    NotDone,
    /// It may have been done.
    Unknown,
}

/// The platform as the gateway reaches it.
#[derive(Debug)]
pub(super) struct Upstream {
    client: Client,
    base: Url,
    credential: Credential,
}

/// What goes with a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct With<'a> {
    pub(super) key: &'a str,
    pub(super) attempt: i64,
    pub(super) trace_id: Option<&'a str>,
    pub(super) deadline: Duration,
}

/// What came back, unread.
pub(super) enum Raw {
    Answer {
        status: StatusCode,
        retry_after: Option<Duration>,
        body: Option<Bytes>,
    },
    /// No connection: nothing was sent.
    NotSent,
    /// It was sent, or may have been, and the connection broke.
    Broken,
    Late,
}

impl Upstream {
    /// For a platform at `base`; nothing is sent.
    pub(super) fn new(base: Url, credential: Credential) -> reqwest::Result<Upstream> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .pool_max_idle_per_host(IDLE_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .build()?;
        Ok(Upstream { client, base, credential })
    }

    /// Makes one attempt at a call.
    pub(super) async fn attempt(&self, ask: &Ask, body: Bytes, with: With<'_>) -> Attempted {
        self.send(ask.endpoint(), body, with, |body| answer(ask, body)).await
    }

    /// Makes one attempt; `read` gives what was done, and nothing where the body of a 200 is not an answer to what was asked.
    pub(super) async fn send<T>(
        &self,
        endpoint: Endpoint,
        body: Bytes,
        with: With<'_>,
        read: impl FnOnce(Bytes) -> Option<T>,
    ) -> Attempted<T> {
        let began = Instant::now();
        let raw = self.post(endpoint, body, with).await;
        let mut attempted = judge(endpoint, raw, read);
        attempted.latency = began.elapsed();
        attempted
    }

    async fn post(&self, endpoint: Endpoint, body: Bytes, with: With<'_>) -> Raw {
        let answer_bytes_max = match endpoint {
            Endpoint::LicensesRevoke => REVOCATION_BYTES_MAX,
            _ => ANSWER_BYTES_MAX,
        };
        let Ok(url) = self.base.join(endpoint.path().trim_start_matches('/')) else { return Raw::NotSent };
        let token = self.credential.current();
        let mut request = self
            .client
            .post(url)
            .bearer_auth(token.expose_secret())
            .header(CONTENT_TYPE, "application/json")
            .header(KEY_HEADER, with.key)
            .header(ATTEMPT_HEADER, with.attempt);
        if let Some(trace) = with.trace_id {
            request = request.header("traceparent", format!("00-{trace}-{:016x}-01", span(with)));
        }
        let exchange = async {
            let response = request.body(body).send().await?;
            let status = response.status();
            let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = retry_after.and_then(|text| text.parse().ok()).map(Duration::from_secs);
            let retry_after = retry_after.map(|wait| wait.min(RETRY_AFTER_MAX));
            Ok::<_, reqwest::Error>(Raw::Answer {
                status,
                retry_after,
                body: whole(response, answer_bytes_max).await?,
            })
        };
        let raw = match tokio::time::timeout(with.deadline, exchange).await {
            Err(_) => Raw::Late,
            Ok(Ok(raw)) => raw,
            Ok(Err(error)) if error.is_connect() => Raw::NotSent,
            Ok(Err(_)) => Raw::Broken,
        };
        if let Raw::Answer { status: StatusCode::UNAUTHORIZED, .. } = raw {
            self.credential.refused();
        }
        raw
    }
}

/// Reads a body up to its bound; `None` where it is longer.
pub(crate) async fn whole(
    mut response: reqwest::Response,
    bytes_max: usize,
) -> reqwest::Result<Option<Bytes>> {
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > bytes_max {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    Ok(Some(body.freeze()))
}

/// A span id for one attempt, the same whenever it is asked for.
fn span(with: With<'_>) -> u64 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new().chain_update(with.key).chain_update(with.attempt.to_be_bytes()).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first).max(1)
}

fn answer(ask: &Ask, body: Bytes) -> Option<(Answer, Bytes)> {
    Answer::read(ask, &body).map(|answer| (answer, body))
}

/// What an exchange means. Only what is certain is called done, refused or not done.
pub(super) fn judge<T>(endpoint: Endpoint, raw: Raw, read: impl FnOnce(Bytes) -> Option<T>) -> Attempted<T> {
    let attempted = |outcome, status: Option<StatusCode>, code, heard| Attempted {
        outcome,
        status: status.map(|status| status.as_u16()),
        code,
        latency: Duration::ZERO,
        retry_after: None,
        remaining_micros: None,
        heard,
    };
    let error = |status, code, heard| attempted(Outcome::Error, status, Some(code), heard);
    let (status, retry_after, body) = match raw {
        Raw::NotSent => return error(None, Code::UpstreamUnavailable, Heard::NotDone),
        Raw::Broken => return error(None, Code::UpstreamUnavailable, Heard::Unknown),
        Raw::Late => return attempted(Outcome::Timeout, None, Some(Code::UpstreamTimeout), Heard::Unknown),
        Raw::Answer { status, retry_after, body } => (status, retry_after, body),
    };
    let mut judged = match status {
        StatusCode::OK => match body.and_then(read) {
            Some(done) => attempted(Outcome::Ok, Some(status), None, Heard::Done(done)),
            None => error(Some(status), Code::UpstreamInvalid, Heard::Unknown),
        },
        StatusCode::TOO_MANY_REQUESTS => {
            attempted(Outcome::Rejected, Some(status), Some(Code::RateLimited), Heard::NotDone)
        }
        // our token: nothing was done, and it is the gateway's fault, not the caller's
        StatusCode::UNAUTHORIZED => error(Some(status), Code::UpstreamUnavailable, Heard::NotDone),
        StatusCode::REQUEST_TIMEOUT => error(Some(status), Code::UpstreamTimeout, Heard::Unknown),
        status if status.is_client_error() => match refusal(endpoint, body.as_deref().unwrap_or_default()) {
            Some(Refusal::Final(code, remaining_micros)) => Attempted {
                remaining_micros,
                ..attempted(Outcome::Rejected, Some(status), Some(code), Heard::Refused(code))
            },
            Some(Refusal::UnderWay) => {
                attempted(Outcome::Rejected, Some(status), Some(Code::UpstreamUnavailable), Heard::Unknown)
            }
            Some(Refusal::AtTheDoor) => {
                attempted(Outcome::Rejected, Some(status), Some(Code::PlatformRefused), Heard::NotDone)
            }
            // not the platform's word: a proxy's page, say
            None => error(Some(status), Code::UpstreamInvalid, Heard::Unknown),
        },
        status if status.is_server_error() => error(Some(status), Code::UpstreamUnavailable, Heard::Unknown),
        status => error(Some(status), Code::UpstreamInvalid, Heard::Unknown),
    };
    judged.retry_after = retry_after;
    judged
}

/// A refusal in the platform's own words.
enum Refusal {
    /// The deed itself is refused, by what is looked at behind its key: nothing was done under the key, and what can come back if it
    /// says so.
    Final(Code, Option<i64>),
    /// The platform may be at it under this key: it is to be asked again under the same.
    UnderWay,
    /// This attempt did nothing. It says nothing of an earlier one: rights and forms are looked at before the key is, and what a code
    /// means that this program does not know, nobody knows.
    AtTheDoor,
}

/// `None` where it is no problem document of the contract, whose type ends in its code: then it is somebody else's, a proxy's say.
fn refusal(endpoint: Endpoint, body: &[u8]) -> Option<Refusal> {
    #[derive(serde::Deserialize)]
    struct Words {
        #[serde(rename = "type")]
        kind: String,
        code: String,
        #[serde(default)]
        retry: serde_json::Value,
        #[serde(default)]
        remaining_micros: Option<i64>,
    }
    let words: Words = serde_json::from_slice(body).ok()?;
    let name = words.kind.strip_prefix(PROBLEM).filter(|name| *name == words.code)?;
    let also: &[Code] = match endpoint {
        Endpoint::TasksTransitions | Endpoint::LicensesRevoke => &[Code::FlowConflict, Code::NotFound],
        _ => &[Code::IdempotencyConflict],
    };
    let known = Code::of_name(name).filter(|code| code.is_refusal() || also.contains(code));
    let remaining = words.remaining_micros.filter(|micros| (0..=AMOUNT_MICROS_MAX).contains(micros));
    Some(match known {
        Some(code) => Refusal::Final(code, remaining),
        None if serde_json::from_value(words.retry).ok() == Some(Retry::SameKey) => Refusal::UnderWay,
        None => Refusal::AtTheDoor,
    })
}

#[cfg(test)]
mod tests {
    use super::{Attempted, Heard, Outcome, Raw};
    use crate::gateway::code::{Code, Problem};
    use crate::gateway::contract::{Ask, Endpoint};
    use bytes::Bytes;
    use reqwest::StatusCode;
    use serde_json::{Value, json};

    fn ask() -> Ask {
        let body = json!({
            "about": {"wallet_id": "w-1", "task_id": "t-1", "policy_tag": "BILLING"},
            "purpose": "CHARGE", "amount_micros": 5,
        });
        Ask::read(Endpoint::CreditsCharge, body.to_string().as_bytes()).expect("a charge")
    }

    fn judge(ask: &Ask, raw: Raw) -> Attempted {
        super::judge(ask.endpoint(), raw, |body| super::answer(ask, body))
    }

    fn charge() -> Value {
        json!({
            "charge_id": "c-1", "wallet_id": "w-1", "purpose": "CHARGE", "amount_micros": 5,
            "balance_after_micros": 7, "held_micros": 0, "moved_at": "2026-01-01T00:00:00.000001Z",
        })
    }

    fn answer(status: StatusCode, body: impl Into<Bytes>) -> Raw {
        Raw::Answer { status, retry_after: None, body: Some(body.into()) }
    }

    /// Scenario: the answer to a charge, and answers that look like one: another wallet, amount or purpose, a field less, no JSON, too
    /// long, another 2xx.
    /// Guarantees: only the first is called done; of each other one nobody knows whether credits moved.
    #[test]
    fn only_an_answer_to_what_was_asked_is_done() {
        let done = judge(&ask(), answer(StatusCode::OK, charge().to_string()));
        assert!(matches!(done.heard, Heard::Done(_)) && done.outcome == Outcome::Ok);
        let mut wrong = Vec::new();
        for (field, value) in [
            ("wallet_id", json!("w-2")),
            ("amount_micros", json!(6)),
            ("purpose", json!("HOLD")),
            ("moved_at", json!("yesterday")),
            ("charge_id", json!("")),
        ] {
            let mut body = charge();
            body[field] = value;
            wrong.push(answer(StatusCode::OK, body.to_string()));
        }
        let mut less = charge();
        less.as_object_mut().expect("an object").remove("held_micros");
        wrong.push(answer(StatusCode::OK, less.to_string()));
        wrong.push(answer(StatusCode::OK, "<html>"));
        wrong.push(Raw::Answer { status: StatusCode::OK, retry_after: None, body: None });
        wrong.push(answer(StatusCode::ACCEPTED, charge().to_string()));
        for raw in wrong {
            let judged = judge(&ask(), raw);
            assert!(matches!(judged.heard, Heard::Unknown), "{judged:?}");
            assert_eq!((judged.outcome, judged.code), (Outcome::Error, Some(Code::UpstreamInvalid)));
        }
    }

    /// Scenario: every other way in which an attempt can end.
    /// Guarantees: what nobody knows is never called refused or not done.
    #[test]
    fn what_is_not_certain_is_unknown() {
        let refused = |code| serde_json::to_vec(&Problem::new(code)).expect("a problem");
        let cases = [
            (Raw::NotSent, Outcome::Error, Code::UpstreamUnavailable, "not done"),
            (Raw::Broken, Outcome::Error, Code::UpstreamUnavailable, "unknown"),
            (Raw::Late, Outcome::Timeout, Code::UpstreamTimeout, "unknown"),
            (answer(StatusCode::BAD_GATEWAY, ""), Outcome::Error, Code::UpstreamUnavailable, "unknown"),
            (answer(StatusCode::REQUEST_TIMEOUT, ""), Outcome::Error, Code::UpstreamTimeout, "unknown"),
            (answer(StatusCode::TOO_MANY_REQUESTS, ""), Outcome::Rejected, Code::RateLimited, "not done"),
            (answer(StatusCode::UNAUTHORIZED, ""), Outcome::Error, Code::UpstreamUnavailable, "not done"),
            (answer(StatusCode::FOUND, ""), Outcome::Error, Code::UpstreamInvalid, "unknown"),
            (answer(StatusCode::NOT_FOUND, "<html>"), Outcome::Error, Code::UpstreamInvalid, "unknown"),
            (answer(StatusCode::CONFLICT, "{}"), Outcome::Error, Code::UpstreamInvalid, "unknown"),
            (
                answer(StatusCode::CONFLICT, refused(Code::IdempotencyConflict)),
                Outcome::Rejected,
                Code::IdempotencyConflict,
                "refused",
            ),
            (
                answer(
                    StatusCode::GONE,
                    r#"{"type": "urn:tally:problem:of_next_year", "code": "of_next_year"}"#,
                ),
                Outcome::Rejected,
                Code::PlatformRefused,
                "not done",
            ),
            (
                answer(
                    StatusCode::CONFLICT,
                    r#"{"type": "urn:tally:problem:request_in_progress", "code": "request_in_progress", "retry": "same_key"}"#,
                ),
                Outcome::Rejected,
                Code::UpstreamUnavailable,
                "unknown",
            ),
            // said before the key is looked at
            (
                answer(StatusCode::FORBIDDEN, refused(Code::ScopeMissing)),
                Outcome::Rejected,
                Code::PlatformRefused,
                "not done",
            ),
            // half a problem document, or one that is not of one mind
            (
                answer(StatusCode::GONE, r#"{"type": "urn:tally:problem:of_next_year"}"#),
                Outcome::Error,
                Code::UpstreamInvalid,
                "unknown",
            ),
            (
                answer(
                    StatusCode::GONE,
                    r#"{"type": "urn:tally:problem:wallet_frozen", "code": "hold_failed"}"#,
                ),
                Outcome::Error,
                Code::UpstreamInvalid,
                "unknown",
            ),
            (
                answer(StatusCode::PAYMENT_REQUIRED, refused(Code::InsufficientBalance)),
                Outcome::Rejected,
                Code::InsufficientBalance,
                "refused",
            ),
            // a code of the gateway's own means nothing from the platform
            (
                answer(StatusCode::CONFLICT, refused(Code::CircuitOpen)),
                Outcome::Rejected,
                Code::PlatformRefused,
                "not done",
            ),
        ];
        for (raw, outcome, code, meaning) in cases {
            let judged = judge(&ask(), raw);
            let heard = match judged.heard {
                Heard::Done(_) => "done",
                Heard::Refused(_) => "refused",
                Heard::NotDone => "not done",
                Heard::Unknown => "unknown",
            };
            assert_eq!((judged.outcome, judged.code, heard), (outcome, Some(code), meaning));
        }
    }
}
