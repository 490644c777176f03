//! The C interface of `libchdb`, wrapped in owned values. The only unsafe code of the module.
//!
//! The library holds one engine per process. Each [`Connection`] on it is an independent session
//! (settings, current database, temporary tables); opening one costs about 0.3 ms.
#![expect(unsafe_code, reason = "libchdb is a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

use super::error::Error;

type Handle = *mut c_void;
type Names = *const *const c_char;
type Lengths = *const usize;
type Run = unsafe extern "C" fn(
    Handle,
    *const c_char,
    usize,
    *const c_char,
    usize,
    Names,
    Lengths,
    Names,
    Lengths,
    usize,
) -> Handle;

#[repr(C)]
struct Analysis {
    struct_size: u32,
    statement_count: u32,
    flags: u32,
    query_class: u32,
}

/// The entry points in use, resolved once.
pub(super) struct Library {
    signal_handlers: unsafe extern "C" fn(c_int),
    connect: unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Handle,
    close: unsafe extern "C" fn(*mut Handle),
    query: Run,
    select: Run,
    fetch: unsafe extern "C" fn(Handle, Handle) -> Handle,
    cancel_select: unsafe extern "C" fn(Handle, Handle),
    insert: Run,
    append: unsafe extern "C" fn(Handle, *const c_void, usize) -> c_int,
    finish: unsafe extern "C" fn(Handle) -> Handle,
    insert_error: unsafe extern "C" fn(Handle) -> *const c_char,
    destroy_insert: unsafe extern "C" fn(Handle),
    classify:
        unsafe extern "C" fn(Handle, *const c_char, usize, *const c_char, usize, *mut Analysis) -> c_int,
    buffer: unsafe extern "C" fn(Handle) -> *const u8,
    length: unsafe extern "C" fn(Handle) -> usize,
    error: unsafe extern "C" fn(Handle) -> *const c_char,
    counters: [unsafe extern "C" fn(Handle) -> u64; 4],
    destroy: unsafe extern "C" fn(Handle),
}

impl Library {
    /// Loads the engine from `path`. It stays loaded for the life of the process, since its
    /// threads cannot be unloaded with it.
    ///
    /// # Errors
    /// When the file is no library for this machine or lacks a function of release 26.7.
    pub(super) fn open(path: &Path) -> Result<&'static Self, Error> {
        let failed = |source| Error::Library { path: path.to_owned(), source };
        // SAFETY: loading runs the initialisers of a library that the operator named as libchdb.
        let library = unsafe { libloading::Library::new(path) }.map_err(failed)?;
        let library: &'static libloading::Library = Box::leak(Box::new(library));
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the field that receives it has the signature chdb.h 26.7 declares.
                *unsafe { library.get($name) }.map_err(failed)?
            };
        }
        let api = Self {
            signal_handlers: symbol!(b"chdb_set_signal_handlers_enabled"),
            connect: symbol!(b"chdb_connect"),
            close: symbol!(b"chdb_close_conn"),
            query: symbol!(b"chdb_query_with_params_n"),
            select: symbol!(b"chdb_stream_query_with_params_n"),
            fetch: symbol!(b"chdb_stream_fetch_result"),
            cancel_select: symbol!(b"chdb_stream_cancel_query"),
            insert: symbol!(b"chdb_stream_insert_with_params_n"),
            append: symbol!(b"chdb_stream_append"),
            finish: symbol!(b"chdb_stream_done"),
            insert_error: symbol!(b"chdb_stream_insert_error"),
            destroy_insert: symbol!(b"chdb_destroy_insert_stream"),
            classify: symbol!(b"chdb_classify_query_n"),
            buffer: symbol!(b"chdb_result_buffer"),
            length: symbol!(b"chdb_result_length"),
            error: symbol!(b"chdb_result_error"),
            counters: [
                symbol!(b"chdb_result_storage_rows_read"),
                symbol!(b"chdb_result_storage_bytes_read"),
                symbol!(b"chdb_result_rows_written"),
                symbol!(b"chdb_result_bytes_written"),
            ],
            destroy: symbol!(b"chdb_destroy_query_result"),
        };
        // SAFETY: takes an integer; called before the first connection, as chdb.h asks. Without it
        // the engine takes over the signals of the host, SIGTERM included.
        unsafe { (api.signal_handlers)(0) };
        Ok(Box::leak(Box::new(api)))
    }

    /// Opens a session; `arguments` are `--path=…` and `--<setting>=…`. `None` when refused: the
    /// library gives no reason.
    pub(super) fn connect(&'static self, arguments: &[CString]) -> Option<Connection> {
        let mut argv: Vec<*mut c_char> = Vec::with_capacity(arguments.len() + 2);
        argv.push(c"clickhouse".as_ptr().cast_mut());
        argv.extend(arguments.iter().map(|argument| argument.as_ptr().cast_mut()));
        let argc = c_int::try_from(argv.len()).ok()?;
        argv.push(std::ptr::null_mut());
        // SAFETY: argv holds argc NUL-terminated strings that outlive the call and a closing null;
        // the library only reads them.
        let handle = unsafe { (self.connect)(argc, argv.as_mut_ptr()) };
        NonNull::new(handle).map(|handle| Connection { library: self, handle })
    }

    fn text(pointer: *const c_char) -> Option<String> {
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the library returns null or a NUL-terminated string that lives as long as its
        // owner, which the callers hold; it is copied here.
        let text = unsafe { CStr::from_ptr(pointer) };
        Some(text.to_string_lossy().into_owned())
    }
}

