//! Reads what a request asks for out of its method, address and headers.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::Duration;

use base64::Engine as _;
use hyper::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Method, http::request::Parts};

use super::compression::Coding;
use super::error::{Exception, Kind};
use super::library::Parameter;
use super::multipart;

/// Longest life of an unused session, as ClickHouse's `max_session_timeout`.
const SESSION_SECONDS_MAX: u64 = 3600;
/// Life of an unused session unless asked otherwise, as ClickHouse's `default_session_timeout`.
const SESSION_SECONDS_DEFAULT: u64 = 60;

/// A request, apart from its body.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// The text in the address; the rest of the statement, or its data, is in the body.
    pub(super) query: String,
    pub(super) query_id: Option<String>,
    pub(super) database: Option<String>,
    pub(super) default_format: Option<String>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) session: Option<SessionAsked>,
    pub(super) user: String,
    pub(super) password: String,
    /// What the request may do: 0 all, 1 read, 2 read and change settings.
    pub(super) readonly: u8,
    /// Whether the method alone forbids to write, for the message.
    pub(super) readonly_by_method: bool,
    /// The whole result is made before the answer begins, so that its status is the final one.
    pub(super) wait_end_of_query: bool,
    /// The body is in ClickHouse's own compressed blocks (`decompress=1`).
    pub(super) body_in_blocks: bool,
    /// The body is a form, with this between its fields; see [`Request::add_form`].
    pub(super) boundary: Option<String>,
    pub(super) body_coding: Coding,
    pub(super) answer_coding: Coding,
}

/// A session as a request names it.
#[derive(Debug)]
pub(super) struct SessionAsked {
    pub(super) id: String,
    pub(super) timeout: Duration,
    /// Fail when it does not exist.
    pub(super) must_exist: bool,
    pub(super) close_after: bool,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// A ClickHouse exception when a part is malformed or asks for what is not offered.
    pub(super) fn read(parts: &Parts) -> Result<Self, Exception> {
        let mut request =
            Self { user: "default".into(), body_coding: coding(&parts.headers)?, ..Self::default() };
        request.boundary = header(&parts.headers, CONTENT_TYPE).and_then(multipart::boundary);
        request.default_format = named(&parts.headers, "x-clickhouse-format").map(str::to_owned);
        request.database = named(&parts.headers, "x-clickhouse-database").map(str::to_owned);
        request.read_credentials(&parts.headers)?;
        request.read_address(parts.uri.query().unwrap_or_default(), &parts.headers)?;
        if matches!(parts.method, Method::GET | Method::HEAD) && request.readonly == 0 {
            request.readonly = 2;
            request.readonly_by_method = true;
        }
        if let Some(format) = &request.default_format
            && !is_name(format)
        {
            return Err(Exception::new(Kind::BadArguments, "the name of the format is malformed."));
        }
        Ok(request)
    }

    fn read_credentials(&mut self, headers: &HeaderMap) -> Result<(), Exception> {
        if let Some(user) = named(headers, "x-clickhouse-user") {
            self.user = user.to_owned();
            self.password = named(headers, "x-clickhouse-key").unwrap_or_default().to_owned();
            return Ok(());
        }
        let Some(basic) = header(headers, AUTHORIZATION).and_then(|value| {
            let (scheme, rest) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("basic").then(|| rest.trim())
        }) else {
            return Ok(());
        };
        let malformed = || Exception::new(Kind::AuthenticationFailed, "malformed Authorization header.");
        let decoded = base64::engine::general_purpose::STANDARD.decode(basic).map_err(|_| malformed())?;
        let decoded = String::from_utf8(decoded).map_err(|_| malformed())?;
        let (user, password) = decoded.split_once(':').ok_or_else(malformed)?;
        (self.user, self.password) = (user.to_owned(), password.to_owned());
        Ok(())
    }

    fn read_address(&mut self, address: &str, headers: &HeaderMap) -> Result<(), Exception> {
        let mut session = SessionAsked {
            id: String::new(),
            timeout: Duration::from_secs(SESSION_SECONDS_DEFAULT),
            must_exist: false,
            close_after: false,
        };
        let (mut in_blocks, mut http_compression) = (false, true);
        for (name, value) in form_urlencoded::parse(address.as_bytes()) {
            let value = value.into_owned();
            match name.as_ref() {
                "query" => self.query = value,
                "query_id" => self.query_id = Some(value).filter(|id| !id.is_empty()),
                "database" => self.database = Some(value).filter(|database| !database.is_empty()),
                "default_format" => self.default_format = Some(value),
                "user" => self.user = value,
                "password" => self.password = value,
                "session_id" => session.id = value,
                "session_timeout" => session.timeout = session_timeout(&value)?,
                "session_check" => session.must_exist = value == "1",
                "close_session" => session.close_after = value == "1",
                "compress" => in_blocks = flag(&value),
                "decompress" => self.body_in_blocks = flag(&value),
                "wait_end_of_query" => self.wait_end_of_query = flag(&value),
                "enable_http_compression" => http_compression = flag(&value),
                // Told to the transport only; the engine knows none of them as settings.
                "quota_key" | "stacktrace" | "buffer_size" | "client_protocol_version" => {}
                "role" => {
                    let message = "the embedded ClickHouse has one user and no roles; leave `role` out.";
                    return Err(Exception::new(Kind::NotImplemented, message));
                }
                "readonly" => {
                    self.readonly =
                        value.parse().ok().filter(|level| *level <= 2).ok_or_else(|| {
                            Exception::new(Kind::BadArguments, "`readonly` must be 0, 1 or 2.")
                        })?;
                }
                setting => self.read_other(setting, value)?,
            }
        }
        self.session = (!session.id.is_empty()).then_some(session);
        self.answer_coding = match (in_blocks, http_compression) {
            (true, _) => Coding::Blocks,
            (false, true) => header(headers, ACCEPT_ENCODING).map_or(Coding::Identity, Coding::accepted),
            (false, false) => Coding::Identity,
        };
        Ok(())
    }

