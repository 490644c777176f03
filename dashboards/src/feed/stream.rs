//! One subscriber's stream: where it stands, what comes next, what it may see.
//!
//! A position is one offset a partition. Replicas read partitions in different orders, so a position taken on another replica
//! may lie ahead of the ring in one partition and behind in the next. While that is so the stream is *askew*: it walks the ring
//! from its start and passes over what lies below its position. As soon as everything read lies behind the position it is
//! not, and the ring's own cursors are its own.

use super::admission::may_use;
use super::bell::Transport;
use super::cursor::{self, Asked};
use super::event::Event;
use super::frame::{Close, Hello, Resync};
use super::hub::{Hub, Line, now_ms};
use super::log::Shape;
use super::pulse::Pulse;
use super::replay::Replay;
use super::ring::Ring;
use super::settings::FRAMES_AT_ONCE_MAX;
use crate::identity::{Principal, Role};
use crate::rights::{Relation, Sight, sight};
use std::sync::Arc;
use uuid::Uuid;

/// Entries that are looked at under one lock.
const EXAMINED_AT_ONCE_MAX: usize = 4_096;

/// An event on its way to a subscriber.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) event: Arc<Event>,
    pub(super) sight: Sight,
    /// The position behind it.
    pub(super) cursor: Arc<str>,
    /// The position that the subscriber was told before.
    pub(super) prev: Arc<str>,
}

/// How a stream began.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    /// It cannot be resumed, and why; else everything after the position that was asked for follows.
    pub(super) resync: Option<Resync>,
    /// Where it begins.
    pub(super) cursor: Arc<str>,
}

/// A resume that has not reached what there was when it began.
#[derive(Debug)]
struct Resuming {
    /// The head when it began.
    head: Vec<i64>,
    /// The last event sent below it.
    last: Option<Arc<str>>,
    /// Everything below it was sent.
    passed: bool,
}

/// One subscriber's place in the log.
pub(super) struct Stream {
    pub(super) line: Line,
    pub(super) session: Uuid,
    shape: Arc<Shape>,
    generation: u64,
    /// Place in the ring from which on nothing was looked at.
    place: u64,
    /// Everything below the end of the ring was looked at, and only a bell can say that there is more.
    looked: bool,
    askew: Option<Box<[i64]>>,
    replay: Option<Box<Replay>>,
    told: Arc<str>,
    /// The position of the last frame that the wire was given: behind what was told, while a write is blocked.
    handed: Arc<str>,
    resuming: Option<Box<Resuming>>,
    accepted_ms: i64,
}

/// What a look into the ring gave.
enum Pulled {
    Some(Vec<Sending>),
    /// Nothing yet, but there is more to look at.
    More,
    Nothing,
    /// Entries that were not looked at are gone from the ring.
    Behind,
}

impl Stream {
    /// Takes a place: hangs up a bell first, so that nothing is missed from here on.
    ///
    /// # Errors
    /// Why the connection must end.
    pub(super) async fn open(
        hub: &Arc<Hub>,
        who: Principal,
        transport: Transport,
        asked: Asked,
    ) -> Result<(Stream, Opening), Close> {
        may_use(who.role, transport.route())?;
        // in this order: a ring that opens ends the streams of the one before, and those who wait for it are none of them
        hub.until_open().await?;
        let line = hub.enter(who, transport)?;
        let (generation, shape, head, end) = {
            let ring = hub.ring();
            let (generation, ring) = ring.as_ref().ok_or(Close::LogUnavailable)?;
            (*generation, ring.shape().clone(), ring.head().0.to_vec(), ring.end())
        };
        let told = cursor::encode(&shape, &head);
        let mut stream = Stream {
            line,
            session: Uuid::now_v7(),
            generation,
            place: end,
            looked: true,
            askew: None,
            replay: None,
            handed: told.clone(),
            told,
            resuming: None,
            accepted_ms: now_ms(),
            shape,
        };
        let first = matches!(asked, Asked::Now | Asked::Earliest);
        let position = match asked {
            Asked::Now => {
                let cursor = stream.told.clone();
                stream.began(None, true);
                return Ok((stream, Opening { resync: None, cursor }));
            }
            Asked::Earliest => Ok(hub.bounds(&stream.shape).await?.iter().map(|bound| bound.low).collect()),
            Asked::After(cursor) if !cursor.is_of(&stream.shape) => Err(Resync::Foreign),
            Asked::After(cursor) => Ok(cursor.next),
        };
        let begun = match position {
            Ok(position) => stream.begin_behind(position, &head).await?,
            Err(why) => Err(why),
        };
        let resync = begun.err();
        stream.began(resync, first && resync.is_none());
        if resync.is_none() && !first && transport != Transport::Poll {
            stream.resuming = Some(Box::new(Resuming { head, last: None, passed: false }));
        }
        let cursor = stream.told.clone();
        stream.hand(&cursor);
        Ok((stream, Opening { resync, cursor }))
    }

