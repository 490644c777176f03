//! All offenders, for other programs: CSV or JSON lines, by the file's ending.

use crate::audit::result::Offender;
use crate::visible::{visible, visible_json};
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;

/// How a list of offenders is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffendersFormat {
    /// RFC 4180 with a header `job,id,why,detail`. A field that a spreadsheet would run as a formula (it begins with `=`,
    /// `+`, `-`, `@`, a tab or a carriage return) gets an apostrophe before it, and controls and marks of direction stand as
    /// `\u{1b}`: use JSON lines where the bytes matter.
    Csv,
    /// One object a line: `{"job":…,"id":…,"why":…,"detail":…}`.
    JsonLines,
}

/// A file's ending that says neither CSV nor JSON lines.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} ends neither in .csv nor in .jsonl or .ndjson")]
pub struct UnknownEnding(String);

impl OffendersFormat {
    /// By the file's ending, in either case: `.csv`, or `.jsonl` or `.ndjson`.
    ///
    /// # Errors
    /// Where it is another.
    pub fn of(path: &Path) -> Result<Self, UnknownEnding> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            _ => Err(UnknownEnding(path.display().to_string())),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    job: &'a str,
    #[serde(flatten)]
    offender: &'a Offender,
}

/// Writes each (job, offender) and says how many there were; memory does not grow with them.
///
/// # Errors
/// Those of the writer.
pub fn write_offenders(
    out: &mut impl Write,
    format: OffendersFormat,
    offenders: impl IntoIterator<Item = (String, Offender)>,
) -> io::Result<u64> {
    if format == OffendersFormat::Csv {
        out.write_all(b"job,id,why,detail\r\n")?;
    }
    let mut written = 0;
    for (job, offender) in offenders {
        match format {
            OffendersFormat::Csv => {
                let fields = [&job, &offender.id, &offender.why, &offender.detail].map(|text| field(text));
                write!(out, "{}\r\n", fields.join(","))?;
            }
            OffendersFormat::JsonLines => {
                let line = serde_json::to_string(&Line { job: &job, offender: &offender })?;
                writeln!(out, "{}", visible_json(&line))?;
            }
        }
        written += 1;
    }
    out.flush()?;
    Ok(written)
}

fn field(text: &str) -> String {
    let apostrophe = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    let text = visible(text);
    if apostrophe.is_empty() && !text.contains(['"', ',']) {
        return text.into_owned();
    }
    format!("\"{apostrophe}{}\"", text.replace('"', "\"\""))
}