    /// Adds the fields of a form: the statement, its parameters, and settings.
    pub(super) fn add_form(&mut self, body: &[u8]) -> Result<(), Exception> {
        let boundary = self.boundary.take().unwrap_or_default();
        for (name, value) in multipart::fields(body, &boundary)? {
            match name.as_str() {
                "query" => self.query = value,
                other => self.read_other(other, value)?,
            }
        }
        Ok(())
    }

    fn read_other(&mut self, name: &str, value: String) -> Result<(), Exception> {
        if let Some(parameter) = name.strip_prefix("param_") {
            self.parameters.push((parameter.to_owned(), value));
        } else if is_name(name) {
            self.settings.push((name.to_owned(), value));
        } else {
            let shown: String = name.chars().take(64).collect();
            return Err(Exception {
                code: 115,
                text: format!("Code: 115. DB::Exception: Unknown setting '{shown}'. (UNKNOWN_SETTING)"),
            });
        }
        Ok(())
    }

    /// Value of a setting that the request gives.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Whether a text may stand in SQL as a bare name.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn named<'h>(headers: &'h HeaderMap, name: &'static str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|value| !value.is_empty())
}

fn coding(headers: &HeaderMap) -> Result<Coding, Exception> {
    match header(headers, CONTENT_ENCODING) {
        None => Ok(Coding::Identity),
        Some(name) => Coding::named(name).ok_or_else(|| {
            Exception::new(
                Kind::UnknownCompression,
                "unknown Content-Encoding; use gzip, deflate, lz4 or zstd.",
            )
        }),
    }
}

fn flag(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

fn session_timeout(value: &str) -> Result<Duration, Exception> {
    match value.parse::<u64>() {
        Ok(seconds) if seconds <= SESSION_SECONDS_MAX => Ok(Duration::from_secs(seconds)),
        _ => Err(Exception::new(
            Kind::InvalidSessionTimeout,
            format_args!("`session_timeout` must be a number of seconds, at most {SESSION_SECONDS_MAX}."),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn read(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Request, Exception> {
        let mut builder = hyper::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        Request::read(&builder.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn address_and_headers_are_told_apart() {
        let request = read(
            "POST",
            "/?query=SELECT+1&database=d&max_threads=3&param_x=a%27b&session_id=s",
            &[("accept-encoding", "gzip, zstd;q=0.5")],
        )
        .unwrap();
        assert_eq!(request.query, "SELECT 1");
        assert_eq!(request.database.as_deref(), Some("d"));
        assert_eq!(request.settings, [("max_threads".to_owned(), "3".to_owned())]);
        assert_eq!(request.parameters, [("x".to_owned(), "a'b".to_owned())]);
        assert_eq!(request.session.unwrap().id, "s");
        assert_eq!((request.readonly, request.user.as_str()), (0, "default"));
        assert_ne!(request.answer_coding, Coding::Identity);
    }

    #[test]
    fn get_reads_only_and_names_are_checked() {
        assert_eq!(read("GET", "/?query=x", &[]).unwrap().readonly, 2);
        assert_eq!(read("GET", "/?a%27b=1", &[]).unwrap_err().code, 115);
        assert_eq!(read("POST", "/?default_format=a%20b", &[]).unwrap_err().code, 36);
        assert_eq!(read("POST", "/", &[("content-encoding", "br")]).unwrap_err().code, 89);
        let basic = read("POST", "/", &[("authorization", "Basic dTpwOnE=")]).unwrap();
        assert_eq!((basic.user.as_str(), basic.password.as_str()), ("u", "p:q"));
    }

    proptest! {
        #[test]
        fn any_address_reads_without_panic(query in "[ -~]{0,120}", header in "[ -~]{0,40}") {
            if let Ok(uri) = format!("/?{}", query.replace(['#', ' '], "+")).parse::<hyper::Uri>() {
                let mut parts = hyper::Request::new(()).into_parts().0;
                parts.uri = uri;
                for name in ["authorization", "accept-encoding", "content-encoding"] {
                    parts.headers.insert(name, header.parse().unwrap());
                }
                let _ = Request::read(&parts);
            }
        }
    }
}