    /// Stands behind a position, in the ring or with a replay from the log.
    async fn begin_behind(&mut self, position: Vec<i64>, head: &[i64]) -> Result<Result<(), Resync>, Close> {
        let hub = self.line.hub.clone();
        if position.iter().zip(head).any(|(at, head)| at > head) {
            // another replica may have read further than this one
            let bounds = hub.bounds(&self.shape).await?;
            if position.iter().zip(&bounds).any(|(at, bound)| *at > bound.high) {
                return Ok(Err(Resync::Ahead));
            }
        }
        self.told = cursor::encode(&self.shape, &position);
        if self.take_place(&position)? {
            return Ok(Ok(()));
        }
        match hub.replay(&self.shape, self.line.bell.subject(), position).await? {
            Ok(replay) => self.replay = Some(Box::new(replay)),
            Err(why) => return Ok(Err(why)),
        }
        Ok(Ok(()))
    }

    /// Stands in the ring behind a position, if all that follows it is there.
    fn take_place(&mut self, position: &[i64]) -> Result<bool, Close> {
        let ring = self.line.hub.ring();
        let ring = current(ring.as_ref(), self.generation)?;
        if !ring.covers(position) {
            return Ok(false);
        }
        self.place = ring.base();
        self.looked = false;
        self.askew = Some(position.into());
        Ok(true)
    }

    fn began(&self, resync: Option<Resync>, first: bool) {
        let hub = &self.line.hub;
        hub.metrics.resumed(resync, first);
        // each long poll is a stream of its own: none of them is a connection that was lost and came back
        if self.line.bell.transport() != Transport::Poll {
            hub.ledger.began(self.line.bell.subject(), self.session, self.accepted_ms, resync, first);
        }
    }

    /// Waits for what comes next, at most `events_max` and [`FRAMES_AT_ONCE_MAX`]. What it gives is written down as sent: handed to the
    /// connection, whose reader may be let go before it has taken it all. What was taken the acknowledgements say. A future that is dropped loses nothing.
    ///
    /// # Errors
    /// Why the connection must end.
    pub(super) async fn next(&mut self, events_max: usize) -> Result<Vec<Sending>, Close> {
        loop {
            if let Some(close) = self.line.bell.close() {
                return Err(close);
            }
            self.settle_resume();
            if self.replay.is_some() {
                let sending = self.replayed(events_max).await?;
                if !sending.is_empty() {
                    return Ok(self.sent(sending));
                }
                continue;
            }
            match self.pull(events_max)? {
                Pulled::Some(sending) => return Ok(self.sent(sending)),
                Pulled::More => tokio::task::yield_now().await,
                Pulled::Nothing => {
                    self.settle_resume(); // a resume that missed nothing is complete now
                    self.line.bell.woken().await;
                }
                Pulled::Behind => {
                    let position = cursor::offsets(&self.told);
                    self.askew = None;
                    // boxed: most streams never replay, and each would hold room for it
                    let hub = self.line.hub.clone();
                    let subject = self.line.bell.subject();
                    let replay = Box::pin(hub.replay(&self.shape, subject, position)).await?;
                    self.replay = Some(Box::new(replay.map_err(|_| Close::InsufficientState)?));
                }
            }
        }
    }

