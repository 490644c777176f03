//! A network that fails on request: a loopback proxy between a client and a server.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often a thread looks whether the faults have changed.
const LOOK: Duration = Duration::from_millis(20);

/// What happens to the bytes of every connection.
#[derive(Debug, Clone, Default)]
struct Faults {
    /// Of connections older than this nothing passes, and nobody is told.
    swallowed: usize,
    /// Requests that begin so are taken and never answered.
    blocked: Vec<String>,
    /// On the way to the client the first text is replaced by the second, which is as long.
    replaced: Option<(Vec<u8>, Vec<u8>)>,
    /// Of the pieces that pass so many out of a thousand meet a fault.
    permille: u64,
}

/// How often each kind of fault was met, by its name.
pub type Met = BTreeMap<&'static str, u64>;

/// What may become of a piece on its way.
enum Fault {
    None,
    /// It comes later.
    Delay(Duration),
    /// Half of it passes, then the connection is cut.
    Half,
    /// Nothing of it passes, and the connection is cut: of an answer, the server has done what it was asked.
    Cut,
    /// The client is told 503 in the server's place, or what ClickHouse says that is read-only or full.
    Refused(&'static Refusal),
    /// Nothing of it passes, and nobody is told: an answer is waited for until its time is over.
    Swallow,
}

/// What is said in the server's place, and its name.
type Refusal = (&'static str, &'static str);
static REFUSALS: [Refusal; 3] = [
    ("unavailable", "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"),
    (
        "read-only",
        "HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: 242\r\ncontent-length: 66\r\nconnection: close\r\n\r\nCode: 242. DB::Exception: Table is in readonly mode since a test.\n",
    ),
    (
        "full",
        "HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Exception-Code: 243\r\ncontent-length: 66\r\nconnection: close\r\n\r\nCode: 243. DB::Exception: Cannot reserve space, since a test says\n",
    ),
];

/// A running proxy. Dropped, it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    faults: Mutex<Faults>,
    open: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
    replacements: AtomicUsize,
    met: Mutex<Met>,
    ended: AtomicBool,
    chance: AtomicU64,
}

impl Proxy {
    /// Listens on a free port of loopback and passes on to `target`, `host:port`.
    ///
    /// # Panics
    /// When it cannot.
    pub fn before(target: &str) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let target = target.parse().expect("an address and its port");
        let shared = Arc::new(Shared {
            target,
            faults: Mutex::default(),
            open: Mutex::default(),
            accepted: AtomicUsize::new(0),
            replacements: AtomicUsize::new(0),
            met: Mutex::default(),
            ended: AtomicBool::new(false),
            chance: AtomicU64::new(0),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.carry(near));
            }
        });
        Proxy { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            if stream.shutdown(Shutdown::Both).is_ok() {
                self.shared.meets("all cut");
            } // else it had ended by itself
        }
    }

    /// What met a fault so far: pieces that came late, half, or never for a cut or in silence, requests that were refused in the server's
    /// place, and ends of connections of which all were cut.
    pub fn met(&self) -> Met {
        lock(&self.shared.met).clone()
    }

    /// How many connections came so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Swallows every connection that is open now: nothing passes any more, nothing is closed. Later ones pass.
    pub fn swallow(&self) {
        lock(&self.shared.faults).swallowed = self.shared.accepted.load(Ordering::Relaxed);
    }

    /// Requests that begin with one of these texts are taken and never answered.
    pub fn block(&self, beginnings: &[&str]) {
        lock(&self.shared.faults).blocked = beginnings.iter().map(|&text| text.to_owned()).collect();
    }

    /// From now on so many out of a thousand pieces, either way, are delayed, cut in half, lost with their connection, lost
    /// without a word, or answered in the server's place: not available, read-only, full. `seed` says which. Zero ends it.
    pub fn trouble(&self, permille: u64, seed: u64) {
        self.shared.chance.store(seed, Ordering::Relaxed);
        lock(&self.shared.faults).permille = permille;
    }

    /// Replaces a text by another of the same length on the way to the client, wherever it lies in one read; `None` ends it.
    ///
    /// # Panics
    /// When the lengths differ: frames say how long they are.
    pub fn replace(&self, texts: Option<(&str, &str)>) {
        let bytes = texts.map(|(from, to)| {
            assert_eq!(from.len(), to.len(), "a replacement is as long as what it replaces");
            (from.as_bytes().to_vec(), to.as_bytes().to_vec())
        });
        lock(&self.shared.faults).replaced = bytes;
    }

    /// How many texts were replaced so far.
    pub fn replacements(&self) -> usize {
        self.shared.replacements.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.cut();
        _ = TcpStream::connect(self.address); // wakes the one who accepts
    }
}

