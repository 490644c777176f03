//! The realtime feed as its clients meet it: a running service, and clients over each transport that share no code with it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};
use tally_dashboards::identity::{Minter, Role, TokenRequest, generate_key};
use tally_schemas::{Encoder, Topic, frame_single_object, latest};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocket;
use tokio_tungstenite::tungstenite::{Error as WsError, Message, client};

use crate::place::TempFolder;
use crate::stage::Stage;
use crate::tally::Tally;
use crate::wait::eventually;

/// Until a service listens, an answer comes, a frame comes; on a machine that builds at the same time.
const ANSWER: Duration = Duration::from_secs(30);
const ISSUER: &str = "https://issuer.test";
const AUDIENCE: &str = "tally";

/// Whoever issues the tokens of one test, and the folder of keys that its services share.
#[derive(Debug)]
pub struct Desk {
    minter: Minter,
    folder: TempFolder,
}

impl Default for Desk {
    fn default() -> Desk {
        let folder = TempFolder::new("desk");
        let (private, public) = generate_key();
        std::fs::write(folder.path().join("token.pub"), public).expect("a key can be written");
        let minter = Minter::new(&private, ISSUER, AUDIENCE).expect("the key was just made");
        Desk { minter, folder }
    }
}

impl Desk {
    /// A token, and its id.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub fn token(&self, role: Role, subject: &str, lifetime_s: i64) -> (String, String) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let request = TokenRequest { subject: subject.to_owned(), role, scope: String::new(), lifetime_s };
        self.minter.mint(&request, i64::try_from(now).expect("this century")).expect("a token")
    }

    /// A token of ten minutes.
    pub fn pass(&self, role: Role, subject: &str) -> String {
        self.token(role, subject, 600).0
    }

    /// The folder of the keys that sign the feed.
    pub fn feed_keys(&self) -> String {
        self.folder.path().join("feed-keys").display().to_string()
    }

    /// Starts a service over a stage's topics and database.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn serve(&self, stage: &Stage<'_>, more: &[&str]) -> Service {
        self.serve_on(stage, "127.0.0.1:0", more)
    }

    /// The same at a given address.
    ///
    /// # Panics
    /// As above.
    pub fn serve_on(&self, stage: &Stage<'_>, listen: &str, more: &[&str]) -> Service {
        self.start(stage, (listen, stage.at_clickhouse()[1]), more)
    }

    /// The same over another way to the stage's store.
    ///
    /// # Panics
    /// As above.
    pub fn serve_over(&self, stage: &Stage<'_>, clickhouse: &str, more: &[&str]) -> Service {
        self.start(stage, ("127.0.0.1:0", clickhouse), more)
    }

    fn start(&self, stage: &Stage<'_>, (listen, clickhouse): (&str, &str), more: &[&str]) -> Service {
        let flags = self.flags_at(stage, (listen, clickhouse));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.wait(Tally::spawn(&[&["serve"], &flags[..], more].concat(), &[]))
    }

    /// The flags of a `tally serve` over a stage's topics and database, on free ports.
    pub fn flags(&self, stage: &Stage<'_>) -> Vec<String> {
        self.flags_at(stage, ("127.0.0.1:0", stage.at_clickhouse()[1]))
    }

    fn flags_at(&self, stage: &Stage<'_>, (listen, clickhouse): (&str, &str)) -> Vec<String> {
        let (key, keys) = (self.folder.path().join("token.pub").display().to_string(), self.feed_keys());
        let own = ["--listen", listen, "--issuer", ISSUER, "--audience", AUDIENCE, "--token-key", &key];
        let own = [&own[..], &["--ops-listen", "127.0.0.1:0"]].concat();
        let store = ["--clickhouse", clickhouse, "--database", stage.database.name()];
        let own = [&stage.at_kafka()[..], &store, &own, &["--feed-keys", &keys]].concat();
        own.into_iter().map(str::to_owned).collect()
    }

    /// A `tally serve` that was started, once it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn wait(&self, mut tally: Tally) -> Service {
        let address = eventually(ANSWER, "the address that tally serve logs", || {
            assert!(tally.is_running(), "tally serve ended\n{}", tally.log_tail());
            let said = tally.stdout();
            let (_, rest) = said.split_once("service: http://")?;
            rest.split_once('/')?.0.parse().ok()
        });
        let ops = crate::stage::pages(&mut tally);
        let service = Service { tally, address, ops };
        eventually(ANSWER, "a ready service", || {
            (crate::stage::get(&format!("{}/readyz", service.ops)).0 == 200).then_some(())
        });
        service
    }
}

/// A running `tally serve`.
#[derive(Debug)]
pub struct Service {
    /// Its process.
    pub tally: Tally,
    /// Where it listens.
    pub address: SocketAddr,
    /// `http://host:port` of `/metrics` and its kin.
    pub ops: String,
}

