//! Publishes the simulated platform's events to Kafka, and remembers what Kafka acknowledged.

use crate::config::Kafka;
use crate::simulator::{Emission, Expect, Simulator};
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_schemas::Topic;
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// An emission that Kafka acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The contract.
    pub topic: Topic,
    /// Partition it landed in.
    pub partition: i32,
    /// Offset it got.
    pub offset: i64,
    /// The event's id; of an invalid one, the id it was to have.
    pub event_id: Uuid,
    /// What is to become of it.
    pub expect: Expect,
    /// [`Emission::event_at`], microseconds.
    pub event_at: i64,
    /// The timestamp that the record was given, milliseconds.
    pub record_at_ms: i64,
}

/// How fast, and how long.
#[derive(Clone, Copy)]
pub enum Pace<'a> {
    /// So many events, as fast as Kafka takes them; the records bear the simulated time.
    Count(u64),
    /// In real time until told to stop: an event is sent when its simulated time has come, and the record bears the
    /// time of sending; what happened before the platform opened is sent at once and bears the simulated time.
    RealTime {
        /// How many records were taken so far: the platform waits while it is more than `ahead_max` ahead.
        taken: &'a dyn Fn() -> u64,
        /// Records that may wait to be taken.
        ahead_max: u64,
        /// How it ends; `None` for as long as it runs.
        ending: Option<Ending>,
    },
}

/// The end of a platform in real time. However far its publishing has fallen behind, it has this much simulated time for it.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// From then on nobody comes any more.
    pub visits_until: Instant,
    /// Simulated time for which what is under way then goes on.
    pub rest: Duration,
}

/// Publishing stopped before its end.
#[derive(Debug, Error)]
pub enum SimulateError {
    /// Kafka refused.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The configuration does not hold together.
    #[error("{0}")]
    Config(String),
    /// Some events were never acknowledged.
    #[error("{unacknowledged} events were not acknowledged; the first: {first}")]
    Unacknowledged {
        /// How many.
        unacknowledged: usize,
        /// What Kafka said of the first.
        first: String,
    },
}

/// What is known of an event until Kafka has answered.
struct Emitted {
    topic: Topic,
    event_id: Uuid,
    expect: Expect,
    event_at: i64,
    record_at_ms: i64,
}

/// What Kafka said of each event.
#[derive(Clone, Default)]
struct Acks(Arc<Mutex<(Vec<Sent>, Vec<String>)>>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<Emitted>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let mut acks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Emitted { topic, event_id, expect, event_at, record_at_ms } = *opaque;
        match result {
            Ok(m) => {
                let (partition, offset) = (m.partition(), m.offset());
                acks.0.push(Sent { topic, partition, offset, event_id, expect, event_at, record_at_ms });
            }
            Err((error, _)) => acks.1.push(error.to_string()),
        }
    }
}

/// Publishes until the pace's end or `stop`; blocks. Returns what was acknowledged, which is all that `simulator`
/// emitted meanwhile: what [`Simulator::truth`] says after it is about these events and no others.
///
/// # Errors
/// See [`SimulateError`].
pub fn simulate(
    kafka: &Kafka,
    simulator: &mut Simulator,
    pace: Pace<'_>,
    stop: &CancellationToken,
) -> Result<Vec<Sent>, SimulateError> {
    let mut config = kafka.client().map_err(SimulateError::Config)?;
    config.set("enable.idempotence", "true").set("acks", "all").set("compression.type", "lz4");
    config.set("linger.ms", "5").set("queue.buffering.max.messages", "200000");
    let acks = Acks::default();
    let producer: ThreadedProducer<Acks> = config.create_with_context(acks.clone())?;
    let (mut sent, mut ends_at) = (0, None);
    while !stop.is_cancelled() {
        match pace {
            Pace::Count(count) if sent == count => break,
            Pace::Count(_) => publish(&producer, kafka, simulator.next(), true)?,
            Pace::RealTime { taken, ahead_max, ending } => {
                while sent > ahead_max + taken() && !stop.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                let ending = ending.filter(|ending| Instant::now() >= ending.visits_until);
                let emission = match ending {
                    Some(_) => simulator.next_closing(),
                    None => Some(simulator.next()),
                };
                let Some(emission) = emission else { break };
                // what the simulator gave is published, or its truth would not be about what was sent
                let last = ending.is_some_and(|ending| {
                    let rest = i64::try_from(ending.rest.as_micros()).unwrap_or(i64::MAX);
                    emission.occurred_at > *ends_at.get_or_insert(emission.occurred_at.saturating_add(rest))
                });
                while !last && emission.occurred_at > now_micros() && !stop.is_cancelled() {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let past = emission.occurred_at < simulator.opens_at();
                publish(&producer, kafka, emission, past)?;
                if last {
                    sent += 1;
                    break;
                }
            }
        }
        sent += 1;
    }
    producer.flush(Duration::from_secs(60))?;
    // the callbacks of the last messages may still be under way in the producer's thread
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let (acknowledged, failed) = {
            let acks = acks.0.lock().unwrap_or_else(PoisonError::into_inner);
            (acks.0.len() as u64, acks.1.len() as u64)
        };
        if acknowledged + failed >= sent || Instant::now() > deadline {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let (acknowledged, failed) = std::mem::take(&mut *acks.0.lock().unwrap_or_else(PoisonError::into_inner));
    let unacknowledged = usize::try_from(sent).unwrap_or(usize::MAX).saturating_sub(acknowledged.len());
    match unacknowledged {
        0 => Ok(acknowledged),
        _ => Err(SimulateError::Unacknowledged {
            unacknowledged,
            first: failed.into_iter().next().unwrap_or_default(),
        }),
    }
}

fn publish(
    producer: &ThreadedProducer<Acks>,
    kafka: &Kafka,
    emission: Emission,
    simulated_time: bool,
) -> Result<(), SimulateError> {
    let topic = kafka.topic(emission.topic);
    let Emission { event_id, expect, event_at, .. } = emission;
    let record_at_ms = if simulated_time { emission.occurred_at } else { now_micros() } / 1000;
    let opaque = Box::new(Emitted { topic: emission.topic, event_id, expect, event_at, record_at_ms });
    let mut record = BaseRecord::with_opaque_to(&topic, opaque)
        .key(emission.key.as_str())
        .payload(emission.value.as_slice())
        .timestamp(record_at_ms);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Microseconds since 1970 UTC, by this machine's clock.
pub fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
