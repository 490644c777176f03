//! Runs flows: whatever is due is tried, and what was heard is written down in one commit with its events.
//!
//! A flow has one task at a time, and the store takes a version only over the one before it: a command that comes while an act is
//! under way wins, and the act is done again under its key, which moves nothing twice.

use super::acts::{self, Tried};
use super::events;
use super::life::Flow;
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
        let events = self.events(flow, tells, now_us);
        self.gateway().inner.store.put_flow(record::row(flow, now_us), events).await
    }

    fn events(&self, flow: &Flow, tells: &[Tell], now_us: i64) -> Vec<Kept> {
        let encode = |tell| match events::encode(flow, tell, now_us) {
            Ok(event) => Some(event),
            Err(error) => {
                self.gateway().inner.metrics.event_lost();
                tracing::error!(%error, "an event of a flow is lost");
                None
            }
        };
        tells.iter().filter_map(encode).collect()
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
            if flow.due_us.is_none_or(|due_us| due_us > now_us()) {
                return Ok(());
            }
            self.go_on(flow).await?;
        }
        Ok(())
    }

    /// Tries the flow's act, or lets its time be over. Where somebody was faster, what is there then is looked at.
    async fn go_on(&self, mut flow: Flow) -> Result<(), StoreError> {
        let next = flow.next();
        let tried = match next {
            Next::Wait(_) => None,
            Next::Do(act) => Some(acts::attempt(self.gateway(), &flow, *act).await),
        };
        let now_us = now_us();
        let tells = match tried {
            None => flow.expired(now_us),
            Some(Tried::Heard(heard)) => flow.heard(heard, now_us),
            Some(Tried::Again(wait)) => {
                flow.again(now_us, i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
                Vec::new()
            }
        };
        self.put(&flow, &tells, now_us).await.map(|_| ())
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
            match flows.gateway().inner.store.flows_due(now_us(), places + running).await {
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
