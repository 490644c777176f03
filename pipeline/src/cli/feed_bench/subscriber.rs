//! One subscriber: connects, counts, notices a silent line, resumes at its cursor, until the run is over.

use super::account::{Audience, Entry, Latencies, Page, Publication};
use super::faults::Fault;
use crate::cli::feed_client::{End, Frame, Line, Opening, Signatures, Transport, id_of};
use anyhow::Context;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tally_dashboards::identity::{Minter, Role, TokenRequest};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The line is dead after so many heartbeats' time without a frame.
const DEAD_HEARTBEATS_PERCENT: u64 = 150;
/// The pace that is asked for, milliseconds.
const HEARTBEAT_MS: u64 = 2_000;
/// Wait before another try, milliseconds: doubled from the least on, with jitter; the higher bound where the service asked to back off.
const WAIT_MS_MIN: u64 = 250;
const WAIT_MS_MAX: u64 = 2_000;
const BACK_OFF_MS_MAX: u64 = 10_000;
/// Seconds a token lives.
const TOKEN_S: i64 = 900;
/// A revoked subject may receive for so long.
pub(super) const REVOKED_MAX: Duration = Duration::from_secs(2);
/// How long a stalled reader does not read: until the system's buffers are full at both ends, and then longer than the
/// service lets it.
pub(super) const STALL: Duration = Duration::from_secs(25);
/// Receive buffer of sockets while readers are to be stalled, bytes: the system's would hide a stall for minutes.
const STALLING_RECEIVE_BYTES: u32 = 16 * 1024;
/// Connections from one loopback address: an address has some 28,000 ports.
const CONNECTIONS_PER_ADDRESS: usize = 20_000;
/// One event in so many has its signature checked, and the first of each connection and of each key.
const CHECKED_EVERY: u64 = 64;
/// One acknowledgement for so many events.
const ACKNOWLEDGED_EVERY: u64 = 256;

/// What all subscribers share.
pub(super) struct Shared {
    pub(super) publication: Publication,
    pub(super) audience: Audience,
    pub(super) minter: Minter,
    pub(super) signatures: Signatures,
    /// Where they connect: the service, or the proxy before it.
    pub(super) address: SocketAddr,
    pub(super) stalls: bool,
    /// Producer to subscriber, of events published while the subscriber was connected and had caught up.
    pub(super) pushes: Latencies,
    pub(super) counts: Counts,
    /// Ends of connections by close code; 0: without a word.
    pub(super) ends: Mutex<BTreeMap<u16, u64>>,
    /// From a fault to caught up.
    pub(super) recoveries: BTreeMap<Fault, Latencies>,
}

/// What the subscribers counted together.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) deliveries: AtomicU64,
    pub(super) repeats: AtomicU64,
    /// Events that were another's, or of no subscriber's.
    pub(super) foreign: AtomicU64,
    /// Events whose `prev` was not the frame before.
    pub(super) gaps: AtomicU64,
    pub(super) resyncs: AtomicU64,
    pub(super) silences: AtomicU64,
    pub(super) signatures_checked: AtomicU64,
    pub(super) signatures_wrong: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) broken: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One of them.
pub(super) struct Subscriber {
    pub(super) index: usize,
    pub(super) transport: Transport,
    pub(super) subject: String,
    /// Port of its connection; 0 while there is none that has greeted.
    pub(super) port: AtomicU16,
    page: Mutex<Page>,
    /// The fault it has not recovered from, and when that struck, nanoseconds since the run began.
    struck: Mutex<Option<(Fault, u64)>>,
    pub(super) stall: Notify,
    /// When its subject was revoked; 0 if it was not.
    pub(super) revoked_at_ns: AtomicU64,
    /// Events that came later than a revocation allows.
    pub(super) late: AtomicU64,
    /// It was told not to come again, by this code.
    pub(super) stopped: AtomicU16,
    pub(super) greeted: AtomicBool,
}

/// A connection's state.
struct Connected {
    cursor: String,
    last_event: String,
    hello_ns: u64,
    /// Events published before were not pushed: they waited for a connection, for a replay, or for a stalled reader.
    live_from_ns: u64,
    /// What had been published when it greeted; once all of that is here, it has caught up.
    head: Option<u64>,
    checked: bool,
    events: u64,
    silence_ms: u64,
    after_ms: u64,
}

/// What a frame asks for.
enum Then {
    Go,
    Acknowledge,
    Leave(End),
}

