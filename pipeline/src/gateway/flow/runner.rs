//! Runs flows: whatever is due is tried, and what was heard is written down in one commit with its events.
//!
//! A flow has one task at a time, and the store takes a version only over the one before it: a command that comes while an act is
//! under way wins, and the act is done again under its key, which moves nothing twice.

use super::acts::{self, Tried};
use super::attempt::{self, Ended, Way};
use super::events;
use super::life::{Flow, PUT_OFF_US_MAX};
use super::machine::{Next, Tell};
use super::record;
use crate::gateway::ask::Gateway;
use crate::gateway::moment::now_us;
use crate::gateway::store::{FlowRow, Kept, StoreError};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Flows that are run at once; more wait.
const AT_ONCE_MAX: usize = 128;
/// No act is put off for longer.
const PUT_OFF_MAX: Duration = Duration::from_micros(PUT_OFF_US_MAX.unsigned_abs());
/// How often somebody looks for flows whose time has come.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// News that one who waits for a flow may have missed; then it looks by itself.
const NEWS_MAX: usize = 1_024;

/// The flows of a gateway. Cloning is cheap.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct Flows {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gateway: Gateway,
    /// Flows that a task of this process runs.
    running: Mutex<HashSet<String>>,
    /// There is something to do.
    due: Notify,
    /// Flows that have come to rest, by their ids.
    rested: broadcast::Sender<Arc<str>>,
}

impl Flows {
    /// Of that gateway; nothing runs until [`run`].
    pub(in crate::gateway) fn new(gateway: Gateway) -> Flows {
        let (rested, _) = broadcast::channel(NEWS_MAX);
        let (running, due) = (Mutex::default(), Notify::new());
        Flows { inner: Arc::new(Inner { gateway, running, due, rested }) }
    }

    pub(super) fn gateway(&self) -> &Gateway {
        &self.inner.gateway
    }

    /// The flow as it stands.
    pub(super) async fn get(&self, id: &str) -> Result<Option<FlowRow>, StoreError> {
        self.gateway().inner.store.flow(id).await
    }

    /// Writes the flow's next version with the events of the move; `false` where somebody was faster.
    pub(super) async fn put(&self, flow: &Flow, tells: &[Tell], now_us: i64) -> Result<bool, StoreError> {
        self.keep(flow, self.events(flow, tells, now_us), now_us).await
    }

    /// The same with events that are made already.
    pub(super) async fn keep(&self, flow: &Flow, events: Vec<Kept>, now_us: i64) -> Result<bool, StoreError> {
        self.gateway().inner.store.put_flow(record::row(flow, now_us), events).await
    }

    fn events(&self, flow: &Flow, tells: &[Tell], now_us: i64) -> Vec<Kept> {
        tells.iter().filter_map(|tell| self.gateway().made(events::encode(flow, tell, now_us))).collect()
    }

    /// There is something to do for a flow: waits for it to come to rest, but not longer than that.
    pub(super) async fn wait_for(&self, id: &str, patience: Duration) {
        let mut news = self.inner.rested.subscribe(); // before anybody is told to begin
        self.inner.due.notify_one();
        let rested = async {
            while let Ok(rested) = news.recv().await {
                if rested.as_ref() == id {
                    break;
                }
            } // too much news to follow: whoever waits looks by itself
        };
        let _ = tokio::time::timeout(patience, rested).await; // it goes on in any case
    }

    fn running(&self) -> MutexGuard<'_, HashSet<String>> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a flow on until it rests, or its act is to be tried later.
    async fn drive(&self, id: &str, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let Some(row) = self.get(id).await? else { return Ok(()) };
            let Some(flow) = record::read(&row) else { return self.leave(row).await };
            if !flow.is_due(now_us()) {
                return Ok(());
            }
            self.go_on(flow).await?;
        }
        Ok(())
    }

    /// Tries the flow's act, or lets its time be over. Where somebody was faster, what is there then is looked at.
    async fn go_on(&self, mut flow: Flow) -> Result<(), StoreError> {
        let act = match flow.next() {
            Next::Wait(_) => {
                let now_us = now_us();
                let tells = flow.expired(now_us);
                return self.put(&flow, &tells, now_us).await.map(|_| ());
            }
            Next::Do(act) => Way::of(*act),
        };
        let Ended { tried, events: mut kept } = match act {
            Way::Call(ask) => {
                Ended { tried: acts::call(self.gateway(), &flow, ask).await, events: Vec::new() }
            }
            Way::Post(posted) => match attempt::attempt(self, &mut flow, &posted).await? {
                Some(ended) => ended,
                None => return Ok(()),
            },
        };
        let now_us = now_us();
        let attempted = kept.clone();
        match tried {
            Tried::Heard(heard) => {
                let tells = flow.heard(heard, now_us);
                kept.extend(self.events(&flow, &tells, now_us));
            }
            Tried::Again(wait) => {
                flow.again(now_us, i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
            }
        }
        if self.keep(&flow, kept, now_us).await? {
            return Ok(());
        }
        self.overtaken(&flow.id, attempted).await
    }

    /// Somebody was faster than an act. The event of its attempt, if it has one, is kept all the same; what it led to is found out once
    /// more, under its key.
    async fn overtaken(&self, id: &str, attempted: Vec<Kept>) -> Result<(), StoreError> {
        while !attempted.is_empty() {
            let row = self.get(id).await?;
            let Some(mut flow) = row.as_ref().and_then(record::read) else {
                return self.gateway().inner.store.keep(attempted).await;
            };
            flow.overtook();
            if self.keep(&flow, attempted.clone(), now_us()).await? {
                break;
            }
        }
        Ok(())
    }

    /// A flow that this program cannot read: nothing is due any more until somebody has looked at it.
    async fn leave(&self, row: FlowRow) -> Result<(), StoreError> {
        let row = FlowRow { version: row.version + 1, due_us: None, ..row };
        self.gateway().inner.store.put_flow(row, Vec::new()).await.map(|_| ())
    }
}

/// Runs whatever is due until `stop`; acts that are under way then come to their end.
pub(in crate::gateway) async fn run(flows: Flows, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    while !stop.is_cancelled() {
        let running = flows.running().len();
        let places = AT_ONCE_MAX.saturating_sub(running);
        if places > 0 {
            // those that run are due as well, until they have moved
            match flows.gateway().inner.store.flows_due(now_us(), PUT_OFF_MAX, places + running).await {
                Ok(due) => begin(&flows, due, places, (&tasks, &stop)),
                Err(error) => tracing::error!(%error, "flows that are due cannot be read"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = flows.inner.due.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

fn begin(flows: &Flows, due: Vec<FlowRow>, places: usize, (tasks, stop): (&TaskTracker, &CancellationToken)) {
    let mut fresh: Vec<String> = due.into_iter().map(|row| row.id).collect();
    {
        let mut running = flows.running();
        fresh.retain(|id| !running.contains(id));
        fresh.truncate(places);
        running.extend(fresh.iter().cloned());
    }
    for id in fresh {
        let (running, stop) = (Running { flows: flows.clone(), id }, stop.clone());
        tasks.spawn(async move {
            if let Err(error) = running.flows.drive(&running.id, &stop).await {
                tracing::error!(%error, "a flow could not be written down; it is tried again");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
    }
}

/// A flow that is run; once it is not, somebody else may.
struct Running {
    flows: Flows,
    id: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.flows.running().remove(&self.id);
        self.flows.inner.due.notify_one(); // a command may have come while nobody else might run it
        let _ = self.flows.inner.rested.send(self.id.as_str().into()); // nobody need be waiting
    }
}
