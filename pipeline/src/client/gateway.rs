//! The gateway's four calls, over HTTP.

use super::key::IdempotencyKey;
use super::retries::{Next, Patience, Retries, Trouble};
use super::tokens::{BoxError, Tokens, Want};
use crate::gateway::code::{Code, Problem, Retry};
use crate::gateway::contract::{
    Ask, Charge, ChargeRequest, Endpoint, Estimate, EstimateRequest, LicenseCheck, LicenseCheckRequest,
    Refund, RefundRequest, parse,
};
use crate::gateway::platform::KEY_HEADER;
use crate::gateway::{ANSWER_BYTES_MAX, whole};
use crate::registry::authorities;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;
use uuid::Uuid;

/// A connection that is not made by then is given up, whatever the attempt's deadline.
const CONNECT: Duration = Duration::from_secs(2);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Refused for good, and no credits moved: the same request would be refused again. The code says why, its remedy what to do.
    #[error("refused: {} ({})", .0.title, .0.code.name())]
    Refused(Problem),
    /// A charge or refund may have been done. Ask again under this key, and only under it, until there is an answer; the gateway
    /// follows it up meanwhile.
    #[error("nobody knows whether it was done: ask again under the key {key}")]
    Unknown {
        /// The key under which it was asked.
        key: IdempotencyKey,
        /// How the last attempt ended.
        #[source]
        last: Trouble,
    },
    /// There was no answer, and this call did nothing: ask again later, a charge or refund under its key.
    #[error("the gateway, or the platform behind it, could not be reached")]
    Unreachable {
        /// How the last attempt ended.
        #[source]
        last: Trouble,
    },
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The HTTP client cannot be made.
    #[error("the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The file of authorities.
    #[error("the authorities of {path}: {said}")]
    Authorities {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        said: String,
    },
    /// Authorities are named for an address without TLS: they would vouch for nothing.
    #[error("authorities are named, and the address of the gateway is not https")]
    AuthoritiesWithoutTls,
}

/// Calls the gateway. One for a service; cloning is cheap.
#[derive(Clone)]
pub struct GatewayClient {
    inner: Arc<Inner>,
    traceparent: Option<String>,
}

struct Inner {
    http: Client,
    base: Url,
    tokens: Box<dyn Tokens>,
    patience: Patience,
}

impl fmt::Debug for GatewayClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { base, patience, .. } = &*self.inner;
        f.debug_struct("GatewayClient")
            .field("base", &base.as_str())
            .field("patience", patience)
            .finish_non_exhaustive()
    }
}

impl GatewayClient {
    /// For a gateway at `base`, whose certificate the system's authorities vouch for; nothing is sent yet.
    ///
    /// # Errors
    /// The HTTP client cannot be made: no authorities, say.
    pub fn new(
        base: Url,
        tokens: impl Tokens + 'static,
        patience: Patience,
    ) -> reqwest::Result<GatewayClient> {
        Ok(GatewayClient::over(http().build()?, base, tokens, patience))
    }