impl Service {
    /// Status and body of a page, whatever the status.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn get(&self, path: &str, token: &str) -> (u16, String) {
        let request = ureq::get(format!("http://{}{path}", self.address)).config();
        let request = request.timeout_global(Some(ANSWER)).http_status_as_error(false).proxy(None).build();
        let mut response = request
            .header("Authorization", format!("Bearer {token}"))
            .call()
            .unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.tally.log_tail()));
        (response.status().as_u16(), response.body_mut().read_to_string().expect("a body"))
    }

    /// One long poll that must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn poll(&self, token: &str, after: &str, wait: u64) -> Value {
        let path = format!("/feed/events?after={after}&wait={wait}&limit=1000");
        let (status, body) = self.get(&path, token);
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).expect("JSON")
    }

    /// Acknowledges over HTTP; the status.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn ack(&self, token: &str, cursor: &str) -> u16 {
        let request = ureq::post(format!("http://{}/feed/acks", self.address)).config();
        let request = request.timeout_global(Some(ANSWER)).http_status_as_error(false).proxy(None).build();
        let request = request.header("Authorization", format!("Bearer {token}"));
        let request = request.header("Content-Type", "application/json");
        request.send(json!({ "cursor": cursor }).to_string()).expect("an answer").status().as_u16()
    }

    /// A metric's value; 0 while there is none. `name` with its labels, as in the text.
    ///
    /// # Panics
    /// When the value is no number.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = crate::stage::get(&format!("{}/metrics", self.ops));
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// Opens a WebSocket and sends the first frame.
    ///
    /// # Panics
    /// When the handshake fails.
    pub fn ws(&self, token: &str, cursor: &str) -> Ws {
        let stream = TcpStream::connect(self.address).expect("a connection");
        let request = format!("ws://{}/feed/ws", self.address).into_client_request().expect("a request");
        stream.set_read_timeout(Some(ANSWER)).expect("a timeout");
        let (socket, _) = client(request, stream).expect("a handshake");
        let mut ws = Ws { socket };
        ws.say(&json!({ "op": "connect", "token": token, "cursor": cursor }));
        ws
    }

    /// Opens a stream of server-sent events.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub fn sse(&self, token: &str, cursor: &str) -> Sse {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(ANSWER)).expect("a timeout");
        let head = format!(
            "GET /feed/sse?cursor=now HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nLast-Event-ID: {cursor}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes()).expect("a request");
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status).expect("a status");
        if !status.contains(" 200 ") {
            let mut answer = String::new();
            let _ = reader.read_to_string(&mut answer); // an answer without its end is shown all the same
            panic!("{status}{answer}\n{}", self.tally.log_tail());
        }
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).expect("a header");
        }
        Sse { reader, text: String::new() }
    }
}

/// A frame, or how the stream ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// A frame.
    Frame(Value),
    /// A close frame's code.
    Closed(u16),
    /// The connection ended without one.
    Gone,
    /// Nothing came in time.
    Silence,
}

/// Something that gives frames.
pub trait Frames {
    /// What comes within `wait`.
    fn hear(&mut self, wait: Duration) -> Heard;

    /// The next frame of an op; others are passed over.
    ///
    /// # Panics
    /// When it does not come.
    fn frame(&mut self, op: &str) -> Value {
        let start = Instant::now();
        loop {
            match self.hear(ANSWER) {
                Heard::Frame(frame) if frame["op"] == op => return frame,
                Heard::Frame(_) if start.elapsed() < ANSWER => {}
                other => panic!("{other:?} instead of {op}"),
            }
        }
    }

    /// So many events, each with its payload read; others are passed over.
    ///
    /// # Panics
    /// When they do not come.
    fn events(&mut self, number: usize) -> Vec<Event> {
        let start = Instant::now();
        let mut events: Vec<Event> = Vec::new();
        while events.len() < number {
            match self.hear(ANSWER) {
                Heard::Frame(frame) if frame["op"] == "event" => events.push(Event::of(&frame)),
                Heard::Frame(_) if start.elapsed() < ANSWER => {}
                other => panic!("{other:?} after {} of {number} events", events.len()),
            }
        }
        events
    }

    /// Every frame until the stream ends or `wait` has passed.
    fn rest(&mut self, wait: Duration) -> (Vec<Value>, Heard) {
        let (start, mut frames) = (Instant::now(), Vec::new());
        loop {
            match self.hear(wait.saturating_sub(start.elapsed()).max(Duration::from_millis(1))) {
                Heard::Frame(frame) => frames.push(frame),
                other => return (frames, other),
            }
        }
    }
}

/// An event's frame, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The position behind it.
    pub cursor: String,
    /// The position before.
    pub prev: String,
    /// CloudEvents id.
    pub id: String,
    /// CloudEvents type.
    pub kind: String,
    /// The whole payload.
    pub payload: Value,
}

impl Event {
    /// Reads a frame.
    ///
    /// # Panics
    /// When it is none of an event.
    pub fn of(frame: &Value) -> Event {
        let text =
            |name: &str| frame[name].as_str().unwrap_or_else(|| panic!("{name} in {frame}")).to_owned();
        let payload: Value = serde_json::from_str(&text("payload")).expect("a payload is JSON");
        let of = |name: &str| payload[name].as_str().expect("a text").to_owned();
        Event { cursor: text("cursor"), prev: text("prev"), id: of("id"), kind: of("type"), payload }
    }
}

