//! The demo's subscribers: a moderator and some of the platform's customers, each over a WebSocket of its own to the demo's
//! service, as programs of other people would be. They verify what comes, acknowledge it, lose their line now and then and
//! resume. So the delivery ledger is about something, and `tally audit realtime` has what to judge.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use crate::cli::feed_client::{End, Frame, Line, Opening, Signatures, Transport};
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tally_dashboards::identity::{Minter, Role, TokenRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Longest wait for the service to greet all of them.
const GREETED_MAX: Duration = Duration::from_secs(60);
/// Longest wait, at the end, for the log to be quiet.
const QUIET_MAX: Duration = Duration::from_secs(30);
/// A line without a frame for so long is dead: one and a half heartbeats.
const SILENCE: Duration = Duration::from_secs(3);
/// What came is acknowledged after so long, with all that came meanwhile.
const ACKNOWLEDGE: Duration = Duration::from_millis(100);
/// A line is lost after so long; the next subscriber's a little later.
const LINE_MIN: Duration = Duration::from_secs(6);
const LINE_APART: Duration = Duration::from_millis(50);
/// How long one is away, and the rest after the service has ended a line.
const AWAY: Duration = Duration::from_millis(500);
/// Seconds a token lives.
const TOKEN_S: i64 = 900;

/// What a subscriber saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// How many they are.
    subscribers: u64,
    /// Events that were verified, repeats after a resume among them.
    events: u64,
    /// Acknowledgements sent.
    acknowledgements: u64,
    /// Lines that were lost and resumed.
    resumes: u64,
    /// Resumes that were impossible.
    resyncs: u64,
    /// Events whose `prev` was not the frame before.
    gaps: u64,
    /// Events that no published key had signed.
    unverified: u64,
}

impl Seen {
    /// Says it.
    pub(super) fn print(&self) {
        let Seen { subscribers, events, acknowledgements, resumes, resyncs, gaps, unverified } = self;
        println!(
            "the feed's {subscribers} subscribers verified {events} events and acknowledged them in {acknowledgements} \
             words; {resumes} lost lines were resumed, {resyncs} could not be; {gaps} gaps, {unverified} events not signed"
        );
    }

    fn add(&mut self, other: Seen) {
        self.subscribers += other.subscribers;
        self.events += other.events;
        self.acknowledgements += other.acknowledgements;
        self.resumes += other.resumes;
        self.resyncs += other.resyncs;
        self.gaps += other.gaps;
        self.unverified += other.unverified;
    }
}

/// All of them, connected.
pub(super) struct Subscribers {
    running: JoinSet<anyhow::Result<Seen>>,
    finishing: CancellationToken,
}

impl Subscribers {
    /// Lets them in and waits until each has been greeted: everything published after that is theirs.
    ///
    /// # Errors
    /// Where the service does not let one in, or greets it too late.
    pub(super) async fn start(
        service: SocketAddr,
        minter: &Minter,
        subjects: &[(Role, String)],
    ) -> anyhow::Result<Subscribers> {
        let signatures = Arc::new(Signatures::of(&format!("http://{service}")));
        signatures.refresh().await.context("the keys of the feed")?;
        let (greeted, mut greetings) = mpsc::channel(subjects.len().max(1));
        let mut subscribers = Subscribers { running: JoinSet::new(), finishing: CancellationToken::new() };
        for (place, (role, subject)) in subjects.iter().enumerate() {
            let one = Subscriber {
                request: TokenRequest {
                    subject: subject.clone(),
                    role: *role,
                    scope: String::new(),
                    lifetime_s: TOKEN_S,
                },
                minter: minter.clone(),
                service,
                signatures: Arc::clone(&signatures),
                line_age: LINE_MIN + LINE_APART * u32::try_from(place)?,
                greeted: Some(greeted.clone()),
                finishing: subscribers.finishing.clone(),
            };
            subscribers.running.spawn(one.run());
        }
        drop(greeted);
        let all = async {
            for _ in subjects {
                greetings.recv().await?;
            }
            Some(())
        };
        match timeout(GREETED_MAX, all).await {
            Ok(Some(())) => Ok(subscribers),
            Ok(None) => {
                Err(subscribers.finish().await.err().context("a subscriber ended before it was greeted")?)
            }
            Err(_) => bail!("the feed did not greet its subscribers within {} s", GREETED_MAX.as_secs()),
        }
    }