    /// For a gateway whose certificate those of a file vouch for, PEM, beside the system's authorities; nothing is sent yet.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn trusting(
        ca: &Path,
        base: Url,
        tokens: impl Tokens + 'static,
        patience: Patience,
    ) -> Result<GatewayClient, ClientError> {
        if base.scheme() != "https" {
            return Err(ClientError::AuthoritiesWithoutTls);
        }
        let wrong = |said| ClientError::Authorities { path: ca.to_owned(), said };
        let found = authorities(ca).map_err(wrong)?;
        let client = found.into_iter().fold(http(), reqwest::ClientBuilder::add_root_certificate);
        Ok(GatewayClient::over(client.build()?, base, tokens, patience))
    }

    fn over(http: Client, base: Url, tokens: impl Tokens + 'static, patience: Patience) -> GatewayClient {
        let inner = Inner { http, base, tokens: Box::new(tokens), patience };
        GatewayClient { inner: Arc::new(inner), traceparent: None }
    }

    /// The same, whose calls belong to a trace: the value of a W3C `traceparent`. The trace id goes into the events of its calls.
    pub fn traced(&self, traceparent: impl Into<String>) -> GatewayClient {
        GatewayClient { inner: Arc::clone(&self.inner), traceparent: Some(traceparent.into()) }
    }

    /// What would it cost?
    ///
    /// # Errors
    /// [`CallError::Refused`] or [`CallError::Unreachable`].
    pub async fn estimate(&self, request: &EstimateRequest) -> Result<Estimate, CallError> {
        self.call(Endpoint::CreditsEstimate, None, request).await
    }

    /// Holds or takes credits, once under its key.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn charge(&self, key: &IdempotencyKey, request: &ChargeRequest) -> Result<Charge, CallError> {
        self.call(Endpoint::CreditsCharge, Some(key), request).await
    }

    /// Gives credits back or lets a hold go, once under its key.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn refund(&self, key: &IdempotencyKey, request: &RefundRequest) -> Result<Refund, CallError> {
        self.call(Endpoint::CreditsRefund, Some(key), request).await
    }

    /// May this user run this template? That they may not is [`CallError::Refused`]: expired, revoked, used up or another's.
    ///
    /// # Errors
    /// [`CallError::Refused`] or [`CallError::Unreachable`].
    pub async fn check(&self, request: &LicenseCheckRequest) -> Result<LicenseCheck, CallError> {
        self.call(Endpoint::LicensesCheck, None, request).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        endpoint: Endpoint,
        key: Option<&IdempotencyKey>,
        request: &impl Serialize,
    ) -> Result<T, CallError> {
        let patience = self.inner.patience;
        let deadline = Instant::now() + patience.call;
        let rest = || deadline.saturating_duration_since(Instant::now());
        let body = serde_json::to_vec(request).unwrap_or_default(); // texts and numbers: nothing there can fail
        // what the gateway would refuse is not sent
        let ask = Ask::read(endpoint, &body)
            .map_err(|error| CallError::Refused(Problem::because(error.code, error.detail)))?;
        let body = Bytes::from(ask.canonical());
        let mut retries = Retries::begin(endpoint.moves_money(), patience);
        let mut want = Want::Current;
        loop {
            let (trouble, asked) = match self.attempt((endpoint, key), body.clone(), want, rest()).await {
                Ok(body) => match parse(&body) {
                    Ok(answer) => return Ok(answer),
                    Err(_) => (Trouble::Foreign(StatusCode::OK.as_u16()), None),
                },
                Err(ended) => ended,
            };
            want = Want::Current;
            match (retries.next(&trouble, asked, rest(), draw()), trouble) {
                (Next::Again(pause), trouble) => {
                    tracing::debug!(path = endpoint.path(), %trouble, ?pause, "the gateway is asked again");
                    tokio::time::sleep(pause).await;
                }
                (Next::Renewed, _) => want = Want::Renewed,
                (Next::Refused, Trouble::Problem(problem)) => return Err(CallError::Refused(problem)),
                (Next::Unknown, last) if let Some(key) = key => {
                    return Err(CallError::Unknown { key: key.clone(), last });
                }
                (Next::Refused | Next::Unknown | Next::NotDone, last) => {
                    return Err(CallError::Unreachable { last });
                }
            }
        }
    }

    /// One attempt: the body of a 200, or what came instead and after which time to ask again.
    async fn attempt(
        &self,
        what: (Endpoint, Option<&IdempotencyKey>),
        body: Bytes,
        want: Want,
        rest: Duration,
    ) -> Result<Bytes, (Trouble, Option<Duration>)> {
        let (inner, within) = (&*self.inner, self.inner.patience.attempt.min(rest));
        let token = tokio::time::timeout(within, inner.tokens.token(want)).await;
        let token = match token.map_err(BoxError::from).flatten() {
            Ok(token) => token,
            Err(error) => return Err((Trouble::NoToken(error), None)),
        };
        let trouble = match tokio::time::timeout(within, self.exchange(what, body, &token)).await {
            Ok(Ok(answered)) => return answered,
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                Trouble::NoConnection(error.without_url())
            }
            Ok(Err(error)) => Trouble::Broken(error.without_url()),
            Err(_) => Trouble::Late,
        };
        Err((trouble, None))
    }

    async fn exchange(
        &self,
        (endpoint, key): (Endpoint, Option<&IdempotencyKey>),
        body: Bytes,
        token: &SecretString,
    ) -> reqwest::Result<Result<Bytes, (Trouble, Option<Duration>)>> {
        let mut url = self.inner.base.clone();
        url.set_path(&format!("{}{}", url.path().trim_end_matches('/'), endpoint.path()));
        let mut request = self.inner.http.post(url).bearer_auth(token.expose_secret());
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header(KEY_HEADER, key.as_str());
        }
        if let Some(trace) = &self.traceparent {
            request = request.header("traceparent", trace);
        }
        let response = request.body(body).send().await?;
        let status = response.status();
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let asked = asked.map(Duration::from_secs);
        let body = whole(response, ANSWER_BYTES_MAX).await?;
        Ok(match body {
            Some(body) if status == StatusCode::OK => Ok(body),
            Some(body) => {
                let problem = problem(&body).map_or(Trouble::Foreign(status.as_u16()), Trouble::Problem);
                Err((problem, asked))
            }
            None => Err((Trouble::Foreign(status.as_u16()), asked)),
        })
    }
}

