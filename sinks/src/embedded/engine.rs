//! The engine on its folder: start, sessions on it, ending a statement from outside.

use std::ffi::CString;
use std::path::Path;
use std::sync::Mutex;

use super::error::{Error, Exception, Kind};
use super::library::{Connection, Library, Parameter};

/// The running engine. Dropping it closes the last connection, which stops the engine: leaving it
/// open ends the process in a segmentation fault.
pub(super) struct Engine {
    library: &'static Library,
    arguments: Vec<CString>,
    /// Kept open so that the engine outlives the sessions; also runs the KILL statements.
    base: Mutex<Connection>,
    pub(super) version: String,
    pub(super) timezone: String,
}

impl Engine {
    /// Starts the engine on `folder`, made if missing. Takes about 0.2 s.
    ///
    /// `seconds_max` is the `max_execution_time` of statements that ask for none.
    pub(super) fn start(library: &Path, folder: &Path, seconds_max: u64) -> Result<Self, Error> {
        let refused = |reason: String| Error::Start { path: folder.to_owned(), reason };
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Folder { path: folder.to_owned(), source })?;
        let path = folder.to_str().ok_or_else(|| refused("its name is not UTF-8".into()))?;
        let arguments = [
            format!("--path={path}"),
            // A token and an acknowledgement mean something else when inserts are asynchronous.
            "--async_insert=0".into(),
            // The engine runs as `clickhouse-local` does, where `1 + 1` is a statement.
            "--implicit_select=0".into(),
            format!("--max_execution_time={seconds_max}"),
        ];
        let arguments = arguments
            .into_iter()
            .map(|argument| CString::new(argument).map_err(|_| refused("its name holds a NUL".into())))
            .collect::<Result<Vec<_>, _>>()?;
        let library = Library::open(library)?;
        let mut base = library.connect(&arguments).ok_or_else(|| {
            refused("it gives no reason; a process can have one engine on one folder at a time".into())
        })?;
        let version = text(&mut base, "SELECT version()").map_err(|exception| refused(exception.text))?;
        let timezone = text(&mut base, "SELECT timezone()").map_err(|exception| refused(exception.text))?;
        Ok(Self { library, arguments, base: Mutex::new(base), version, timezone })
    }

    /// Opens a session with the settings of the server; nothing is shared with other sessions but
    /// the data.
    pub(super) fn connect(&self) -> Result<Connection, Exception> {
        self.library
            .connect(&self.arguments)
            .ok_or_else(|| Exception::new(Kind::Engine, "the engine refused a new session."))
    }

    /// Ends the statements whose `log_comment` is `comment`; all of them when `None`. Returns when
    /// they are told, not when they have ended.
    pub(super) fn kill(&self, comment: Option<&str>) {
        let condition = match comment {
            Some(comment) => format!("Settings['log_comment'] = {}", literal(comment)),
            None => "query NOT ILIKE 'KILL %'".to_owned(),
        };
        let statement = format!("KILL QUERY WHERE {condition} ASYNC");
        let mut base = self.base.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(reason) = base.query(statement.as_bytes(), "Null", &[]) {
            tracing::warn!(reason, "cannot end a statement");
        }
    }
}

/// Applies settings to a session, in one statement.
pub(super) fn set<'s>(
    session: &mut Connection,
    settings: impl IntoIterator<Item = (&'s str, &'s str)>,
) -> Result<(), Exception> {
    let list: Vec<_> =
        settings.into_iter().map(|(name, value)| format!("{name} = {}", literal(value))).collect();
    if list.is_empty() {
        return Ok(());
    }
    run(session, &format!("SET {}", list.join(", ")))
}

/// Makes `database` the current one of a session.
pub(super) fn enter(session: &mut Connection, database: &str) -> Result<(), Exception> {
    let name = database.replace('\\', "\\\\").replace('`', "\\`");
    run(session, &format!("USE `{name}`"))
}

/// Runs a statement whose result does not matter.
pub(super) fn run(session: &mut Connection, sql: &str) -> Result<(), Exception> {
    session.query(sql.as_bytes(), "Null", &[]).map(drop).map_err(|text| Exception::from_engine(&text))
}

/// The result of a statement as rows of text.
pub(super) fn rows(
    session: &mut Connection,
    sql: &str,
    parameters: &[Parameter],
) -> Result<Vec<Vec<String>>, Exception> {
    let chunk = session
        .query(sql.as_bytes(), "JSONCompactStringsEachRow", parameters)
        .map_err(|text| Exception::from_engine(&text))?;
    serde_json::Deserializer::from_slice(chunk.as_ref()).into_iter().collect::<Result<_, _>>().map_err(
        |error| Exception::new(Kind::Engine, format_args!("unreadable answer of the engine: {error}.")),
    )
}

fn text(session: &mut Connection, sql: &str) -> Result<String, Exception> {
    let first = rows(session, sql, &[])?.into_iter().flatten().next();
    first.ok_or_else(|| Exception::new(Kind::Engine, "the engine gave an empty answer."))
}

/// A text as an SQL string.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
