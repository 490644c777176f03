//! Errors of the process ([`Error`]) and errors of one query ([`Exception`]).

use std::path::PathBuf;

/// Why the embedded engine cannot start or had to stop. Each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No library file at any of the usual places.
    #[error(
        "the ClickHouse engine library was not found; looked at {looked}; fetch it with `make engine`, \
         or name the file with --lib or TALLY_CHDB_LIB"
    )]
    LibraryMissing {
        /// The places looked at, comma-separated.
        looked: String,
    },
    /// The library file is damaged, for another machine, or of another release.
    #[error("cannot load the ClickHouse engine from {path}; fetch the release it needs with `make engine`")]
    Library {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        #[source]
        source: libloading::Error,
    },
    /// Another process serves this folder.
    #[error("{data} is served by another process ({holder}); use that one, or stop it first")]
    Locked {
        /// The data folder.
        data: PathBuf,
        /// Its process id and address, as far as known.
        holder: String,
    },
    /// The engine refused the data folder.
    #[error(
        "the ClickHouse engine cannot open {path}; check that the folder is writable and not damaged: {reason}"
    )]
    Start {
        /// The engine's folder.
        path: PathBuf,
        /// What the engine says, if anything.
        reason: String,
    },
    /// The data folder cannot be written.
    #[error("cannot write {path}; check the folder's rights and free space")]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The port is taken or not allowed.
    #[error("cannot listen on {address}; choose another port, or 0 for any free one")]
    Listen {
        /// Address asked for.
        address: std::net::SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// A ClickHouse exception: its number, and its text in the server's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exception {
    pub(super) code: u16,
    pub(super) text: String,
}

/// The number and name of the exceptions raised here; the engine raises the others itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    BadArguments,
    CannotReadAllData,
    NotImplemented,
    SyntaxError,
    Readonly,
    TooManyQueries,
    SocketTimeout,
    QueryTooLarge,
    UnknownCompression,
    CannotDecompress,
    LimitExceeded,
    SupportDisabled,
    OutfileNotAllowed,
    SessionNotFound,
    SessionLocked,
    InvalidSessionTimeout,
    Cancelled,
    AuthenticationFailed,
    Engine,
}

impl Kind {
    fn number_and_name(self) -> (u16, &'static str) {
        match self {
            Self::CannotReadAllData => (33, "CANNOT_READ_ALL_DATA"),
            Self::BadArguments => (36, "BAD_ARGUMENTS"),
            Self::NotImplemented => (48, "NOT_IMPLEMENTED"),
            Self::SyntaxError => (62, "SYNTAX_ERROR"),
            Self::UnknownCompression => (89, "UNKNOWN_COMPRESSION_METHOD"),
            Self::Readonly => (164, "READONLY"),
            Self::TooManyQueries => (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
            Self::SocketTimeout => (209, "SOCKET_TIMEOUT"),
            Self::QueryTooLarge => (229, "QUERY_IS_TOO_LARGE"),
            Self::CannotDecompress => (271, "CANNOT_DECOMPRESS"),
            Self::LimitExceeded => (290, "LIMIT_EXCEEDED"),
            Self::SupportDisabled => (344, "SUPPORT_IS_DISABLED"),
            Self::OutfileNotAllowed => (358, "INTO_OUTFILE_NOT_ALLOWED"),
            Self::SessionNotFound => (372, "SESSION_NOT_FOUND"),
            Self::SessionLocked => (373, "SESSION_IS_LOCKED"),
            Self::InvalidSessionTimeout => (374, "INVALID_SESSION_TIMEOUT"),
            Self::Cancelled => (394, "QUERY_WAS_CANCELLED"),
            Self::AuthenticationFailed => (516, "AUTHENTICATION_FAILED"),
            Self::Engine => (1002, "UNKNOWN_EXCEPTION"),
        }
    }
}

impl Exception {
    /// An exception raised here; `message` ends with a full stop, as ClickHouse's do.
    pub(super) fn new(kind: Kind, message: impl std::fmt::Display) -> Self {
        let (code, name) = kind.number_and_name();
        Self { code, text: format!("Code: {code}. DB::Exception: {message} ({name})") }
    }

    /// Reads the text of an exception of the engine. Some of its paths leave the code out.
    pub(super) fn from_engine(text: &str) -> Self {
        let code = text
            .find("Code: ")
            .and_then(|start| text.get(start + "Code: ".len()..))
            .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>())
            .and_then(|digits| digits.parse().ok());
        match code {
            Some(code) => Self { code, text: text.trim_end().to_owned() },
            None => Self::new(Kind::Engine, text.trim_end()),
        }
    }

    /// The body of the response: the text with the server's version, as clients expect it.
    pub(super) fn body(&self, version: &str) -> String {
        // The inserting path of the engine adds a version of its own.
        let text = match self.text.rfind(" (version ") {
            Some(start) if self.text.ends_with(')') => self.text.get(..start).unwrap_or(&self.text),
            _ => &self.text,
        };
        format!("{text} (version {version} (official build))\n")
    }

    /// The HTTP status that ClickHouse's own server gives (its `exceptionCodeToHTTPStatus`), and
    /// 503 when too many queries run, so that clients try again.
    pub(super) fn status(&self) -> hyper::StatusCode {
        use hyper::StatusCode as Status;
        match self.code {
            194 => Status::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => Status::FORBIDDEN,
            6 | 8 | 15 | 25 | 26 | 27 | 36 | 37 | 38 | 41 | 44 | 53 | 62 | 72 | 117 | 123 | 167 | 168
            | 223 | 321 | 376 | 427 | 441 | 675 | 676 => Status::BAD_REQUEST,
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => Status::NOT_FOUND,
            229 => Status::PAYLOAD_TOO_LARGE,
            48 => Status::NOT_IMPLEMENTED,
            76 | 202 | 209 | 439 => Status::SERVICE_UNAVAILABLE,
            381 => Status::LENGTH_REQUIRED,
            159 => Status::REQUEST_TIMEOUT,
            779 => Status::UNSUPPORTED_MEDIA_TYPE,
            _ => Status::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_texts_give_their_code_and_one_version() {
        let with = Exception::from_engine("Code: 27. DB::Exception: bad (CANNOT_PARSE) (version 26.7.2.1)");
        assert_eq!(with.code, 27);
        assert_eq!(
            with.body("26.7"),
            "Code: 27. DB::Exception: bad (CANNOT_PARSE) (version 26.7 (official build))\n"
        );
        assert_eq!(Exception::from_engine("Invalid insert stream").code, 1002);
        assert_eq!(Exception::from_engine("Code: 99999999. x").code, 1002);
    }
}