impl Subscriber {
    pub(super) fn new(index: usize, transport: Transport, subject: String) -> Subscriber {
        Subscriber {
            index,
            transport,
            subject,
            port: AtomicU16::new(0),
            page: Mutex::new(Page::new(index)),
            struck: Mutex::default(),
            stall: Notify::new(),
            revoked_at_ns: AtomicU64::new(0),
            late: AtomicU64::new(0),
            stopped: AtomicU16::new(0),
            greeted: AtomicBool::new(false),
        }
    }

    /// Its page of the account.
    pub(super) fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has recovered from every fault so far.
    pub(super) fn is_well(&self) -> bool {
        self.struck.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Remembers a fault, so that the time until it is caught up is measured.
    pub(super) fn strike(&self, fault: Fault, at_ns: u64) {
        *self.struck.lock().unwrap_or_else(PoisonError::into_inner) = Some((fault, at_ns));
    }

    /// A token for it.
    pub(super) fn token(&self, shared: &Shared) -> anyhow::Result<String> {
        let role = match shared.audience {
            Audience::All => Role::Admin,
            Audience::Own => Role::Buyer,
        };
        let request =
            TokenRequest { subject: self.subject.clone(), role, scope: String::new(), lifetime_s: TOKEN_S };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
        let (token, _) = shared.minter.mint(&request, i64::try_from(now.as_secs())?)?;
        Ok(token)
    }

    /// What a connection of it is opened with.
    pub(super) fn opening<'a>(&self, shared: &Shared, token: &'a str, cursor: &'a str) -> Opening<'a> {
        let from = u8::try_from(1 + self.index / CONNECTIONS_PER_ADDRESS).unwrap_or(u8::MAX);
        let receive_bytes = shared.stalls.then_some(STALLING_RECEIVE_BYTES);
        Opening { transport: self.transport, service: shared.address, token, cursor, receive_bytes, from }
    }

    /// Runs until `stop`, or until it is told not to come again.
    pub(super) async fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut cursor = "now".to_owned();
        let mut failures = 0u32;
        while !stop.is_cancelled() {
            let token = self.token(&shared)?;
            let mut state = Connected::at(&cursor);
            let end = tokio::select! {
                end = self.connection(&shared, &token, &mut state) => end,
                () = stop.cancelled() => break,
            };
            self.port.store(0, Ordering::Relaxed);
            if state.hello_ns != 0 {
                (cursor, failures) = (state.cursor, 0);
            }
            let code = match end {
                End::Closed(code) => code,
                End::Broken => {
                    count(&shared.counts.broken);
                    0
                }
                End::Lost => 0,
            };
            *shared.ends.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
            if matches!(code, 4000..=4099) {
                self.stopped.store(code, Ordering::Relaxed);
                break;
            }
            let most = if matches!(code, 4100..=4199) { BACK_OFF_MS_MAX } else { WAIT_MS_MAX };
            let base = (WAIT_MS_MIN << failures.min(8)).min(most / 2);
            let jitter = shared.publication.now_ns() % base.max(1); // the clock's last digits are chance enough
            failures += 1;
            let wait = Duration::from_millis((base + jitter).max(state.after_ms));
            tokio::select! { () = tokio::time::sleep(wait) => {}, () = stop.cancelled() => break }
        }
        Ok(())
    }

    async fn connection(&self, shared: &Shared, token: &str, state: &mut Connected) -> End {
        let cursor = state.cursor.clone();
        let mut line = match Line::open(self.opening(shared, token, &cursor)).await {
            Ok(line) => line,
            Err(end) => return end,
        };
        count(&shared.counts.connects);
        loop {
            let silence = Duration::from_millis(state.silence_ms);
            let port = line.port();
            let heard = tokio::select! {
                heard = tokio::time::timeout(silence, line.next(|frame| self.take(shared, state, frame, port))) => heard,
                () = self.stall.notified() => {
                    tokio::time::sleep(STALL).await;
                    state.live_from_ns = shared.publication.now_ns();
                    self.strike(Fault::Stall, state.live_from_ns);
                    state.head = Some(shared.publication.published());
                    continue;
                }
            };
            match heard {
                Ok(Ok(Then::Go)) => {}
                Ok(Ok(Then::Acknowledge)) => line.acknowledge(&state.cursor).await,
                Ok(Ok(Then::Leave(end)) | Err(end)) => return end,
                Err(_) => {
                    count(&shared.counts.silences);
                    return End::Lost;
                }
            }
        }
    }

