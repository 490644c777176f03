//! One connection to the feed, by WebSocket or server-sent events, on a socket of our own: so that it can be cut,
//! left unread, and told apart at the proxy.

use super::frame::Frame;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};

/// How events come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cli) enum Transport {
    Ws,
    Sse,
}

impl Transport {
    pub(in crate::cli) fn name(self) -> &'static str {
        match self {
            Transport::Ws => "ws",
            Transport::Sse => "sse",
        }
    }
}

/// What a connection is opened with.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Opening<'a> {
    pub(in crate::cli) transport: Transport,
    pub(in crate::cli) service: SocketAddr,
    pub(in crate::cli) token: &'a str,
    /// A cursor, `now` or `earliest`.
    pub(in crate::cli) cursor: &'a str,
    /// Receive buffer of the socket, bytes; `None` leaves it to the system.
    pub(in crate::cli) receive_bytes: Option<u32>,
    /// Which of the loopback addresses it comes from: one has only so many ports.
    pub(in crate::cli) from: u8,
}

/// Longest wait for the service to take a connection and answer it.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// Longest wait for the service to answer a goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// Largest message taken, bytes.
const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Read buffer of a WebSocket, bytes: the default of 128 KiB would be most of a subscriber's memory.
const WS_READ_BYTES: usize = 4 * 1024;

/// Why a connection is none, or is none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum End {
    /// It ended without a word.
    Lost,
    /// The service said why: a close code of the contract.
    Closed(u16),
    /// What came was no frame of the contract.
    Broken,
}

/// An open connection.
pub(in crate::cli) struct Line {
    port: u16,
    kind: Kind,
}

enum Kind {
    Ws(Box<WebSocketStream<TcpStream>>),
    Sse { body: Incoming, rest: Vec<u8>, driver: tokio::task::JoinHandle<()> },
}

impl Line {
    /// Opens one; the first frame is still to come.
    pub(in crate::cli) async fn open(opening: Opening<'_>) -> Result<Line, End> {
        tokio::time::timeout(OPEN_MAX, Line::try_open(opening)).await.unwrap_or(Err(End::Lost))
    }

    async fn try_open(opening: Opening<'_>) -> Result<Line, End> {
        let stream = connect(opening).await.map_err(|_| End::Lost)?;
        let port = stream.local_addr().map_err(|_| End::Lost)?.port();
        let kind = match opening.transport {
            Transport::Ws => open_ws(stream, opening).await?,
            Transport::Sse => open_sse(stream, opening).await?,
        };
        Ok(Line { port, kind })
    }

    /// The port on this side: its name at the proxy.
    pub(in crate::cli) fn port(&self) -> u16 {
        self.port
    }

    /// The next frame, handed to `take`; a connection that ended says why. Not to be called again after an end.
    pub(in crate::cli) async fn next<T>(&mut self, take: impl FnOnce(&Frame<'_>) -> T) -> Result<T, End> {
        match &mut self.kind {
            Kind::Ws(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => return parse(text.as_bytes(), take),
                    Some(Ok(Message::Close(Some(frame)))) => return Err(End::Closed(frame.code.into())),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Binary(_) | Message::Frame(_))) => return Err(End::Broken),
                    Some(Ok(Message::Close(None)) | Err(_)) | None => return Err(End::Lost),
                }
            },
            Kind::Sse { body, rest, .. } => {
                let mut looked = 0; // bytes of `rest` that hold no end of an event
                loop {
                    if let Some(end) = blank_line(rest, looked) {
                        let event: Vec<u8> = rest.drain(..end).collect();
                        looked = 0;
                        match data_of(&event) {
                            Some(data) => return parse(data, take),
                            None => continue, // a comment, or `retry`
                        }
                    }
                    looked = rest.len().saturating_sub(1);
                    if rest.len() > MESSAGE_BYTES_MAX {
                        return Err(End::Broken);
                    }
                    match body.frame().await {
                        Some(Ok(frame)) => {
                            rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data))
                        }
                        Some(Err(_)) | None => return Err(End::Lost),
                    }
                }
            }
        }
    }

    /// Acknowledges everything up to a cursor, where this transport has a way back.
    pub(in crate::cli) async fn acknowledge(&mut self, cursor: &str) {
        if let Kind::Ws(socket) = &mut self.kind {
            let ack = serde_json::json!({ "op": "ack", "cursor": cursor }).to_string();
            let _ = socket.send(Message::text(ack)).await; // a line that ended says so when it is read
        }
    }

    /// Says goodbye and waits, a moment, for the other end to close: what was said before has been read then. A line that is
    /// dropped instead breaks off without a word, and may take its last acknowledgement with it.
    pub(in crate::cli) async fn close(mut self) {
        if let Kind::Ws(socket) = &mut self.kind {
            let goodbye = async {
                socket.close().await?;
                while socket.next().await.transpose()?.is_some() {}
                Ok::<_, tungstenite::Error>(())
            };
            let _ = tokio::time::timeout(GOODBYE_MAX, goodbye).await; // it is over in any case
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Kind::Sse { driver, .. } = &self.kind {
            driver.abort(); // it owns the socket
        }
    }
}

