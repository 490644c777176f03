//! A client of Confluent-compatible schema registries.
//!
//! An id that the registry does not have is an answer ([`Lookup::NotFound`]); a registry that does not answer is an
//! error, and never says anything about the data: the caller pauses and tries again.

use reqwest::{Certificate, Client, Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Media type of the registry's API.
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Longest part of a refusal that is repeated.
const SAID_CHARS_MAX: usize = 500;

/// Where a registry is and how to speak to it.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// Base address, with the path of the API if it has one, without a user or a password in it.
    pub url: String,
    /// User for basic authentication; the API key at hosted registries.
    pub user: Option<String>,
    /// Its password, or API secret.
    pub password: Option<SecretString>,
    /// File of certificate authorities (PEM) that may vouch for an https address, beside the system's.
    pub ca: Option<PathBuf>,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Tries before an unreachable registry is reported; at least one is made.
    pub attempts_max: u32,
    /// Wait before the second try; doubled before each further one.
    pub backoff: Duration,
}

impl RegistryConfig {
    /// A registry at an address, with five seconds for an answer and three tries.
    pub fn at(url: impl Into<String>) -> RegistryConfig {
        RegistryConfig {
            url: url.into(),
            user: None,
            password: None,
            ca: None,
            timeout: Duration::from_secs(5),
            attempts_max: 3,
            backoff: Duration::from_millis(200),
        }
    }
}

/// What a registry knows of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The schema's text.
    Found(String),
    /// The registry answered, and does not have it.
    NotFound,
}

/// Why a registry could not be asked, or what it had against it.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// The address cannot be one.
    #[error("the registry's address is not a URL: set registry.url to something like https://host:8081")]
    Address,
    /// The address would be shown in errors and logs.
    #[error(
        "the registry's address holds a user or a password: give them as registry.user and registry.password"
    )]
    CredentialsInAddress,
    /// The file of authorities cannot be used.
    #[error("registry.ca: {}: {said}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        said: String,
    },
    /// Nobody would be asked for a certificate.
    #[error(
        "registry.ca is set and registry.url is not https: begin the address with https, or leave registry.ca out"
    )]
    AuthoritiesWithoutTls,
    /// No client could be made.
    #[error("no HTTP client could be made for the schema registry")]
    Client(#[source] reqwest::Error),
    /// No answer, or one that the registry itself calls a failure of its own.
    #[error("the schema registry at {place} does not answer ({said}); check registry.url, and that it runs")]
    Unreachable {
        /// Scheme, host, port and path, without credentials.
        place: String,
        /// What happened.
        said: String,
    },
    /// The credentials were refused.
    #[error(
        "the schema registry at {place} refuses the credentials ({status}); check registry.user and its password"
    )]
    Credentials {
        /// Scheme, host, port and path, without credentials.
        place: String,
        /// HTTP status.
        status: u16,
    },
    /// The version does not stand beside the earlier ones.
    #[error(
        "the schema registry refuses {subject}: {said}; `tally schema check` names the fields. For a symbol appended \
         to an enum, roll out readers first, then `tally schema register --readers-know`"
    )]
    Incompatible {
        /// The subject.
        subject: String,
        /// What the registry said.
        said: String,
    },
    /// Any other refusal.
    #[error(
        "the schema registry at {place} answers {status}: {said}; check that registry.url is the base of its API"
    )]
    Refused {
        /// Scheme, host, port and path, without credentials.
        place: String,
        /// HTTP status.
        status: u16,
        /// What it said, cut to a bound.
        said: String,
    },
}

impl RegistryError {
    /// Whether to ask again later instead of stopping. Credentials and addresses are mended by people.
    pub fn is_retryable(&self) -> bool {
        match self {
            RegistryError::Unreachable { .. } => true,
            RegistryError::Address
            | RegistryError::CredentialsInAddress
            | RegistryError::Authorities { .. }
            | RegistryError::AuthoritiesWithoutTls
            | RegistryError::Client(_)
            | RegistryError::Credentials { .. }
            | RegistryError::Incompatible { .. }
            | RegistryError::Refused { .. } => false,
        }
    }
}

