//! Joining the group, fetching, and leaving it; once more with a fresh consumer where a topic was created anew.

use super::fetch::{Delivery, FetchQueue};
use super::group::Consuming;
use super::refusals::is_told;
use super::{Lanes, Source, SourceError, Turn};
use crate::inbox::Put;
use crate::slab::Budget;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tally_sinks::fault::{Point, pass};
use tokio_util::sync::CancellationToken;

/// How long the group may take to let us go.
const LEAVE: Duration = Duration::from_secs(3);
/// How long librdkafka may take to say so once it holds nothing; of an instance with a name it says nothing when it is closed.
const LEFT: Duration = Duration::from_millis(100);
/// A consumer lives at least this long, whatever its brokers say of its topics.
const REOPEN_SECONDS_MIN: u64 = 5;

impl Source {
    /// Joins the group for these topics and fetches until `stop`; blocks the calling thread. Where a topic turns out to
    /// be another than before, all lanes are revoked, the group is left, and a fresh consumer joins it.
    ///
    /// # Errors
    /// Where the subscription is refused, and where another instance came under this one's name. Passing trouble with brokers is logged and outlived.
    pub(crate) fn run(
        &self,
        topics: &[String],
        lanes: Arc<dyn Lanes>,
        budget: &Budget,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        loop {
            let consumer = self.client.consumer();
            let queue = Arc::new(FetchQueue::new(consumer.client().native_ptr()));
            consumer.context().fetch_by(Some(queue.clone()));
            let lanes = consumer.context().lanes.get_or_init(|| lanes.clone());
            consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>())?;
            let born = Instant::now();
            let ends =
                || stop.is_cancelled() || (self.is_stale() && born.elapsed().as_secs() >= REOPEN_SECONDS_MIN);
            let fatal = || consumer.client().fatal_error();
            while !ends() && fatal().is_none() {
                self.fetch(&consumer, &queue, lanes.as_ref(), budget);
            }
            // not what librdkafka holds: whose name was taken holds nothing any more, and no callback said so
            lanes.revoked(lanes.held(), fatal().is_some());
            leave(&consumer);
            consumer.context().fetch_by(None);
            drop(queue); // before its client, which would wait for it
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Some((_, said)) = fatal() {
                let name = self.client.config.get("group.instance.id").unwrap_or_default().to_owned();
                return Err(SourceError::Fenced { name, said });
            }
            tracing::warn!("opening a fresh consumer");
            let old = self.client.reopen()?;
            drop(consumer);
            std::thread::spawn(move || drop(old)); // it may wait for a broker
        }
    }

    /// One turn: what the group has to say, and a batch of records.
    fn fetch(&self, consumer: &Consuming, queue: &FetchQueue, lanes: &dyn Lanes, budget: &Budget) {
        match consumer.poll(Duration::ZERO) {
            Some(Err(error)) if is_told(&error) => tracing::debug!(%error, "kafka"),
            Some(Err(error)) => tracing::warn!(%error, "kafka"),
            Some(Ok(message)) => stray(lanes, &message),
            None => {}
        }
        if !budget.has_room() {
            std::thread::sleep(Duration::from_millis(2)); // librdkafka's own queue fills and then stops fetching
            return;
        }
        let Turn { taken, wanted } = &self.client.turn;
        if wanted.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(1)); // a mutex is not fair: let the lanes that start go first
        }
        let _fetching = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let fetched = queue.fetch(Duration::from_millis(10), |topic, partition, deliveries| {
            let Some(inbox) = lanes.inbox(topic, partition) else { return };
            inbox.deliver(|put| deliveries.for_each(|delivery| put(received(delivery))));
        });
        if fetched > 0 {
            pass(Point::Polled);
        }
    }
}

/// Leaves the group and waits until it knows: librdkafka says so only after the revocation was served, and unsaid it
/// keeps the partitions from everybody else for a whole session.
fn leave(consumer: &Consuming) {
    consumer.unsubscribe();
    let deadline = Instant::now() + LEAVE;
    while Instant::now() < deadline && consumer.assignment().is_ok_and(|list| list.count() > 0) {
        drop(consumer.poll(Duration::from_millis(20)));
    }
    let deadline = Instant::now() + LEFT; // the request is on its way
    while Instant::now() < deadline {
        drop(consumer.poll(Duration::from_millis(20)));
    }
}

fn received(delivery: Delivery<'_>) -> Put<'_> {
    match delivery {
        Delivery::Record(record) => Put::Record(record),
        Delivery::End(offset) => Put::End(offset),
        Delivery::Error(code, said) => Put::Failure(format!("{said} ({code:?})")),
    }
}

/// A record that came over the consumer's own queue instead of its partition's: what stands before and after it is not
/// known, so its lane looks again at its receipts and has the partition fetched from there.
fn stray(lanes: &dyn Lanes, message: &rdkafka::message::BorrowedMessage<'_>) {
    let Some(inbox) = lanes.inbox(message.topic(), message.partition()) else { return };
    let said = format!("offset {} came beside its queue", message.offset());
    inbox.deliver(|put| put(Put::Failure(said)));
}