/// What a statement does, judged by the engine's own parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    ReadOnly,
    Mutating,
    Control,
    /// It did not parse; running it gives the syntax error.
    Unknown,
}

/// A bound query parameter: name and value in escaped-text form.
pub(super) type Parameter = (String, String);

/// One session of the engine; closed when dropped.
pub(super) struct Connection {
    library: &'static Library,
    handle: NonNull<Handle>,
}

// SAFETY: the library serialises the calls on a connection by its own mutex and ties none of its
// state to a thread; a value is used by one thread at a time since every method takes `&mut`.
unsafe impl Send for Connection {}

impl Connection {
    fn raw(&self) -> Handle {
        // SAFETY: chdb_connect returned a pointer to the connection, valid until close.
        unsafe { *self.handle.as_ptr() }
    }

    fn run(&self, function: Run, sql: &[u8], format: &str, parameters: &[Parameter]) -> Handle {
        let names: Vec<_> = parameters.iter().map(|(name, _)| name.as_ptr().cast()).collect();
        let name_bytes: Vec<_> = parameters.iter().map(|(name, _)| name.len()).collect();
        let values: Vec<_> = parameters.iter().map(|(_, value)| value.as_ptr().cast()).collect();
        let value_bytes: Vec<_> = parameters.iter().map(|(_, value)| value.len()).collect();
        // SAFETY: every pointer comes with its length and outlives the call; the library copies.
        unsafe {
            function(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                format.as_ptr().cast(),
                format.len(),
                names.as_ptr(),
                name_bytes.as_ptr(),
                values.as_ptr(),
                value_bytes.as_ptr(),
                parameters.len(),
            )
        }
    }

    /// Runs a statement and holds its whole result. The error is the engine's text.
    pub(super) fn query(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[Parameter],
    ) -> Result<Chunk, String> {
        Chunk::checked(self.library, self.run(self.library.query, sql, format, parameters))
    }

    /// Starts a statement whose result is fetched in pieces. The error is the engine's text.
    pub(super) fn select(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[Parameter],
    ) -> Result<Select<'_>, String> {
        let stream = Chunk::checked(self.library, self.run(self.library.select, sql, format, parameters))?;
        Ok(Select { connection: self, stream, ended: false })
    }

    /// Starts an INSERT whose data follows in `format`; `sql` is the statement without FORMAT.
    pub(super) fn insert(
        &mut self,
        sql: &[u8],
        format: &str,
        parameters: &[Parameter],
    ) -> Result<Insert<'_>, String> {
        let stream = self.run(self.library.insert, sql, format, parameters);
        let insert = Insert { connection: self, stream };
        match insert.error() {
            Some(error) => Err(error),
            None => Ok(insert),
        }
    }

    /// Number of statements in `sql`, and the most restricted class among them.
    pub(super) fn classify(&mut self, sql: &[u8]) -> (u32, Class) {
        let mut report = Analysis { struct_size: 16, statement_count: 0, flags: 0, query_class: 4 };
        // SAFETY: sql comes with its length, no target database is given, and the report is as
        // large as it says.
        let status = unsafe {
            (self.library.classify)(
                self.raw(),
                sql.as_ptr().cast(),
                sql.len(),
                std::ptr::null(),
                0,
                &raw mut report,
            )
        };
        let class = match (status, report.query_class) {
            (0, 0) => Class::ReadOnly,
            (0, 1 | 2) => Class::Mutating,
            (0, 3) => Class::Control,
            _ => Class::Unknown,
        };
        (report.statement_count, class)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: closed once; the values that borrow the connection are gone by then.
        unsafe { (self.library.close)(self.handle.as_ptr()) };
    }
}