    /// Waits for the first events of a replay that is under way, as [`Stream::next`]; nothing once the ring goes on, or where
    /// there is no replay.
    ///
    /// # Errors
    /// Why the connection must end.
    pub(super) async fn next_replayed(&mut self, events_max: usize) -> Result<Vec<Sending>, Close> {
        while self.replay.is_some() {
            if let Some(close) = self.line.bell.close() {
                return Err(close);
            }
            let sending = self.replayed(events_max).await?;
            if !sending.is_empty() {
                return Ok(self.sent(sending));
            }
        }
        Ok(Vec::new())
    }

    fn pull(&mut self, events_max: usize) -> Result<Pulled, Close> {
        let hub = self.line.hub.clone();
        let ring = hub.ring();
        let ring = current(ring.as_ref(), self.generation)?;
        let bell = self.line.bell.clone();
        if self.place < ring.base() {
            // where all was looked at before, a bell that rang for no more than is still here says that nothing is gone
            let (rung, _) = bell.rung();
            let all_here = bell.owner().is_some_and(|o| ring.count_from(self.place, o) >= rung as usize);
            if !(self.looked && all_here) {
                return Ok(Pulled::Behind);
            }
        }
        self.looked = false;
        let cases = hub.cases();
        let (mut sending, mut examined) = (Vec::new(), 0);
        for (place, entry) in ring.from(self.place, bell.owner()) {
            if sending.len() == events_max.min(FRAMES_AT_ONCE_MAX) || examined == EXAMINED_AT_ONCE_MAX {
                return Ok(if sending.is_empty() { Pulled::More } else { Pulled::Some(sending) });
            }
            examined += 1;
            self.place = place + 1;
            let event = &entry.event;
            let below = |askew: &[i64]| askew.get(event.place).is_some_and(|from| event.offset < *from);
            if self.askew.as_deref().is_some_and(below) {
                continue;
            }
            let sight = seen(&bell.role(), bell.subject(), event, &cases);
            if sight == Sight::Hidden {
                continue;
            }
            let cursor = match &self.askew {
                None => entry.cursor.clone(),
                Some(askew) => cursor::encode(&self.shape, &later(askew, &cursor::offsets(&entry.cursor))),
            };
            let prev = std::mem::replace(&mut self.told, cursor.clone());
            sending.push(Sending { event: event.clone(), sight, cursor, prev });
        }
        (self.place, self.looked) = (ring.end(), true);
        bell.silence();
        let reached = |askew: &[i64]| ring.head().0.iter().zip(askew).all(|(head, at)| head >= at);
        if self.askew.as_deref().is_some_and(reached) {
            self.askew = None;
        }
        if let Some(resuming) = &mut self.resuming {
            resuming.passed = true;
        }
        Ok(if sending.is_empty() { Pulled::Nothing } else { Pulled::Some(sending) })
    }

    /// What the replay gives next; where the ring goes on from there, the stream changes over to it.
    async fn replayed(&mut self, events_max: usize) -> Result<Vec<Sending>, Close> {
        let bell = self.line.bell.clone();
        let Some(replay) = &mut self.replay else { return Ok(Vec::new()) };
        if replay.is_empty() {
            tokio::select! {
                () = bell.woken() => return Ok(Vec::new()), // perhaps to be closed
                filled = replay.fill() => filled?,
            }
        }
        let cases = self.line.hub.cases();
        let mut sending = Vec::new();
        while let Some((event, position)) = replay.take() {
            let sight = seen(&bell.role(), bell.subject(), &event, &cases);
            if sight == Sight::Hidden {
                continue;
            }
            let cursor = cursor::encode(&self.shape, position);
            let prev = std::mem::replace(&mut self.told, cursor.clone());
            sending.push(Sending { event, sight, cursor, prev });
            if sending.len() == events_max.min(FRAMES_AT_ONCE_MAX) {
                return Ok(sending);
            }
        }
        drop(cases);
        let position = replay.position().to_vec();
        if self.take_place(&position)? {
            self.replay = None;
        }
        Ok(sending)
    }