    /// Lets each hear all that there is, acknowledge it and say goodbye. To be called once nothing is published any more,
    /// and before the service is stopped.
    ///
    /// # Errors
    /// What ended one of them early.
    pub(super) async fn finish(mut self) -> anyhow::Result<Seen> {
        self.finishing.cancel();
        let mut seen = Seen::default();
        while let Some(ended) = self.running.join_next().await {
            seen.add(ended??);
        }
        Ok(seen)
    }
}

/// One of them.
struct Subscriber {
    request: TokenRequest,
    minter: Minter,
    service: SocketAddr,
    signatures: Arc<Signatures>,
    /// After which it loses its line.
    line_age: Duration,
    /// Told once, at its first greeting.
    greeted: Option<mpsc::Sender<()>>,
    finishing: CancellationToken,
}

/// Where it stands.
struct Place {
    cursor: String,
    last_event: String,
    /// The key for which the published ones were last asked for once more.
    asked_for: String,
    /// The cursor of the last heartbeat, where nothing came since.
    beat: Option<String>,
    greeted: bool,
    pending: bool,
    seen: Seen,
}

/// What a frame asks for.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Go,
    /// The log has been quiet since the heartbeat before.
    Quiet,
    /// Resume: with a newer token, or after the service's goodbye.
    Resume,
    /// The position means nothing to the service.
    Resync,
    /// The keys have to be fetched again.
    Keys,
}

/// How a line ended.
enum Ended {
    Finished,
    Resume,
    Resync,
    Keys,
}

impl Subscriber {
    async fn run(mut self) -> anyhow::Result<Seen> {
        let mut place = Place::new();
        let mut quiet_until = None;
        loop {
            match self.line(&mut place, &mut quiet_until).await? {
                Ended::Finished => return Ok(place.seen),
                Ended::Resume => {}
                Ended::Keys => drop(self.signatures.refresh().await.context("the keys of the feed")?),
                Ended::Resync => {
                    place.seen.resyncs += 1;
                    place.cursor = self.snapshot_cursor().await.context("the snapshot after a resync")?;
                }
            }
            sleep(AWAY).await;
            if quiet_until.is_some_and(|until| Instant::now() > until) {
                bail!("the feed was away when the demo ended");
            }
        }
    }

    /// One connection, from its greeting to its end.
    async fn line(&mut self, place: &mut Place, quiet_until: &mut Option<Instant>) -> anyhow::Result<Ended> {
        let token = self.token()?;
        let cursor = place.cursor.clone();
        let opening = Opening {
            transport: Transport::Ws,
            service: self.service,
            token: &token,
            cursor: &cursor,
            receive_bytes: None,
            from: 1,
        };
        let mut line = match Line::open(opening).await {
            Ok(line) => line,
            Err(end) => return self.ended(end),
        };
        (place.greeted, place.pending, place.beat) = (false, false, None);
        let lost_at = Instant::now() + self.line_age;
        let (mut heard_at, mut acknowledge_at) = (Instant::now(), Instant::now());
        loop {
            let finishing = quiet_until.is_some();
            tokio::select! {
                heard = line.next(|frame| place.take(frame, &self.signatures)) => {
                    heard_at = Instant::now();
                    match heard {
                        Ok(Then::Go) => {}
                        Ok(Then::Quiet) if !finishing => {}
                        Ok(Then::Quiet) => {
                            line.acknowledge(&place.cursor).await;
                            line.close().await;
                            return Ok(Ended::Finished);
                        }
                        Ok(Then::Resume) => return Ok(Ended::Resume),
                        Ok(Then::Resync) => return Ok(Ended::Resync),
                        Ok(Then::Keys) => return Ok(Ended::Keys),
                        Err(end) => return self.ended(end),
                    }
                    if place.greeted && let Some(greeted) = self.greeted.take() {
                        let _ = greeted.send(()).await; // nobody waits any more
                    }
                }
                () = sleep_until(acknowledge_at.max(heard_at)), if place.pending => {
                    line.acknowledge(&place.cursor).await;
                    place.acknowledged();
                    acknowledge_at = Instant::now() + ACKNOWLEDGE;
                }
                () = sleep_until(lost_at), if !finishing && place.greeted && !place.pending => return Ok(Ended::Resume),
                () = sleep_until(heard_at + SILENCE) => return Ok(Ended::Resume),
                () = sleep_until(quiet_until.unwrap_or(lost_at)), if finishing => {
                    bail!("the feed was never quiet after the last event");
                }
                () = self.finishing.cancelled(), if !finishing => {
                    *quiet_until = Some(Instant::now() + QUIET_MAX);
                    place.beat = None;
                }
            }
        }
    }