/// A WebSocket client.
#[derive(Debug)]
pub struct Ws {
    socket: WebSocket<TcpStream>,
}

impl Ws {
    /// Sends a frame.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn say(&mut self, frame: &Value) {
        self.socket.send(Message::Text(frame.to_string().into())).expect("a frame can be sent");
    }
}

impl Frames for Ws {
    fn hear(&mut self, wait: Duration) -> Heard {
        self.socket.get_ref().set_read_timeout(Some(wait)).expect("a timeout");
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Heard::Frame(serde_json::from_str(&text).expect("JSON")),
                Ok(Message::Close(Some(frame))) => return Heard::Closed(frame.code.into()),
                Ok(Message::Close(None)) => return Heard::Gone,
                Ok(_) => {}
                Err(WsError::Io(error)) if is_timeout(&error) => return Heard::Silence,
                Err(_) => return Heard::Gone,
            }
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// A client of server-sent events.
#[derive(Debug)]
pub struct Sse {
    reader: BufReader<TcpStream>,
    text: String,
}

impl Sse {
    /// One chunk of the body into the text; false at the end.
    fn chunk(&mut self) -> std::io::Result<bool> {
        let mut size = String::new();
        if self.reader.read_line(&mut size)? == 0 {
            return Ok(false);
        }
        let bytes = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        let mut chunk = vec![0; bytes + 2];
        self.reader.read_exact(&mut chunk)?;
        self.text.push_str(&String::from_utf8_lossy(&chunk[..bytes]));
        Ok(bytes > 0)
    }
}

impl Frames for Sse {
    fn hear(&mut self, wait: Duration) -> Heard {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let data: Vec<&str> = block.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                let id = block.lines().find_map(|line| line.strip_prefix("id: "));
                let frame: Option<Value> =
                    (!data.is_empty()).then(|| serde_json::from_str(&data.concat()).expect("JSON"));
                if let Some(cursor) = frame.as_ref().and_then(|frame| frame["cursor"].as_str())
                    && frame.as_ref().is_some_and(|frame| frame["op"] != "goaway")
                {
                    assert_eq!(id, Some(cursor), "{block}");
                }
                self.text = rest.to_owned();
                if let Some(frame) = frame {
                    return Heard::Frame(frame);
                }
            }
            self.reader.get_ref().set_read_timeout(Some(wait)).expect("a timeout");
            match self.chunk() {
                Ok(true) => {}
                Ok(false) => return Heard::Gone,
                Err(error) if is_timeout(&error) => return Heard::Silence,
                Err(_) => return Heard::Gone,
            }
        }
    }
}

/// Publishes events as a service does, one after the other and acknowledged.
pub struct Publisher {
    producer: ThreadedProducer<DefaultProducerContext>,
    prefix: String,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Publisher {
    /// To the topics of a stage.
    ///
    /// # Panics
    /// When the client cannot be made.
    pub fn to(stage: &Stage<'_>) -> Publisher {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", stage.kafka.bootstrap()).set("linger.ms", "0").set("acks", "all");
        let producer = config.create().expect("a producer");
        Publisher { producer, prefix: stage.prefix().to_owned() }
    }

    /// Publishes events, in order, and waits until Kafka has them.
    ///
    /// # Panics
    /// When an event cannot be encoded or Kafka does not take it.
    pub fn publish(&self, topic: Topic, events: &[Value]) {
        let contract = latest(topic);
        let encoder = Encoder::new(contract).expect("a contract that can be written");
        for event in events {
            let value = frame_single_object(contract, &encoder.encode(event).expect("a valid event"));
            self.raw(topic, event[topic.key_field()].as_str().expect("a key"), &value);
        }
        self.producer.flush(ANSWER).expect("Kafka takes them");
    }

    /// Publishes an event as a producer does whose clock stands at that moment, milliseconds since 1970 UTC.
    ///
    /// # Panics
    /// When the event cannot be encoded or Kafka does not take it.
    pub fn publish_at(&self, topic: Topic, event: &Value, clock_ms: i64) {
        let contract = latest(topic);
        let encoder = Encoder::new(contract).expect("a contract that can be written");
        let value = frame_single_object(contract, &encoder.encode(event).expect("a valid event"));
        let name = format!("{}{}", self.prefix, topic.name());
        let key = event[topic.key_field()].as_str().expect("a key");
        let record = BaseRecord::to(&name).key(key).payload(&value).timestamp(clock_ms);
        self.producer.send(record).expect("room in the queue");
        self.producer.flush(ANSWER).expect("Kafka takes it");
    }

    /// Publishes bytes as they are; does not wait.
    ///
    /// # Panics
    /// When the client's queue is full.
    pub fn raw(&self, topic: Topic, key: &str, value: &[u8]) {
        let name = format!("{}{}", self.prefix, topic.name());
        self.producer.send(BaseRecord::to(&name).key(key).payload(value)).expect("room in the queue");
    }
}