    /// Notes what is about to be sent: for the ledger, and for the resume.
    fn sent(&mut self, sending: Vec<Sending>) -> Vec<Sending> {
        let hub = &self.line.hub;
        if let Some(resuming) = &mut self.resuming {
            let below =
                |one: &&Sending| resuming.head.get(one.event.place).is_some_and(|at| one.event.offset < *at);
            if let Some(last) = sending.iter().rfind(below) {
                resuming.last = Some(last.cursor.clone());
            }
        }
        let bell = &self.line.bell;
        hub.ledger.sent(bell.subject(), bell.role(), self.session, &self.shape, &sending);
        let ages = sending.iter().map(|one| now_ms() - one.event.appended_at_ms);
        hub.metrics.sent(bell.transport(), sending.len(), self.replay.is_none().then_some(ages));
        sending
    }

    /// The cursor of a heartbeat: it passes over what was filtered. Called when nothing waits to be sent.
    pub(super) fn heartbeat(&mut self) -> Arc<str> {
        if let Some(replay) = &self.replay {
            if replay.is_empty() {
                self.told = cursor::encode(&self.shape, replay.position());
            }
            return self.told.clone();
        }
        let hub = self.line.hub.clone();
        let ring = hub.ring();
        let Ok(ring) = current(ring.as_ref(), self.generation) else { return self.told.clone() };
        let bell = &self.line.bell;
        let is_silent = bell.owner().is_some() && self.looked && bell.rung() == (0, 0);
        let nothing_waits = is_silent || self.place == ring.end();
        if nothing_waits {
            self.place = ring.end();
            self.told = match &self.askew {
                None => ring.head().1.clone(),
                Some(askew) => cursor::encode(&self.shape, &later(askew, ring.head().0)),
            };
        }
        self.told.clone()
    }

    /// Writes down that the resume is complete, once everything missed was sent and shown.
    fn settle_resume(&mut self) {
        let Some(resuming) = &self.resuming else { return };
        let bell = &self.line.bell;
        let shown = |last: &Arc<str>| bell.has_shown(&cursor::offsets(last));
        if resuming.passed && resuming.last.as_ref().is_none_or(shown) {
            self.line.hub.ledger.recovered(bell.subject(), self.session, self.accepted_ms);
            self.resuming = None;
        }
    }

    /// The first frame.
    pub(super) fn hello(&self, opening: &Opening, pulse: &Pulse, max_age_s: u64) -> String {
        let hello = Hello {
            session: self.session,
            cursor: &opening.cursor,
            recovered: opening.resync.is_none(),
            heartbeat_ms: pulse.heartbeat_ms(),
            max_age_s,
            now_micros: now_ms() * 1000,
        };
        hello.text()
    }

    /// The position last told.
    pub(super) fn told(&self) -> &Arc<str> {
        &self.told
    }

    /// The frame that bears this position is on the wire, or will be before any other.
    pub(super) fn hand(&mut self, cursor: &Arc<str>) {
        self.handed = cursor.clone();
    }

    /// The position last handed over: whoever goes on there has missed nothing, also where a blocked write was given up.
    pub(super) fn handed(&self) -> &Arc<str> {
        &self.handed
    }
}

/// How much of an event somebody sees now: live or replayed, by the one table.
pub(super) fn seen(role: &Role, subject: &str, event: &Event, cases: &super::cases::Cases) -> Sight {
    let in_work = *role == Role::Moderator && cases.concern(subject, event);
    sight(*role, event.class, Relation::of(subject, event.ids(), in_work))
}

fn later(a: &[i64], b: &[i64]) -> Vec<i64> {
    a.iter().zip(b).map(|(a, b)| *a.max(b)).collect()
}

fn current(ring: Option<&(u64, Ring)>, generation: u64) -> Result<&Ring, Close> {
    let (now, ring) = ring.ok_or(Close::LogUnavailable)?;
    if *now == generation { Ok(ring) } else { Err(Close::InsufficientState) }
}
