//! Holds the ledger against what a publisher says it sent, record by record and event by event.

use crate::{Balance, QueryError};
use clickhouse::{Client, Row};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// A record that Kafka acknowledged to its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The event's id.
    pub event_id: Uuid,
    /// Whether it is to be accepted.
    pub valid: bool,
}

#[derive(Row, Deserialize)]
struct Receipt {
    partition: i32,
    offset: i64,
    accepted: bool,
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
}

#[derive(Row, Deserialize)]
struct FactId {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
}

/// Adds to a balance what the publisher's own record shows: offsets without a receipt and valid events without a
/// fact or judged invalid are missing; receipts and facts of what was never sent, or was invalid, are extra.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn reconcile(
    client: &Client,
    topic_id: Uuid,
    facts: &str,
    published: &[Published],
    mut balance: Balance,
) -> Result<Balance, QueryError> {
    let failed = |question| move |source| QueryError::new(question, source);
    let mut open: HashMap<(i32, i64), &Published> =
        published.iter().map(|p| ((p.partition, p.offset), p)).collect();
    balance.published = published.len() as u64;
    balance.missing -= balance.holes.iter().map(|h| h.next.abs_diff(h.first)).sum::<u64>(); // counted below, by record
    let question = client.query(include_str!("../sql/receipts.sql")).param("topic_id", topic_id.to_string());
    let mut receipts = question.fetch::<Receipt>().map_err(failed("receipts"))?;
    while let Some(receipt) = receipts.next().await.map_err(failed("receipts"))? {
        match open.remove(&(receipt.partition, receipt.offset)) {
            None => balance.extra += 1,
            Some(sent) if sent.valid && !receipt.accepted => balance.missing += 1,
            Some(sent) if !sent.valid && receipt.accepted => balance.extra += 1,
            Some(sent) if receipt.accepted && sent.event_id != receipt.event_id => balance.extra += 1,
            Some(_) => {}
        }
    }
    balance.missing += open.len() as u64;
    let mut expected: HashSet<Uuid> = published.iter().filter(|p| p.valid).map(|p| p.event_id).collect();
    let question = client.query(include_str!("../sql/fact_ids.sql")).param("topic_id", topic_id.to_string());
    let mut found = question.param("facts", facts).fetch::<FactId>().map_err(failed("fact ids"))?;
    while let Some(fact) = found.next().await.map_err(failed("fact ids"))? {
        if !expected.remove(&fact.event_id) {
            balance.extra += 1;
        }
    }
    balance.missing += expected.len() as u64;
    Ok(balance)
}

#[derive(Row, Deserialize)]
struct Generation {
    #[serde(with = "clickhouse::serde::uuid")]
    topic_id: Uuid,
}

/// The topic identities that the ledger knows.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn generations(client: &Client) -> Result<Vec<Uuid>, QueryError> {
    let known = client.query(include_str!("../sql/generations.sql")).fetch_all::<Generation>().await;
    let known = known.map_err(|source| QueryError::new("generations", source))?;
    Ok(known.into_iter().map(|generation| generation.topic_id).collect())
}
