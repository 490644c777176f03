//! Bytes of any kind as an HTTP request to the embedded ClickHouse, up to where the engine would take over.

use std::convert::Infallible;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tally_fuzz::{Target, fuzz, outcome};
use tokio::io::AsyncWriteExt as _;

use super::blocks;
use super::error::Exception;
use super::request::Request;
use super::statement;

/// Bytes of an input, of a body, and of what a body may become when it is decoded.
const INPUT_BYTES_MAX: usize = 4_096;
const DECODED_BYTES_MAX: u64 = 1 << 20;

const WORDS: [&str; 44] = [
    "GET ",
    "POST ",
    "HEAD ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "\r\n",
    "\r\n\r\n",
    "host: x\r\n",
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
        with_body("POST /?database=d HTTP/1.1\r\nhost: x\r\nauthorization: Basic dTpwOnE=\r\n", b"/* a */ INSERT INTO t FORMAT JSONEachRow\n{\"a\":1}"),
        with_body("POST / HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n", form.as_bytes()),
        with_body("POST /?decompress=1 HTTP/1.1\r\nhost: x\r\n", &compressed),
        with_body("POST / HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\n", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 4, 0]),
        b"POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n1,2,3\r\n0\r\n\r\n".to_vec(),
    ]
}

/// What the server does with a request before the engine, and what came of it.
async fn take(request: hyper::Request<Incoming>) -> String {
    let (parts, body) = request.into_parts();
    let read = Request::read(&parts);
    let body = Limited::new(body, INPUT_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes);
    match (read, body) {
        (Err(exception), _) => refused("head", &exception),
        (Ok(_), Err(_)) => "body".to_owned(),
        (Ok(mut request), Ok(body)) => {
            assert!(
                request.readonly <= 2
                    && request.settings.iter().all(|(name, _)| super::request::is_name(name))
            );
            if request.boundary.is_some() {
                return match request.add_form(&body) {
                    Err(exception) => refused("form", &exception),
                    Ok(()) => {
                        format!("form {} {}", request.parameters.len().min(3), request.settings.len().min(3))
                    }
                };
            }
            let (coding, in_blocks) = (request.body_coding, request.body_in_blocks);
            let text = match coding.decode(std::io::Cursor::new(body)) {
                Ok(reader) if in_blocks => whole(blocks::Blocks::new(reader)),
                Ok(reader) => whole(reader),
                Err(error) => Err(error),
            };
            let Ok(text) = text else { return format!("coding {coding:?} {in_blocks}") };
            let text = [request.query.as_bytes(), b"\n", &text].concat();
            let statement = statement::split(&text);
            let blank = statement::is_blank(&text);
            format!("{coding:?} {in_blocks} {blank} {}", shape(&statement))
        }
    }
}

/// Bombs end at the bound, as they do in the server, which reads a statement up to one.
fn whole(reader: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    reader.take(DECODED_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn shape(statement: &statement::Statement) -> String {
    let text: String = format!("{statement:?}").chars().filter(char::is_ascii_alphabetic).take(24).collect();
    text
}

fn refused(place: &str, exception: &Exception) -> String {
    format!("{place} {} {}", exception.code, exception.status())
}

/// Scenario: requests, changed in every way, over a connection in memory.
/// Guarantees: nothing panics and nothing hangs; names of settings are names; an answer is well-formed whatever was asked.
#[test]
fn any_bytes_are_read_as_a_request_or_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let target = Target { name: "http", seeds: seeds(), words: &WORDS, bytes_max: INPUT_BYTES_MAX };
    fuzz(&target, |input| {
        let taken: Arc<Mutex<Vec<String>>> = Arc::default();
        let taking = Arc::clone(&taken);
        let service = service_fn(move |request| {
            let taking = Arc::clone(&taking);
            async move {
                let became = take(request).await;
                taking.lock().expect("no panic").push(became);
                Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"Ok."))))
            }
        });
        let said = runtime.block_on(async {
            let (mut near, far) = tokio::io::duplex(4 * INPUT_BYTES_MAX);
            near.write_all(input).await.expect("room");
            near.shutdown().await.expect("it is open");
            let served = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(far), service);
            let ended = tokio::time::timeout(Duration::from_secs(5), served).await.expect("it ends");
            let mut said = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut near, &mut said).await.expect("what was said");
            (ended.is_ok(), said)
        });
        assert!(
            said.1.is_empty() || said.1.starts_with(b"HTTP/1."),
            "an answer is one: {:?}",
            said.1.escape_ascii().to_string()
        );
        let status = String::from_utf8_lossy(said.1.get(..12).unwrap_or_default()).into_owned();
        let taken: Vec<String> = taken.lock().expect("no panic").iter().take(2).cloned().collect();
        outcome(&(said.0, status, taken))
    });
}
