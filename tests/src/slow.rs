//! Clients that speak HTTP by hand: one that sends byte by byte, and one that sends more than it should.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Between two bytes.
const PAUSE: Duration = Duration::from_millis(200);
/// Who sends byte by byte stops after so long by itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer to a whole request is waited for.
const ANSWER: Duration = Duration::from_secs(30);

/// Sends bytes one by one, so slowly that no bound of silence is met, until the other side has had enough, or a minute is over; what it
/// said and when. `address`: `host:port`, with or without `http://`.
///
/// # Panics
/// When nobody listens.
pub fn trickle(address: &str, head: &str, rest: &str) -> (String, Duration) {
    let begun = Instant::now();
    let mut stream = connect(address, PAUSE);
    stream.write_all(head.as_bytes()).expect("a beginning");
    let (mut said, mut piece, mut rest) = (Vec::new(), [0; 4096], rest.bytes().cycle());
    while begun.elapsed() < PATIENCE {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => said.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if stream.write_all(&[rest.next().expect("it goes round")]).is_err() {
                    break;
                }
            }
            Err(_) => break, // it was cut
        }
    }
    (String::from_utf8_lossy(&said).into_owned(), begun.elapsed())
}

/// Sends the whole at once; what came until the end.
///
/// # Panics
/// When nobody listens.
pub fn at_once(address: &str, request: &str) -> String {
    let mut stream = connect(address, ANSWER);
    let mut said = Vec::new();
    // it may be cut while it is still being sent
    _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut said).map(drop));
    String::from_utf8_lossy(&said).into_owned()
}

fn connect(address: &str, silence: Duration) -> TcpStream {
    let stream = TcpStream::connect(address.trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(silence)).expect("a timeout");
    stream
}