async fn connect(opening: Opening<'_>) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if opening.from > 1 {
        socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, opening.from)), 0))?;
    }
    if let Some(bytes) = opening.receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    let stream = socket.connect(opening.service).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn open_ws(stream: TcpStream, opening: Opening<'_>) -> Result<Kind, End> {
    let request =
        format!("ws://{}/feed/ws", opening.service).into_client_request().map_err(|_| End::Broken)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(WS_READ_BYTES)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let (mut socket, _) = tokio_tungstenite::client_async_with_config(request, stream, Some(config))
        .await
        .map_err(|error| match error {
            tungstenite::Error::Http(answer) => {
                End::Closed(closed_by(answer.status(), answer.body().as_deref()))
            }
            _ => End::Lost,
        })?;
    let connect = serde_json::json!({ "op": "connect", "token": opening.token, "cursor": opening.cursor });
    socket.send(Message::text(connect.to_string())).await.map_err(|_| End::Lost)?;
    Ok(Kind::Ws(Box::new(socket)))
}

async fn open_sse(stream: TcpStream, opening: Opening<'_>) -> Result<Kind, End> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| End::Lost)?;
    let driver = tokio::spawn(async move {
        let _ = connection.await; // its end is the end of the body
    });
    let request = Request::get("/feed/sse")
        .header(header::HOST, opening.service.to_string())
        .header(header::ACCEPT, "text/event-stream")
        .header(header::AUTHORIZATION, format!("Bearer {}", opening.token))
        .header("last-event-id", opening.cursor)
        .body(Empty::<Bytes>::new())
        .map_err(|_| End::Broken)?;
    let answer = sender.send_request(request).await.map_err(|_| End::Lost)?;
    let status = answer.status();
    if status == StatusCode::OK {
        return Ok(Kind::Sse { body: answer.into_body(), rest: Vec::new(), driver });
    }
    let body = answer.into_body().collect().await.map_err(|_| End::Lost)?.to_bytes();
    driver.abort();
    Err(End::Closed(closed_by(status, Some(&body))))
}

/// The close code that a refusal over HTTP stands for: the problem says it, else the status does.
fn closed_by(status: StatusCode, body: Option<&[u8]>) -> u16 {
    let problem = body.and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok());
    let said =
        problem.and_then(|problem| problem["close"].as_u64()).and_then(|code| u16::try_from(code).ok());
    said.unwrap_or(match status {
        StatusCode::UNAUTHORIZED => 4001,
        StatusCode::FORBIDDEN => 4003,
        StatusCode::TOO_MANY_REQUESTS => 4100,
        _ => 4101,
    })
}

fn parse<T>(bytes: &[u8], take: impl FnOnce(&Frame<'_>) -> T) -> Result<T, End> {
    serde_json::from_slice(bytes).map(|frame| take(&frame)).map_err(|_| End::Broken)
}

/// Where the first event ends, that is, after its blank line.
fn blank_line(bytes: &[u8], from: usize) -> Option<usize> {
    let found = bytes.get(from..)?.windows(2).position(|two| two == b"\n\n")?;
    Some(from + found + 2)
}

/// The data of an event of one data line, as the contract sends it.
fn data_of(event: &[u8]) -> Option<&[u8]> {
    let mut lines = event.split(|byte| *byte == b'\n');
    let data = lines.find_map(|line| line.strip_prefix(b"data:"))?;
    Some(data.strip_prefix(b" ").unwrap_or(data))
}
