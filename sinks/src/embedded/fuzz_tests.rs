//! Bytes of any kind as requests to the embedded ClickHouse: the real connections, up to where the engine would take over.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tally_fuzz::{Target, fuzz, outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use super::answer;
use super::error::Exception;
use super::execute::{Answer, Job, Reply};
use super::library::Progress;
use super::request::is_name;
use super::server::{self, Runs, Server};
use super::statement::{self, Statement};
use super::{Config, blocks};

/// Bytes of an input.
const INPUT_BYTES_MAX: usize = 4_096;
/// The server's bounds of a statement and of a body, small enough to be met.
const QUERY_BYTES_MAX: usize = 256;
const BODY_BYTES_MAX: u64 = 512;
/// All answers to one input.
const ENDS: Duration = Duration::from_secs(5);

const WORDS: [&str; 45] = [
    "GET ",
    "POST ",
    "HEAD ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "\r\n",
    "\r\n\r\n",
    "host: x\r\n",
    "/ping",
    "/?",
    "&",
    "=",
    "%",
    "query=",
    "query_id=",
    "database=",
    "default_format=",
    "user=",
    "password=",
    "session_id=",
    "session_timeout=",
    "session_check=1",
    "close_session=1",
    "compress=1",
    "decompress=1",
    "wait_end_of_query=1",
    "enable_http_compression=1",
    "readonly=",
    "role=",
    "param_x=",
    "max_threads=",
    "content-length: ",
    "transfer-encoding: chunked\r\n",
    "content-encoding: ",
    "accept-encoding: ",
    "gzip",
    "zstd;q=0.5",
    "lz4",
    "authorization: Basic dTpwOnE=\r\n",
    "x-clickhouse-user: u\r\n",
    "x-clickhouse-format: ",
    "content-type: multipart/form-data; boundary=b\r\n",
    "\r\n--b",
    "content-disposition: form-data; name=\"query\"",
    "INSERT INTO t FORMAT Values (1)",
];

