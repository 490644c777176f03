//! What ClickHouse's errors ask of the caller.

use thiserror::Error;

/// An error of ClickHouse or of the way there.
#[derive(Debug, Error)]
pub enum StoreError {
    /// ClickHouse answered with an exception.
    #[error("ClickHouse refused ({code}): {message}")]
    Exception {
        /// Its code, as in `system.errors`.
        code: u32,
        /// Its first line.
        message: String,
    },
    /// No answer, or half of one: the insert may have happened.
    #[error("no answer from ClickHouse: {0}")]
    Unanswered(String),
    /// Nobody whom we believe vouches for the server.
    #[error("the certificate of ClickHouse is not believed: {0}")]
    Untrusted(String),
    /// Certificate authorities that cannot be read.
    #[error("clickhouse.ca: {0}")]
    Authorities(String),
    /// Nobody would be asked for a certificate.
    #[error("clickhouse.ca is set and the address is not https")]
    AuthoritiesWithoutTls,
    /// One row after the other was refused.
    #[error("ClickHouse refuses every row: {0}")]
    NothingFits(String),
    /// The rows could not be put into an ArrowStream body.
    #[error("rows could not be encoded: {0}")]
    Encode(#[from] arrow_schema::ArrowError),
}

/// What to do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same again, soon: the token and the key make a repeat harmless.
    Soon,
    /// The same again after a longer pause: the server is full, read-only or overloaded.
    Later,
    /// A row of the block is to blame: find it.
    Bisect,
    /// Nobody but an operator can mend this: stop the lane and say so.
    Stop,
}

impl From<clickhouse::error::Error> for StoreError {
    fn from(error: clickhouse::error::Error) -> Self {
        if let clickhouse::error::Error::BadResponse(text) = &error {
            let line = text.lines().next().unwrap_or_default();
            if let Some(code) = exception_code(line) {
                let line = line.split("Column values:").next().unwrap_or_default(); // the rest is an event
                let message = line.trim_end().chars().take(500).collect();
                return StoreError::Exception { code, message };
            }
        }
        match crate::tls::distrust(&error) {
            Some(said) => StoreError::Untrusted(said),
            None => StoreError::Unanswered(chain(&error)),
        }
    }
}

/// `Code: 60. DB::Exception: …` is 60.
fn exception_code(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once("Code: ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

impl StoreError {
    /// The class of the error, with the operator's remedy.
    pub fn retry(&self) -> (Retry, &'static str) {
        match self {
            StoreError::Unanswered(_) => (Retry::Soon, "see that ClickHouse runs and can be reached"),
            StoreError::Untrusted(_) => (
                Retry::Later,
                "give the authority that signed it as clickhouse.ca, renew it, or use a name that stands in it",
            ),
            StoreError::Authorities(_) => (Retry::Stop, "give a file of certificates in PEM"),
            StoreError::AuthoritiesWithoutTls => {
                (Retry::Stop, "begin the address with https, or leave clickhouse.ca out")
            }
            StoreError::NothingFits(_) => {
                (Retry::Stop, "the table does not fit the contract: run `tally migrate`")
            }
            StoreError::Encode(_) => (Retry::Stop, "report this: rows that were accepted must encode"),
            StoreError::Exception { code, .. } => of_code(*code),
        }
    }
}

/// Codes of ClickHouse's `ErrorCodes.cpp`. What is not listed is retried: a lane that waits loses nothing.
fn of_code(code: u32) -> (Retry, &'static str) {
    match code {
        // CANNOT_PARSE_TEXT, _QUOTED_STRING, _DATE, _DATETIME, _NUMBER, INCORRECT_DATA, VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE,
        // CANNOT_PARSE_UUID, DECIMAL_OVERFLOW, CANNOT_CONVERT_TYPE, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN,
        // VIOLATED_CONSTRAINT, ARGUMENT_OUT_OF_BOUND, UNKNOWN_ELEMENT_OF_ENUM, TOO_LARGE_STRING_SIZE, CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING
        6 | 26 | 38 | 41 | 72 | 117 | 321 | 376 | 407 | 70 | 349 | 469 | 69 | 691 | 131 | 441 => {
            (Retry::Bisect, "the guilty row becomes a dead letter; see its sentence")
        }
        // TYPE_MISMATCH and FUNCTION_THROW_IF_VALUE_IS_NON_ZERO may come of one value as well
        53 | 395 => (Retry::Bisect, "the guilty row becomes a dead letter; see its sentence"),
        // UNKNOWN_TABLE, UNKNOWN_DATABASE, NO_SUCH_COLUMN_IN_TABLE, UNKNOWN_IDENTIFIER, NUMBER_OF_COLUMNS_DOESNT_MATCH, THERE_IS_NO_COLUMN
        60 | 81 | 16 | 47 | 7 | 8 => (Retry::Stop, "run `tally migrate`"),
        // SYNTAX_ERROR, UNKNOWN_FORMAT, UNKNOWN_SETTING, UNKNOWN_TYPE
        62 | 73 | 115 | 50 => (Retry::Stop, "this ClickHouse is too old for these tables, or this is a bug"),
        // UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED, ACCESS_DENIED, IP_ADDRESS_NOT_ALLOWED
        192 | 193 | 194 | 516 | 497 | 195 => {
            (Retry::Stop, "check clickhouse.user, its password and its grants")
        }
        // TOO_MANY_PARTS, MEMORY_LIMIT_EXCEEDED, NOT_ENOUGH_SPACE, TABLE_IS_READ_ONLY, READONLY, QUOTA_EXCEEDED, TOO_SLOW
        252 | 241 | 243 | 242 | 164 | 201 | 160 => {
            (Retry::Later, "free space or memory, let merges catch up, or make the server writable")
        }
        // TOO_MANY_SIMULTANEOUS_QUERIES, TIMEOUT_EXCEEDED, SOCKET_TIMEOUT, NETWORK_ERROR, KEEPER_EXCEPTION, and the rest
        _ => (Retry::Soon, "it is retried; see ClickHouse's own log if it does not pass"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Retry, StoreError, exception_code};

    /// Scenario: ClickHouse names the row that violates a constraint.
    /// Guarantees: the error has its code and the constraint, and nothing of the row.
    #[test]
    fn an_error_shows_no_row() {
        let said = "Code: 469. DB::Exception: Constraint `small` for table t is violated at row 1. Expression: \
                    (amount < 5). Column values: actor_id = 'user-7', amount = 9. (VIOLATED_CONSTRAINT)";
        let error = StoreError::from(clickhouse::error::Error::BadResponse(said.to_owned())).to_string();
        assert!(
            error.contains("(469)") && error.contains("`small`") && error.contains("(amount < 5)"),
            "{error}"
        );
        assert!(!error.contains("user-7") && !error.contains("amount = 9"), "{error}");
    }

    /// Scenario: exceptions as ClickHouse words them.
    /// Guarantees: the code is found, and each class is reached.
    #[test]
    fn exceptions_are_classed() {
        assert_eq!(exception_code("Code: 60. DB::Exception: Unknown table"), Some(60));
        assert_eq!(exception_code("upstream hung up"), None);
        let class = |code| StoreError::Exception { code, message: String::new() }.retry().0;
        assert_eq!(
            [class(202), class(252), class(691), class(60)],
            [Retry::Soon, Retry::Later, Retry::Bisect, Retry::Stop]
        );
        assert_eq!(StoreError::Unanswered(String::new()).retry().0, Retry::Soon);
    }
}