/// A piece of a result in the library's own memory, freed when dropped.
pub(super) struct Chunk {
    library: &'static Library,
    result: Handle,
}

// SAFETY: a result is a plain buffer with counters, detached from connection and thread; after
// `checked` it is only read.
unsafe impl Send for Chunk {}
// SAFETY: as above: the accessors do not change it.
unsafe impl Sync for Chunk {}

/// Rows and bytes that a statement read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) read_rows: u64,
    pub(super) read_bytes: u64,
    pub(super) written_rows: u64,
    pub(super) written_bytes: u64,
}

impl Progress {
    /// Adds the counters of a further piece.
    pub(super) fn add(&mut self, other: Self) {
        self.read_rows = self.read_rows.saturating_add(other.read_rows);
        self.read_bytes = self.read_bytes.saturating_add(other.read_bytes);
        self.written_rows = self.written_rows.saturating_add(other.written_rows);
        self.written_bytes = self.written_bytes.saturating_add(other.written_bytes);
    }
}

impl Chunk {
    fn checked(library: &'static Library, result: Handle) -> Result<Self, String> {
        if result.is_null() {
            return Err("Code: 1002. DB::Exception: the engine gave no result. (UNKNOWN_EXCEPTION)".into());
        }
        let chunk = Self { library, result };
        // SAFETY: the result is live.
        match Library::text(unsafe { (library.error)(result) }) {
            Some(error) => Err(error),
            None => Ok(chunk),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        // SAFETY: the result is live.
        let [read_rows, read_bytes, written_rows, written_bytes] =
            self.library.counters.map(|counter| unsafe { counter(self.result) });
        Progress { read_rows, read_bytes, written_rows, written_bytes }
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: buffer and length describe memory that the result owns until destroyed; an empty
        // result may have a null buffer.
        unsafe {
            let (start, bytes) = ((self.library.buffer)(self.result), (self.library.length)(self.result));
            if start.is_null() || bytes == 0 { &[] } else { std::slice::from_raw_parts(start, bytes) }
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: destroyed once.
        unsafe { (self.library.destroy)(self.result) };
    }
}

/// A running SELECT; cancelled when dropped before its end.
pub(super) struct Select<'c> {
    connection: &'c mut Connection,
    stream: Chunk,
    ended: bool,
}

impl Select<'_> {
    /// The next piece, `None` at the end. The error is the engine's text and ends the statement.
    pub(super) fn fetch(&mut self) -> Result<Option<Chunk>, String> {
        let library = self.connection.library;
        // SAFETY: connection and stream are live, and `&mut` serialises the fetches.
        let result = unsafe { (library.fetch)(self.connection.raw(), self.stream.result) };
        let chunk = Chunk::checked(library, result).inspect_err(|_| self.ended = true)?;
        if chunk.as_ref().is_empty() {
            self.ended = true;
            return Ok(None);
        }
        Ok(Some(chunk))
    }
}

impl Drop for Select<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: connection and stream are live; the stream is destroyed after it.
            unsafe { (self.connection.library.cancel_select)(self.connection.raw(), self.stream.result) };
        }
    }
}

/// A running INSERT; cancelled when dropped before [`Insert::finish`].
pub(super) struct Insert<'c> {
    connection: &'c mut Connection,
    stream: Handle,
}

impl Insert<'_> {
    fn error(&self) -> Option<String> {
        // SAFETY: the stream is live (never null by the header's word) until dropped.
        Library::text(unsafe { (self.connection.library.insert_error)(self.stream) })
    }

    /// Hands over a piece of data; waits when the engine is behind. `false` when the statement has
    /// failed: [`Insert::finish`] says why.
    pub(super) fn append(&mut self, data: &[u8]) -> bool {
        // SAFETY: data comes with its length and is copied.
        unsafe { (self.connection.library.append)(self.stream, data.as_ptr().cast(), data.len()) == 0 }
    }

    /// Commits, and gives what was written. The error is the engine's text.
    pub(super) fn finish(self) -> Result<Progress, String> {
        let library = self.connection.library;
        // SAFETY: the stream is live; dropping self destroys it afterwards.
        let result = unsafe { (library.finish)(self.stream) };
        Chunk::checked(library, result).map(|result| result.progress())
    }
}

impl Drop for Insert<'_> {
    fn drop(&mut self) {
        // SAFETY: destroyed once; it cancels a statement that was not finished.
        unsafe { (self.connection.library.destroy_insert)(self.stream) };
    }
}