impl Shared {
    fn carry(self: Arc<Self>, near: TcpStream) {
        let Ok(far) = TcpStream::connect(self.target) else { return };
        _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
        lock(&self.open).extend([&near, &far].into_iter().filter_map(|stream| stream.try_clone().ok()));
        let number = self.accepted.fetch_add(1, Ordering::Relaxed);
        let back = Arc::clone(&self);
        thread::spawn(move || back.pass(&far_too, &near_too, (number, false)));
        self.pass(&near, &far, (number, true));
    }

    /// One direction until its end; then both.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream, (number, is_request): (usize, bool)) {
        _ = from.set_read_timeout(Some(LOOK));
        let mut buffer = vec![0; 64 * 1024];
        while !self.ended.load(Ordering::Relaxed) {
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    continue;
                }
                Err(_) => break,
            };
            let faults = lock(&self.faults).clone();
            let starts = |text: &String| buffer[..read].starts_with(text.as_bytes());
            let blocked = is_request && faults.blocked.iter().any(starts); // connections are used again
            if number < faults.swallowed || blocked {
                self.hold(from, &mut buffer);
                break;
            }
            let begins = [&b"POST "[..], b"GET "].iter().any(|method| buffer[..read].starts_with(method));
            match self.fault(faults.permille, is_request && begins) {
                Fault::None => {}
                Fault::Delay(time) => thread::sleep(time),
                Fault::Half => {
                    _ = to.write_all(&buffer[..read / 2]); // it is cut in any case
                    break;
                }
                Fault::Cut => break,
                Fault::Swallow => {
                    self.hold(from, &mut buffer);
                    break;
                }
                Fault::Refused((_, said)) => {
                    _ = from.write_all(said.as_bytes());
                    // what is not read when a connection closes has it reset, and the answer with it
                    _ = from.shutdown(Shutdown::Write);
                    while matches!(from.read(&mut buffer), Ok(1..)) {}
                    break;
                }
            }
            if let Some((what, by)) = faults.replaced.filter(|_| !is_request) {
                self.replace_in(&mut buffer[..read], &what, &by);
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    /// Held open, unanswered, until it is cut or its owner gives up.
    fn hold(&self, mut from: &TcpStream, buffer: &mut [u8]) {
        while !self.ended.load(Ordering::Relaxed) && !matches!(from.read(buffer), Ok(0)) {
            thread::sleep(LOOK);
        }
    }

    fn fault(&self, permille: u64, is_beginning: bool) -> Fault {
        if permille == 0 {
            return Fault::None; // and nothing is drawn
        }
        let mut mixed = self.chance.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        if mixed % 1000 >= permille {
            return Fault::None;
        }
        let fault = match (mixed >> 32) % 5 {
            0 => Fault::Delay(Duration::from_millis((mixed >> 40) % 400)),
            1 => Fault::Half,
            2 if is_beginning => Fault::Refused(&REFUSALS[(mixed >> 40) as usize % REFUSALS.len()]),
            3 => Fault::Swallow,
            _ => Fault::Cut,
        };
        self.meets(match &fault {
            Fault::None => return fault,
            Fault::Delay(_) => "late",
            Fault::Half => "half",
            Fault::Cut => "cut",
            Fault::Swallow => "silent",
            Fault::Refused((name, _)) => name,
        });
        fault
    }

    fn meets(&self, kind: &'static str) {
        *lock(&self.met).entry(kind).or_default() += 1;
    }

    fn replace_in(&self, bytes: &mut [u8], what: &[u8], by: &[u8]) {
        let mut at = 0;
        while let Some(found) = bytes[at..].windows(what.len()).position(|window| window == what) {
            bytes[at + found..at + found + what.len()].copy_from_slice(by);
            self.replacements.fetch_add(1, Ordering::Relaxed);
            at += found + what.len();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
