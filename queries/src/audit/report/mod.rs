//! Reports of the audit: a table for the terminal, JSON for programs, one self-contained HTML page for people.
//!
//! The JSON, `tally.audit.v1`; fields are only ever added:
//!
//! | field | |
//! | --- | --- |
//! | `schema` | `tally.audit.v1` |
//! | `verdict` | the worst of the results: ERROR, FAIL, NOT_EVALUATED, INSUFFICIENT, PENDING, WARN, PASS |
//! | `exit_code` | 0 all PASS, 1 any FAIL, 2 anything undecided, 3 ERROR, or no result |
//! | `generated_at` | RFC 3339, UTC |
//! | `command` | what was asked for |
//! | `results` | an array of [`JobResult`], whose documentation says what each field means |

mod chart;
mod html;
mod number;
mod offenders;
mod terminal;
#[cfg(test)]
mod tests;

use super::result::{JobResult, Verdict, moment};
use crate::visible::visible_json;
use serde::Serialize;

pub use offenders::{OffendersFormat, UnknownEnding, write_offenders};
pub use terminal::Terminal;

/// Name and version of the JSON's form.
pub const SCHEMA: &str = "tally.audit.v1";

/// What an audit answered, ready to be shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// The answers that count, one a job.
    pub results: Vec<JobResult>,
    /// Earlier answers of the same jobs, in any order: they are shown as a trend and change no verdict.
    pub history: Vec<JobResult>,
    /// When the report was made, microseconds since 1970 UTC.
    pub generated_at_us: i64,
    /// The command that was given, without secrets.
    pub command: String,
}

#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    verdict: Verdict,
    exit_code: u8,
    generated_at: String,
    command: &'a str,
    results: &'a [JobResult],
}

impl Report {
    /// The worst of the results; ERROR where there is none.
    pub fn verdict(&self) -> Verdict {
        use Verdict::{Error, Fail, Insufficient, NotEvaluated, Pass, Pending, Warn};
        let holds = |wanted: &Verdict| self.results.iter().any(|result| result.verdict == *wanted);
        let worst_first = [Error, Fail, NotEvaluated, Insufficient, Pending, Warn, Pass];
        worst_first.into_iter().find(holds).unwrap_or(Error)
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        Verdict::exit_code(self.results.iter().map(|result| result.verdict))
    }

    /// For programs, indented; see the table above. Controls and marks of direction stand as `\u` escapes, so that it may
    /// be shown in a terminal as well.
    ///
    /// # Errors
    /// None that the types allow for; serde's signature.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let json = Json {
            schema: SCHEMA,
            verdict: self.verdict(),
            exit_code: self.exit_code(),
            generated_at: moment(self.generated_at_us),
            command: &self.command,
            results: &self.results,
        };
        Ok(visible_json(&serde_json::to_string_pretty(&json)?))
    }

    /// For people at a terminal.
    pub fn terminal(&self, terminal: Terminal) -> String {
        terminal::render(self, terminal)
    }

    /// For people with a browser: one file that loads nothing and runs nothing.
    pub fn html(&self) -> String {
        html::render(self)
    }
}

/// A sign beside a verdict's name, so that neither colour nor language is needed to tell them apart.
const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Fail => "✗",
        Verdict::Warn => "!",
        Verdict::Pending => "…",
        Verdict::NotEvaluated => "–",
        Verdict::Insufficient => "?",
        Verdict::Error => "‼",
    }
}

/// `share within tolerance, NORMAL`; the name alone where there is no group.
fn label(measure: &super::result::Measure) -> String {
    match measure.group.as_str() {
        "" => measure.name.clone(),
        group => format!("{}, {group}", measure.name),
    }
}