    fn take(&self, shared: &Shared, state: &mut Connected, frame: &Frame<'_>, port: u16) -> Then {
        match &*frame.op {
            "hello" => {
                (*frame.cursor).clone_into(&mut state.cursor);
                state.hello_ns = shared.publication.now_ns();
                state.live_from_ns = state.hello_ns;
                state.head = Some(shared.publication.published());
                state.silence_ms = frame.heartbeat_ms.unwrap_or(HEARTBEAT_MS) * DEAD_HEARTBEATS_PERCENT / 100;
                self.greeted.store(true, Ordering::Relaxed);
                self.port.store(port, Ordering::Relaxed);
                if frame.recovered == Some(false) {
                    state.hello_ns = 0; // a resync follows; the old cursor stays ours
                }
            }
            "event" => return self.event(shared, state, frame),
            "heartbeat" => (*frame.cursor).clone_into(&mut state.cursor),
            "resync" => {
                count(&shared.counts.resyncs);
                return Then::Leave(End::Closed(4203));
            }
            "goaway" => {
                state.after_ms = frame.after_ms.unwrap_or(0);
                return Then::Leave(End::Closed(frame.code.unwrap_or(0)));
            }
            "reauth" => return Then::Leave(End::Closed(4201)), // resumes with a new token
            _ => {}
        }
        self.look_caught_up(shared, state);
        Then::Go
    }

    fn event(&self, shared: &Shared, state: &mut Connected, frame: &Frame<'_>) -> Then {
        let now = shared.publication.now_ns();
        if frame.prev != state.cursor && frame.prev != state.last_event {
            count(&shared.counts.gaps);
            return Then::Leave(End::Closed(4202));
        }
        let revoked_at = self.revoked_at_ns.load(Ordering::Relaxed);
        if revoked_at != 0 && now > revoked_at + REVOKED_MAX.as_nanos() as u64 {
            count(&self.late);
        }
        if !state.checked
            || state.events.is_multiple_of(CHECKED_EVERY)
            || !shared.signatures.knows(&frame.kid)
        {
            state.checked = true;
            count(&shared.counts.signatures_checked);
            if !shared.signatures.verify(frame) {
                count(&shared.counts.signatures_wrong);
            }
        }
        let number = id_of(&frame.payload).and_then(|id| shared.publication.number(id));
        let entry = number.map_or(Entry::Foreign, |number| self.page().enter(&shared.publication, number));
        match (entry, number) {
            (Entry::First, Some(number)) => {
                count(&shared.counts.deliveries);
                let sent = shared.publication.sent_at_ns(number);
                if state.head.is_none() && sent >= state.live_from_ns {
                    shared.pushes.record(self.index, now.saturating_sub(sent));
                }
            }
            (Entry::Repeat, _) => count(&shared.counts.repeats),
            _ => count(&shared.counts.foreign),
        }
        (*frame.cursor).clone_into(&mut state.cursor);
        (*frame.cursor).clone_into(&mut state.last_event);
        state.events += 1;
        self.look_caught_up(shared, state);
        if state.events.is_multiple_of(ACKNOWLEDGED_EVERY) { Then::Acknowledge } else { Then::Go }
    }

    /// Measures the time since its fault once all that was published before it was back is here.
    fn look_caught_up(&self, shared: &Shared, state: &mut Connected) {
        let Some(head) = state.head else { return };
        if !self.page().is_whole(&shared.publication, head) {
            return;
        }
        state.head = None;
        state.live_from_ns = shared.publication.now_ns();
        let mut struck = self.struck.lock().unwrap_or_else(PoisonError::into_inner);
        // a line that is swallowed right after its greeting has not recovered by having greeted
        if let Some((fault, at)) = *struck
            && (state.hello_ns >= at || fault == Fault::Stall)
        {
            *struck = None;
            if let Some(recovery) = shared.recoveries.get(&fault) {
                recovery.record(self.index, shared.publication.now_ns().saturating_sub(at));
            }
        }
    }
}

impl Connected {
    fn at(cursor: &str) -> Connected {
        Connected {
            cursor: cursor.to_owned(),
            last_event: String::new(),
            hello_ns: 0,
            live_from_ns: 0,
            head: None,
            checked: false,
            events: 0,
            silence_ms: HEARTBEAT_MS * DEAD_HEARTBEATS_PERCENT / 100,
            after_ms: 0,
        }
    }
}