    /// What to do after the service has ended a line.
    fn ended(&self, end: End) -> anyhow::Result<Ended> {
        match end {
            End::Closed(code @ 4000..=4099) => {
                bail!("the feed turned {} away with {code}", self.request.subject)
            }
            End::Broken => bail!("the feed sent {} what is no frame", self.request.subject),
            End::Closed(_) | End::Lost => Ok(Ended::Resume),
        }
    }

    fn token(&self) -> anyhow::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
        let (token, _) = self.minter.mint(&self.request, i64::try_from(now.as_secs())?)?;
        Ok(token)
    }

    async fn snapshot_cursor(&self) -> anyhow::Result<String> {
        let url = format!("http://{}/feed/snapshot", self.service);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let answer = client.get(url).bearer_auth(self.token()?).send().await?.error_for_status()?;
        let snapshot: serde_json::Value = answer.json().await?;
        Ok(snapshot["cursor"].as_str().context("a snapshot without a cursor")?.to_owned())
    }
}

impl Place {
    fn new() -> Place {
        Place {
            cursor: "now".to_owned(),
            last_event: String::new(),
            asked_for: String::new(),
            beat: None,
            greeted: false,
            pending: false,
            seen: Seen { subscribers: 1, ..Seen::default() },
        }
    }

    fn take(&mut self, frame: &Frame<'_>, signatures: &Signatures) -> Then {
        match &*frame.op {
            "hello" if frame.recovered == Some(false) => Then::Go, // a resync follows
            "hello" => {
                self.seen.resumes += u64::from(self.cursor != "now");
                (*frame.cursor).clone_into(&mut self.cursor);
                self.greeted = true;
                Then::Go
            }
            "event" => self.event(frame, signatures),
            "heartbeat" => {
                let is_quiet = self.beat.as_deref() == Some(&*frame.cursor);
                (*frame.cursor).clone_into(&mut self.cursor);
                self.beat = Some(self.cursor.clone());
                if is_quiet { Then::Quiet } else { Then::Go }
            }
            "resync" => Then::Resync,
            "goaway" | "reauth" => Then::Resume,
            _ => Then::Go,
        }
    }

    fn event(&mut self, frame: &Frame<'_>, signatures: &Signatures) -> Then {
        if frame.prev != self.cursor && frame.prev != self.last_event {
            self.seen.gaps += 1;
            return Then::Resume;
        }
        if !signatures.knows(&frame.kid) && self.asked_for != *frame.kid {
            (*frame.kid).clone_into(&mut self.asked_for);
            return Then::Keys; // and then the event once more: the position has not moved
        }
        // what does not verify is passed over, and counted: a stream must not stand still for it
        if signatures.verify(frame) {
            self.seen.events += 1;
        } else {
            self.seen.unverified += 1;
        }
        (*frame.cursor).clone_into(&mut self.cursor);
        (*frame.cursor).clone_into(&mut self.last_event);
        (self.beat, self.pending) = (None, true);
        Then::Go
    }

    fn acknowledged(&mut self) {
        self.pending = false;
        self.seen.acknowledgements += 1;
    }
}
