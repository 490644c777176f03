//! Dead letters for whoever looks into them and publishes them again: the commands here, and the service's page.

use super::bytes;
use crate::cli::admitted;
use anyhow::bail;
use async_trait::async_trait;
use std::time::Duration;
use tally_dashboards::{Judged, Letters, LettersError, Record};
use tally_pipeline::config::{EventBound, Kafka, SchemaRegistry};
use tally_pipeline::dead::{Again, DeadError, Outcome, Rejudge, Republish};
use tally_pipeline::registry::Lookup;
use tally_queries::Letter;
use tally_schemas::{Explained, WriterId, contracts, explain, parse_schema, split};
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

/// Judging waits so long for its turn and for the registry: one letter is judged at a time.
const JUDGE: Duration = Duration::from_secs(10);

/// What can be read of a value under the schema that its frame names.
pub(super) async fn explained(registry: &SchemaRegistry, value: Option<&[u8]>) -> anyhow::Result<Explained> {
    let Some(value) = value else { bail!("the value is null") };
    let (id, body) = split(value).map_err(|fault| anyhow::anyhow!(fault.sentence))?;
    match id {
        WriterId::SingleObject(fingerprint) => {
            match contracts().iter().find(|c| c.fingerprint == fingerprint) {
                Some(contract) => Ok(explain(&contract.schema, body)),
                None => bail!("no contract has the fingerprint {fingerprint:016x}"),
            }
        }
        WriterId::Confluent(number) => {
            let Some(registry) = registry.client()? else { bail!("schema {id}: give --registry URL") };
            match registry.schema(number).await? {
                Lookup::Found(json) => Ok(explain(&parse_schema(&id.to_string(), &json)?, body)),
                Lookup::NotFound => bail!("the registry does not know schema {id}"),
            }
        }
    }
}

/// The record of a letter that was asked for with its bytes.
pub(super) fn once_more(letter: &Letter) -> anyhow::Result<Again> {
    let header = |(name, hex): &(String, Option<String>)| Ok((name.clone(), bytes(hex.as_deref())?));
    Ok(Again {
        topic: letter.topic.clone(),
        key: bytes(letter.key_hex.as_deref())?,
        value: bytes(letter.value_hex.as_deref())?,
        headers: letter.headers.iter().map(header).collect::<anyhow::Result<_>>()?,
        attempt: letter.attempts().saturating_add(1),
        first: letter.first.clone(),
    })
}

/// The service's hands: contracts, the registry and Kafka of the configuration.
#[derive(Debug)]
pub(in crate::cli) struct Hands {
    kafka: Kafka,
    registry: SchemaRegistry,
    publishes: bool,
    rejudge: Mutex<Rejudge>,
    republish: OnceCell<Republish>,
}

impl Hands {
    /// Of that configuration; `publishes` says whether they may.
    pub(in crate::cli) fn new(
        (kafka, registry): (&Kafka, &SchemaRegistry),
        event: EventBound,
        publishes: bool,
    ) -> anyhow::Result<Hands> {
        let rejudge = Rejudge::new(kafka, registry, event.value_bytes_max as usize)?;
        Ok(Hands {
            kafka: kafka.clone(),
            registry: registry.clone(),
            publishes,
            rejudge: Mutex::new(rejudge),
            republish: OnceCell::new(),
        })
    }

    /// The producer, made when it is first needed, once the broker has let us in.
    async fn republish(&self) -> anyhow::Result<&Republish> {
        let made = self.republish.get_or_try_init(|| async {
            admitted(&self.kafka).await?;
            anyhow::Ok(Republish::new(&self.kafka)?)
        });
        made.await
    }
}

fn not_there(error: anyhow::Error) -> LettersError {
    LettersError::Unreadable(format!("the letter's bytes cannot be read: {error}"))
}

#[async_trait]
impl Letters for Hands {
    async fn explain(&self, value: &[u8]) -> Result<Explained, LettersError> {
        let read = explained(&self.registry, Some(value)).await;
        read.map_err(|error| LettersError::Unreadable(format!("{error:#}")))
    }

    async fn judge(&self, letter: &Letter) -> Result<Judged, LettersError> {
        let value = bytes(letter.value_hex.as_deref()).map_err(not_there)?;
        let judging = async { self.rejudge.lock().await.judge(&letter.topic, value.as_deref()).await };
        let outcome = tokio::time::timeout(JUDGE, judging).await;
        match outcome.map_err(|late| LettersError::Unavailable(Box::new(late)))? {
            Ok(Outcome::Event { event_id, digest }) => Ok(Judged::Event { event_id, digest }),
            Ok(Outcome::Dead(fault)) => {
                let (reason, path) = (fault.reason.to_string(), fault.path.to_string());
                Ok(Judged::Dead { reason, path, sentence: fault.sentence.to_string() })
            }
            Err(error @ DeadError::Topic(_)) => Err(LettersError::Unreadable(error.to_string())),
            Err(error) => Err(LettersError::Unavailable(Box::new(error))),
        }
    }

    fn record(&self, letter: &Letter, replay_id: Uuid) -> Result<Record, LettersError> {
        let again = once_more(letter).map_err(not_there)?;
        let headers = again.headers_under(replay_id);
        let Again { topic, key, value, attempt, .. } = again;
        Ok(Record { topic, key, value, headers, attempt })
    }

    fn publishes(&self) -> bool {
        self.publishes
    }

    async fn publish(&self, letter: &Letter, replay_id: Uuid) -> Result<(i32, i64), LettersError> {
        if !self.publishes {
            return Err(LettersError::Unreadable("these hands may not publish".to_owned()));
        }
        let again = once_more(letter).map_err(not_there)?;
        let republish = self.republish().await.map_err(|error| LettersError::NotTaken(error.into()))?;
        let sent = republish.send_as(&again, replay_id).await;
        sent.map_err(|error| match error.is_unacknowledged() {
            true => LettersError::Unacknowledged(Box::new(error)),
            false => LettersError::NotTaken(Box::new(error)),
        })
    }
}