fn seeds() -> Vec<Vec<u8>> {
    let with_body = |head: &str, body: &[u8]| {
        [format!("{head}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    };
    let form = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT 1\r\n--b\r\ncontent-disposition: form-data; name=param_x\r\n\r\n7\r\n--b--\r\n";
    let mut compressed = Vec::new();
    blocks::write(b"INSERT INTO t VALUES (1)", &mut compressed);
    vec![
        b"GET /?query=SELECT+1&max_threads=3&param_x=a%27b&session_id=s&session_timeout=5 HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip, zstd;q=0.5\r\n\r\n".to_vec(),
        with_body("POST /?database=d HTTP/1.1\r\nhost: x\r\nx-clickhouse-user: default\r\n", b"/* a */ INSERT INTO t FORMAT JSONEachRow\n{\"a\":1}"),
        with_body("POST / HTTP/1.1\r\nhost: x\r\nauthorization: Basic dTpwOnE=\r\n", b"SELECT 1"),
        with_body("POST / HTTP/1.1\r\nhost: x\r\n", &b"SELECT 1 -- ".repeat(QUERY_BYTES_MAX / 10)),
        with_body("POST /?query=SELECT+1 HTTP/1.1\r\nhost: x\r\n", &b"  ".repeat(QUERY_BYTES_MAX * 2)),
        with_body("POST / HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n", form.as_bytes()),
        with_body("POST /?decompress=1 HTTP/1.1\r\nhost: x\r\n", &compressed),
        with_body("POST / HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\n", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 4, 0]),
        b"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n1,2,3\r\n0\r\n\r\n".to_vec(),
        b"GET /ping HTTP/1.1\r\n\r\nGET /nowhere HTTP/1.1\r\n\r\nPUT / HTTP/1.1\r\n\r\nGET /?query=SELECT+1 HTTP/1.1\r\n\r\nHEAD /?query=SELECT+1 HTTP/1.0\r\n\r\n".to_vec(),
    ]
}

/// In place of the engine: keeps what each statement was.
struct Stub {
    taken: Arc<Mutex<Vec<String>>>,
}

impl Runs for Stub {
    fn run(mut job: Job<Self>, reply: Reply) {
        let answer = take(&mut job);
        job.finished.store(true, Ordering::Release);
        drop(job); // session and place are free before the client sees an end, as with the engine
        drop(reply.send(answer));
    }

    fn kill(&self, _comment: Option<&str>) {}
}

/// Reads of a statement what is read before the engine sees any of it. The answer to an INSERT is whole, any other comes in pieces.
fn take(job: &mut Job<Stub>) -> Result<Answer, Exception> {
    let (started, request) = (Instant::now(), &job.request);
    assert!(request.readonly <= 2 && request.settings.iter().all(|(name, _)| is_name(name)), "{request:?}");
    let user = (request.user.as_str(), request.password.as_str());
    assert_eq!(user, ("default", ""), "nobody else is let in");
    let (coding, in_blocks) = (request.body_coding, request.body_in_blocks);
    let (parameters, settings) = (request.parameters.len().min(3), request.settings.len().min(3));
    let format = request.default_format.clone().unwrap_or_else(|| "TabSeparated".into());
    let (_body, text, complete) = job.read()?;
    assert!(complete || text.len() > QUERY_BYTES_MAX, "a statement is read to its end or its bound");
    let (statement, blank) = (statement::split(&text), statement::is_blank(&text));
    let shape = shape(&statement);
    let became = format!("{coding:?} {in_blocks} {parameters} {settings} {complete} {blank} {shape}");
    job.engine.taken.lock().expect("no panic").push(became);
    let rest = matches!(statement, Statement::Query { .. }).then(|| {
        let (pieces, rest) = mpsc::channel(1);
        pieces.try_send(Ok(Bytes::from_static(b"2\n"))).expect("room");
        rest
    });
    let first = vec![Bytes::from_static(b"1\n")];
    Ok(Answer { format, progress: Progress::default(), elapsed: started.elapsed(), first, rest })
}

fn shape(statement: &Statement) -> String {
    let text: String = format!("{statement:?}").chars().filter(char::is_ascii_alphabetic).take(24).collect();
    text
}

/// A server with one user who has no password, over the stub.
fn over(stub: Stub) -> Arc<Server<Stub>> {
    let about = answer::Server {
        version: "26.7".into(),
        timezone: "UTC".into(),
        display_name: "tally-embedded".into(),
    };
    let config = Config {
        body_bytes_max: BODY_BYTES_MAX,
        query_bytes_max: QUERY_BYTES_MAX,
        queries_max: 1,
        ..Config::new("nowhere")
    };
    Arc::new(Server::over(stub, about, config))
}

/// Status and code of exception of each answer, line by line.
fn outcomes(said: &[u8]) -> Vec<String> {
    let kept = |line: &&str| line.starts_with("HTTP/1.") || line.starts_with("x-clickhouse-exception-code:");
    String::from_utf8_lossy(said).lines().filter(kept).map(str::to_owned).collect()
}

/// Scenario: requests, one or several, changed in every way, over a connection in memory to the real server without its engine.
/// Guarantees: nothing panics and nothing hangs; nobody but the user gets a statement in; names of settings are names; no more than the
/// bound is read of a statement; an answer is well-formed whatever was asked.
#[test]
fn any_bytes_are_read_as_a_request_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let target = Target { name: "http", seeds: seeds(), words: &WORDS, bytes_max: INPUT_BYTES_MAX };
    let mut http = server::http();
    http.half_close(true); // all is sent at once, and its end must not cut off the answers
    fuzz(&target, |input| {
        let taken: Arc<Mutex<Vec<String>>> = Arc::default();
        let server = over(Stub { taken: Arc::clone(&taken) });
        let (ended, said) = runtime.block_on(async {
            let (mut near, far) = tokio::io::duplex(4 * INPUT_BYTES_MAX);
            near.write_all(input).await.expect("room");
            near.shutdown().await.expect("it is open");
            let mut said = Vec::new();
            let talk = async { tokio::join!(server.handle(&http, far), near.read_to_end(&mut said)) };
            let (ended, read) = tokio::time::timeout(ENDS, talk).await.expect("it ends");
            read.expect("what was said");
            (ended.is_ok(), said)
        });
        assert!(
            said.is_empty() || said.starts_with(b"HTTP/1."),
            "an answer is one: {:?}",
            said.escape_ascii().to_string()
        );
        let mut answers = outcomes(&said);
        // the code of a statement whose thread ended without an answer
        assert!(!answers.iter().any(|line| line.ends_with(": 1002")), "a thread panicked");
        answers.truncate(4);
        let taken: Vec<String> = taken.lock().expect("no panic").iter().take(2).cloned().collect();
        outcome(&(ended, answers, taken))
    });
}
