//! Bells: how those who wait learn that something concerns them. A bell counts; it holds no event.

use super::event::Event;
use super::frame::Close;
use crate::identity::{Principal, Role};
use crate::rights::Route;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// How somebody is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    WebSocket,
    Sse,
    Poll,
}

impl Transport {
    /// Each of them.
    pub(super) const ALL: [Transport; 3] = [Transport::WebSocket, Transport::Sse, Transport::Poll];

    /// The route by which one is connected so.
    pub(super) const fn route(self) -> Route {
        match self {
            Transport::WebSocket => Route::FeedWs,
            Transport::Sse => Route::FeedSse,
            Transport::Poll => Route::FeedEvents,
        }
    }

    /// As it stands in metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Transport::WebSocket => "ws",
            Transport::Sse => "sse",
            Transport::Poll => "poll",
        }
    }
}

/// One connection's bell.
#[derive(Debug)]
pub(super) struct Bell {
    subject: Arc<str>,
    role: Role,
    transport: Transport,
    /// Another token of the same subject may take the first one's place.
    principal: Mutex<Principal>,
    woken: Notify,
    frames: AtomicU32,
    bytes: AtomicU32,
    close: AtomicU16,
    /// The furthest position that was acknowledged.
    shown: Mutex<Option<Box<[i64]>>>,
}

impl Bell {
    pub(super) fn new(who: Principal, transport: Transport) -> Bell {
        Bell {
            subject: who.subject.as_str().into(),
            role: who.role,
            transport,
            principal: Mutex::new(who),
            woken: Notify::new(),
            frames: AtomicU32::new(0),
            bytes: AtomicU32::new(0),
            close: AtomicU16::new(0),
            shown: Mutex::default(),
        }
    }

    pub(super) fn subject(&self) -> &Arc<str> {
        &self.subject
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    pub(super) fn principal(&self) -> Principal {
        self.principal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another token of the same subject and role in the place of the first one; says no to any other.
    pub(super) fn renew(&self, who: Principal) -> bool {
        let same = *who.subject == *self.subject && who.role == self.role;
        if same {
            *self.principal.lock().unwrap_or_else(PoisonError::into_inner) = who;
        }
        same
    }

    /// The events of one owner concern it; those who see every owner's are concerned by all.
    pub(super) fn owner(&self) -> Option<&str> {
        match self.role {
            Role::Buyer | Role::Creator => Some(&self.subject),
            Role::Moderator | Role::Admin | Role::Service => None,
        }
    }

    /// Waits until it is rung or closed. What was rung before the call is not missed.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Why the connection must end, if it must.
    pub(super) fn close(&self) -> Option<Close> {
        let code = self.close.load(Ordering::Acquire);
        Close::ALL.into_iter().find(|close| close.code() == code)
    }

    /// Frames and bytes that it was rung for since it was last silenced; at least, where some are filtered.
    pub(super) fn rung(&self) -> (u32, u32) {
        (self.frames.load(Ordering::Acquire), self.bytes.load(Ordering::Acquire))
    }

    /// Whether everything up to a position was acknowledged.
    pub(super) fn has_shown(&self, position: &[i64]) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.as_ref().is_some_and(|shown| shown.iter().zip(position).all(|(shown, at)| shown >= at))
    }

    fn show(&self, position: &[i64]) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match shown.as_mut().filter(|shown| shown.len() == position.len()) {
            Some(shown) => shown.iter_mut().zip(position).for_each(|(shown, at)| *shown = (*shown).max(*at)),
            None => *shown = Some(position.into()),
        }
        drop(shown);
        self.woken.notify_one();
    }

    /// Everything that it was rung for was looked at. Called under the ring's lock.
    pub(super) fn silence(&self) {
        self.frames.store(0, Ordering::Release);
        self.bytes.store(0, Ordering::Release);
    }

    fn ring(&self, frames: u32, bytes: u32) {
        self.frames.fetch_add(frames, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.woken.notify_one();
    }

    fn end(&self, why: Close) {
        // the first reason stays
        let _ = self.close.compare_exchange(0, why.code(), Ordering::AcqRel, Ordering::Acquire);
        self.woken.notify_one();
    }
}

/// All bells: by owner, and of those who are concerned by everything.
#[derive(Debug, Default)]
pub(super) struct Bells {
    by_owner: HashMap<Arc<str>, Vec<Arc<Bell>>>,
    watchers: HashMap<Arc<str>, Vec<Arc<Bell>>>,
}

impl Bells {
    fn home(&mut self, bell: &Bell) -> &mut HashMap<Arc<str>, Vec<Arc<Bell>>> {
        if bell.owner().is_some() { &mut self.by_owner } else { &mut self.watchers }
    }

    /// Hangs one up, unless its subject has `per_subject_max` already.
    pub(super) fn hang(&mut self, bell: &Arc<Bell>, per_subject_max: usize) -> Result<(), Close> {
        let own = self.home(bell).entry(bell.subject.clone()).or_default();
        if own.len() >= per_subject_max {
            return Err(Close::TooManyConnections);
        }
        own.push(bell.clone());
        own.shrink_to(4); // most have one
        Ok(())
    }

    pub(super) fn take_down(&mut self, bell: &Arc<Bell>) {
        let home = self.home(bell);
        if let Some(own) = home.get_mut(&bell.subject) {
            own.retain(|one| !Arc::ptr_eq(one, bell));
            if own.is_empty() {
                home.remove(&bell.subject);
            }
        }
    }

    /// Rings those whom these events may concern, each once.
    pub(super) fn ring(&self, events: &[Arc<Event>]) {
        let mut owners: HashMap<&str, (u32, u32)> = HashMap::new();
        let (mut frames, mut bytes) = (0u32, 0u32);
        for event in events {
            let size = u32::try_from(event.frame_bytes()).unwrap_or(u32::MAX);
            frames += 1;
            bytes = bytes.saturating_add(size);
            for owner in event.owners().filter(|owner| self.by_owner.contains_key(*owner)) {
                let own = owners.entry(owner).or_default();
                *own = (own.0 + 1, own.1.saturating_add(size));
            }
        }
        for (owner, (frames, bytes)) in owners {
            self.by_owner.get(owner).into_iter().flatten().for_each(|bell| bell.ring(frames, bytes));
        }
        if frames > 0 {
            self.watchers.values().flatten().for_each(|bell| bell.ring(frames, bytes));
        }
    }

    /// A subject acknowledges everything up to a position, over whichever of its connections.
    pub(super) fn show(&self, subject: &str, position: &[i64]) {
        let own = [&self.by_owner, &self.watchers].into_iter().filter_map(|home| home.get(subject));
        own.flatten().for_each(|bell| bell.show(position));
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Bell>> {
        self.by_owner.values().chain(self.watchers.values()).flatten()
    }

    pub(super) fn close_all(&self, why: Close) {
        self.all().for_each(|bell| bell.end(why));
    }

    pub(super) fn close_where(&self, why: Close, is_meant: impl Fn(&Principal) -> bool) {
        let meant =
            |bell: &&Arc<Bell>| is_meant(&bell.principal.lock().unwrap_or_else(PoisonError::into_inner));
        self.all().filter(meant).for_each(|bell| bell.end(why));
    }
}