/// A registry, with its connections.
#[derive(Clone, Debug)]
pub struct Registry {
    client: Client,
    base: Url,
    user: Option<String>,
    password: Option<SecretString>,
    attempts_max: u32,
    backoff: Duration,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: Option<u32>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct WithSchema {
    schema: String,
}

#[derive(Deserialize)]
struct WithId {
    id: u32,
}

struct Request<'a> {
    method: Method,
    path: &'a [&'a str],
    body: Option<Json>,
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

/// The certificates of a PEM file; what is wrong with it, where it has none.
pub(crate) fn authorities(path: &Path) -> Result<Vec<Certificate>, String> {
    let read = std::fs::read(path).map_err(|error| error.to_string())?;
    match Certificate::from_pem_bundle(&read) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("no certificate in it".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Registry {
    /// Makes a client; nothing is sent.
    pub fn new(config: RegistryConfig) -> Result<Registry, RegistryError> {
        let mut base = Url::parse(&config.url).map_err(|_| RegistryError::Address)?;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(RegistryError::Address);
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(RegistryError::CredentialsInAddress);
        }
        if config.ca.is_some() && base.scheme() != "https" {
            return Err(RegistryError::AuthoritiesWithoutTls);
        }
        base.set_query(None);
        let mut client = Client::builder()
            .timeout(config.timeout)
            .connect_timeout(config.timeout.min(Duration::from_secs(3)));
        if is_loopback(&base) {
            client = client.no_proxy(); // another machine's loopback is not ours
        }
        if let Some(path) = config.ca {
            let found = authorities(&path).map_err(|said| RegistryError::Authorities { path, said })?;
            client = found.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate);
        }
        let client = client.build().map_err(RegistryError::Client)?;
        let attempts_max = config.attempts_max.max(1);
        Ok(Registry {
            client,
            base,
            user: config.user,
            password: config.password,
            attempts_max,
            backoff: config.backoff,
        })
    }

    /// The text of the schema of that id.
    pub async fn schema(&self, id: u32) -> Result<Lookup, RegistryError> {
        if i32::try_from(id).is_err() {
            return Ok(Lookup::NotFound); // ids are positive 32-bit integers there; another is answered like a wrong path
        }
        let id = id.to_string();
        let answer =
            self.ask(Request { method: Method::GET, path: &["schemas", "ids", &id], body: None }).await?;
        match self.known::<WithSchema>(&answer, "")? {
            Some(found) => Ok(Lookup::Found(found.schema)),
            None => Ok(Lookup::NotFound),
        }
    }

    /// The id of a schema that is registered under a subject; `None` where it is not.
    pub async fn id_of(&self, subject: &str, schema: &str) -> Result<Option<u32>, RegistryError> {
        let body = Some(json!({"schema": schema}));
        let answer = self.ask(Request { method: Method::POST, path: &["subjects", subject], body }).await?;
        Ok(self.known::<WithId>(&answer, subject)?.map(|found| found.id))
    }

    /// Registers a schema under a subject and gives its id; the same text again gives the same id.
    pub async fn register(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        let body = Some(json!({"schema": schema}));
        let path = &["subjects", subject, "versions"];
        let answer = self.ask(Request { method: Method::POST, path, body }).await?;
        match self.known::<WithId>(&answer, subject)? {
            Some(found) => Ok(found.id),
            None => Err(self.refused(&answer)),
        }
    }

    /// Sets the compatibility of a subject to FULL_TRANSITIVE.
    pub async fn require_full_transitive(&self, subject: &str) -> Result<(), RegistryError> {
        self.require(subject, "FULL_TRANSITIVE").await
    }

    /// Registers a schema that appends symbols to an enum: newer readers read what is older, but not the other way round.
    pub async fn register_with_symbols(&self, subject: &str, schema: &str) -> Result<u32, RegistryError> {
        self.require(subject, "BACKWARD_TRANSITIVE").await?;
        let registered = self.register(subject, schema).await;
        self.require_full_transitive(subject).await?;
        registered
    }

    async fn require(&self, subject: &str, compatibility: &str) -> Result<(), RegistryError> {
        let body = Some(json!({"compatibility": compatibility}));
        let answer = self.ask(Request { method: Method::PUT, path: &["config", subject], body }).await?;
        match self.known::<Json>(&answer, subject)? {
            Some(_) => Ok(()),
            None => Err(self.refused(&answer)),
        }
    }

    /// Sends a request until it is answered, at most `attempts_max` times.
    async fn ask(&self, request: Request<'_>) -> Result<Answer, RegistryError> {
        let mut wait = self.backoff;
        for attempt in 1.. {
            let said = match self.send(&request).await {
                Ok(answer) if !is_own_failure(answer.status) => return Ok(answer),
                Ok(answer) => format!("status {}", answer.status.as_u16()),
                Err(e) => describe(&e.without_url()),
            };
            if attempt >= self.attempts_max {
                return Err(RegistryError::Unreachable { place: self.place(), said });
            }
            tracing::debug!(attempt, said, "schema registry does not answer");
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2);
        }
        Err(RegistryError::Unreachable { place: self.place(), said: "no attempt was made".to_owned() })
    }

    async fn send(&self, request: &Request<'_>) -> Result<Answer, reqwest::Error> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(request.path);
        }
        let mut call = self.client.request(request.method.clone(), url).header("accept", CONTENT_TYPE);
        if let Some(user) = &self.user {
            call = call.basic_auth(user, self.password.as_ref().map(ExposeSecret::expose_secret));
        }
        if let Some(body) = &request.body {
            call = call.header("content-type", CONTENT_TYPE).body(body.to_string());
        }
        let mut response = call.send().await?;
        let mut answer = Answer { status: response.status(), body: Vec::new() };
        while let Some(chunk) = response.chunk().await? {
            answer.body.extend_from_slice(&chunk);
            if answer.body.len() > ANSWER_BYTES_MAX {
                answer.body.clear();
                break;
            }
        }
        Ok(answer)
    }

    /// The answer, or `None` where the registry says that it does not know what was asked for. A bare 404 is no such
    /// answer: it would come from a wrong path as well, and every event would be called unknown.
    fn known<T: serde::de::DeserializeOwned>(
        &self,
        answer: &Answer,
        subject: &str,
    ) -> Result<Option<T>, RegistryError> {
        let refusal: Option<Refusal> = serde_json::from_slice(&answer.body).ok();
        let code = refusal.and_then(|refusal| refusal.error_code);
        match (answer.status, code) {
            (status, _) if status.is_success() => {
                serde_json::from_slice(&answer.body).map(Some).map_err(|_| self.refused(answer))
            }
            (StatusCode::NOT_FOUND, Some(40401..=40403)) => Ok(None),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Err(RegistryError::Credentials { place: self.place(), status: answer.status.as_u16() })
            }
            (StatusCode::CONFLICT, _) => {
                Err(RegistryError::Incompatible { subject: subject.to_owned(), said: said(answer) })
            }
            _ => Err(self.refused(answer)),
        }
    }

    fn refused(&self, answer: &Answer) -> RegistryError {
        RegistryError::Refused { place: self.place(), status: answer.status.as_u16(), said: said(answer) }
    }

    fn place(&self) -> String {
        self.base.to_string()
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

fn is_own_failure(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn said(answer: &Answer) -> String {
    let refusal: Option<Refusal> = serde_json::from_slice(&answer.body).ok();
    let message = refusal.and_then(|refusal| refusal.message);
    let message = message.unwrap_or_else(|| "an answer that is not the registry's API".to_owned());
    message.chars().take(SAID_CHARS_MAX).collect()
}

/// The innermost cause, which names what happened: refused, timed out, certificate.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