fn http() -> reqwest::ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
}

/// Reads a problem. A code of a later version is passed on as the one of this version that has its `retry`; the problem's `type` still
/// names it.
fn problem(body: &[u8]) -> Option<Problem> {
    if let Ok(problem) = serde_json::from_slice(body) {
        return Some(problem);
    }
    let mut fields: serde_json::Value = serde_json::from_slice(body).ok()?;
    let retry: Retry = serde_json::from_value(fields.get("retry")?.clone()).ok()?;
    let known = match retry {
        Retry::Never => Code::PlatformRefused,
        Retry::Later => Code::RateLimited,
        Retry::SameKey => Code::Internal,
    };
    *fields.get_mut("code")? = known.name().into();
    serde_json::from_value(fields).ok()
}

/// A number that callers who failed together do not share.
fn draw() -> u32 {
    Uuid::new_v4().as_fields().0
}

#[cfg(test)]
mod tests {
    use super::problem;
    use crate::gateway::code::{Code, Problem};
    use serde_json::json;

    /// Scenario: every problem of this version; one of a later version with a code of its own; pages of a proxy.
    /// Guarantees: what the gateway says is read, an unknown code is treated by its `retry`, and no page is a problem.
    #[test]
    fn problems_are_read_by_code_or_by_retry() {
        for code in Code::ALL {
            let sent = Problem::because(*code, "why");
            assert_eq!(problem(&serde_json::to_vec(&sent).expect("JSON")), Some(sent));
        }
        let later = |retry: &str| {
            let body = json!({
                "type": "urn:tally:problem:wallet_asleep", "title": "the wallet sleeps", "status": 409,
                "code": "wallet_asleep", "retry": retry,
            });
            problem(body.to_string().as_bytes()).map(|problem| (problem.code, problem.kind))
        };
        let kind = "urn:tally:problem:wallet_asleep".to_owned();
        assert_eq!(later("never"), Some((Code::PlatformRefused, kind.clone())));
        assert_eq!(later("later"), Some((Code::RateLimited, kind.clone())));
        assert_eq!(later("same_key"), Some((Code::Internal, kind)));
        assert_eq!(later("perhaps"), None);
        assert_eq!(problem(b"<html>502</html>"), None);
        assert_eq!(problem(b"{}"), None);
    }
}
