//! Publishes the bench's events to Kafka at an even rate: progress of tasks, as the platform would.

use super::account::Publication;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tally_pipeline::config::Kafka;
use tally_pipeline::simulate::now_micros;
use tally_schemas::{Encoder, Topic, frame_single_object, latest};
use tokio_util::sync::CancellationToken;

/// Tasks that events for everybody are about, in turn.
const TASKS: u64 = 64;
/// Longest wait for Kafka to acknowledge the last events.
const FLUSH: Duration = Duration::from_secs(60);
/// Pause of the pacing loop.
const TICK: Duration = Duration::from_micros(500);

/// Counts what Kafka refused.
#[derive(Clone, Default)]
struct Refused(Arc<AtomicU64>);

impl ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Publishes `events` events, `rate` a second, until all are out or `stop`; blocks. Returns how many are out, all of
/// which Kafka has acknowledged.
pub(super) fn publish(
    kafka: &Kafka,
    publication: &Publication,
    subjects: &[String],
    (rate, events): (u32, u64),
    stop: &CancellationToken,
) -> anyhow::Result<u64> {
    let mut config = kafka.client().map_err(anyhow::Error::msg)?;
    config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "0");
    let refused = Refused::default();
    let producer: ThreadedProducer<Refused> = config.create_with_context(refused.clone())?;
    let contract = latest(Topic::Task);
    let encoder = Encoder::new(contract)?;
    let topic = kafka.topic(Topic::Task);
    let mut began = Instant::now();
    for number in 0..events {
        let due = Duration::from_secs_f64(number as f64 / f64::from(rate));
        while began.elapsed() < due && !stop.is_cancelled() {
            std::thread::sleep(TICK.min(due.saturating_sub(began.elapsed())));
        }
        if stop.is_cancelled() {
            break;
        }
        let event = event(publication, subjects, number);
        let body = frame_single_object(contract, &encoder.encode(&event)?);
        let key = event["task_id"].as_str().unwrap_or_default();
        publication.sending(number);
        let mut record = BaseRecord::to(&topic).key(key).payload(&body);
        loop {
            match producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    record = again;
                    std::thread::sleep(TICK);
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        if number == 0 {
            // alone: how long this client takes to find its broker is no latency of the events behind it
            producer.flush(FLUSH)?;
            began = Instant::now();
        }
    }
    producer.flush(FLUSH)?;
    match refused.0.load(Ordering::Relaxed) {
        0 => Ok(publication.published()),
        lost => anyhow::bail!("Kafka did not take {lost} of the events"),
    }
}

/// Progress of a task: of the owner's only one, or of one of a few that everybody sees.
fn event(publication: &Publication, subjects: &[String], number: u64) -> serde_json::Value {
    let owner = publication.owner(number);
    let user = owner.and_then(|owner| subjects.get(usize::try_from(owner).ok()?));
    let user = user.map_or("bench-buyer", String::as_str);
    let task = owner.unwrap_or(number % TASKS);
    let version = 1 + number / TASKS;
    serde_json::json!({
        "event_id": publication.event_id(number).to_string(), "occurred_at": now_micros(),
        "source": "feed-bench", "policy_tag": "GENERAL_USE", "actor_id": "scheduler", "actor_role": "SERVICE",
        "task_id": format!("bench-task-{task}"), "wallet_id": "bench-wallet", "user_id": user,
        "creator_id": "bench-creator", "license_id": "bench-licence", "template_id": "bench-template",
        "kind": "PROGRESSED", "queue": "NORMAL", "progress_permille": number % 1001, "state_version": version,
        "audience": "TEST",
    })
}
