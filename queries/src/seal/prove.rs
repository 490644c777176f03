//! Proofs that an event was taken, for those who have nothing but the public key.
//!
//! A proof is a JSON object:
//! ```text
//! { "format": "tally proof 1", "event_id": "…", "checkpoint": "the signed note",
//!   "records": [ {                       one for each time the event was taken, earliest first; later ones are duplicates
//!     "leaf": "base64 of the leaf's data",        "record": { the same, readable },
//!     "index": 17, "inclusion": ["base64", …],    in the partition's tree (RFC 6962 audit path)
//!     "head": "the partition's line in the list of heads",
//!     "head_index": 3, "head_inclusion": ["base64", …],      in the tree that the checkpoint signs
//!     "content": "base64 of what the content digest digests", "event": { the same, readable } } ] }
//! ```
//! Checking asks nothing but the file and the keys: signature → root over the heads → head → root of the partition →
//! leaf → content digest → content. What is readable is made again from the exact bytes and must be equal.

use super::checkpoint::{self, Checkpoint, Head, claim};
use super::inclusion::{content, placed};
use super::keys::Keys;
use super::leaf::{Bytes, Kind, leaf};
use super::log::Log;
use super::rows::row;
use super::sealer::newest;
use super::tree::{Hash, leaf_hash};
use super::{SealError, proof};
use crate::QueryError;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tally_schemas::{Topic, columns, sha256};
use uuid::Uuid;

const FORMAT: &str = "tally proof 1";
/// Times one event was taken that one proof holds.
const RECORDS_MAX: usize = 1_000;

/// A proof as it is written to a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    format: String,
    event_id: Uuid,
    checkpoint: String,
    records: Vec<Record>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    leaf: String,
    record: Map<String, Value>,
    index: u64,
    inclusion: Vec<String>,
    head: String,
    head_index: u64,
    head_inclusion: Vec<String>,
    content: String,
    event: Map<String, Value>,
}

/// What a checked proof says.
#[derive(Clone, Debug)]
pub struct Proven {
    /// The event.
    pub event_id: Uuid,
    /// Known keys that signed.
    pub signers: Vec<String>,
    /// Of each time it was taken: the receipt, and the event itself.
    pub records: Vec<(Map<String, Value>, Map<String, Value>)>,
}

#[derive(Row, Deserialize)]
struct Place {
    #[serde(with = "clickhouse::serde::uuid")]
    topic_id: Uuid,
    partition: i32,
    offset: i64,
}

impl Proof {
    /// How often the event was taken.
    pub fn records(&self) -> usize {
        self.records.len()
    }
}

fn encode(proof: &[Hash]) -> Vec<String> {
    proof.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect()
}

fn decode(proof: &[String]) -> Option<Vec<Hash>> {
    proof.iter().map(|hash| BASE64_STANDARD.decode(hash).ok()?.try_into().ok()).collect()
}

/// Makes the proof of an event; `None` if no sealed receipt names it.
///
/// # Errors
/// See [`SealError`]; rows that are not those that were sealed prove nothing.
pub async fn prove(
    client: &Client,
    log: &Log,
    keys: &Keys,
    event_id: Uuid,
) -> Result<Option<Proof>, SealError> {
    let Some((_, checkpoint)) = newest(log, keys).await? else { return Ok(None) };
    let sql = "SELECT topic_id, partition, offset FROM audit_log FINAL WHERE event_id = {event_id:UUID}
        AND disposition = 'ACCEPTED' ORDER BY appended_at, topic_id, partition, offset LIMIT {limit:UInt64}";
    let question = client.query(sql).param("event_id", event_id.to_string()).param("limit", RECORDS_MAX + 1);
    let places: Vec<Place> = question
        .fetch_all()
        .await
        .map_err(|source| SealError::Query(QueryError::new("receipts of an event", source)))?;
    if places.len() > RECORDS_MAX {
        return Err(SealError::malformed(format!("the event was taken more than {RECORDS_MAX} times")));
    }
    let mut records = Vec::new();
    for place in places {
        let here =
            |head: &Head| (head.lane.topic_id, head.lane.partition) == (place.topic_id, place.partition);
        let Some(at) = checkpoint.heads.iter().position(here) else { continue };
        if place.offset < checkpoint.heads[at].next {
            records.push(record(client, log, &checkpoint, at, place.offset).await?);
        }
    }
    if records.is_empty() {
        return Ok(None);
    }
    records.sort_by_key(|record| coordinates(&record.record));
    let note = String::from_utf8(checkpoint.note).map_err(SealError::malformed)?;
    let proof = Proof { format: FORMAT.to_owned(), event_id, checkpoint: note, records };
    check(&proof, keys)?; // a proof that does not hold is never handed out
    Ok(Some(proof))
}

async fn record(
    client: &Client,
    log: &Log,
    checkpoint: &Checkpoint,
    at: usize,
    offset: i64,
) -> Result<Record, SealError> {
    let head = &checkpoint.heads[at];
    let row = row(client, Kind::Record, &head.lane, offset).await?;
    let sealed = leaf(Kind::Record, &row)?;
    let (index, inclusion) = placed(client, log, head, &sealed).await?;
    let content = content(client, &head.lane, offset, &sealed.digest).await?;
    let hashes: Vec<Hash> = checkpoint.heads.iter().map(Head::leaf).collect();
    let head_index = at as u64;
    Ok(Record {
        leaf: BASE64_STANDARD.encode([Kind::Record.line(), &row].concat()),
        record: readable(&row).ok_or_else(|| SealError::malformed("a row of audit_log is too short"))?,
        index,
        inclusion: encode(&inclusion),
        head: head.line(),
        head_index,
        head_inclusion: encode(&proof::inclusion_among(&hashes, head_index)?),
        event: event(&content).ok_or_else(|| SealError::malformed("a content cannot be read"))?,
        content: BASE64_STANDARD.encode(content),
    })
}

/// The columns of a receipt by name.
fn readable(row: &[u8]) -> Option<Map<String, Value>> {
    let mut at = Bytes(row);
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("topic_id", json!(at.uuid()?));
    put("partition", json!(at.i32()?));
    put("offset", json!(at.i64()?));
    put("appended_at_ms", json!(at.i64()?));
    put("raw_bytes", json!(u32::from_le_bytes(at.array()?)));
    put("raw_sha256", json!(hex::encode(at.take(32)?)));
    put("digest", json!(hex::encode(at.take(32)?)));
    put("event_id", json!(at.uuid()?));
    put("occurred_at_us", json!(at.i64()?));
    for name in Kind::Record.texts() {
        put(name, json!(String::from_utf8_lossy(at.text()?)));
    }
    at.0.is_empty().then_some(map)
}

/// The fields of a content by name: see `tally_schemas`, `digest`.
fn event(content: &[u8]) -> Option<Map<String, Value>> {
    let rest = content.strip_prefix(b"tally content 1\n")?;
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    let topic = Topic::from_name(std::str::from_utf8(&rest[..end]).ok()?)?;
    let mut at = Bytes(&rest[end + 1..]);
    let mut map = Map::new();
    while !at.0.is_empty() {
        let [id] = at.array()?;
        let column = columns(topic).iter().find(|column| column.field_id == id)?;
        let value = match column.kind {
            tally_schemas::Kind::Text | tally_schemas::Kind::Enum(_) => {
                let length = usize::try_from(u32::from_le_bytes(at.array()?)).ok()?;
                json!(std::str::from_utf8(at.take(length)?).ok()?)
            }
            tally_schemas::Kind::Long | tally_schemas::Kind::Int | tally_schemas::Kind::Timestamp => {
                json!(at.i64()?)
            }
            tally_schemas::Kind::Boolean => json!(at.take(1)? == [1]),
            tally_schemas::Kind::Uuid => json!(Uuid::from_bytes(at.array()?)),
        };
        map.insert(column.name.clone(), value);
    }
    Some(map)
}

/// Checks the text of a proof with nothing but the public keys.
///
/// # Errors
/// [`SealError::UnknownKey`] where no known key signed it, [`SealError::Altered`] where it does not hold, and
/// [`SealError::Malformed`] where it is no proof.
pub fn check_proof(text: &str, keys: &Keys) -> Result<Proven, SealError> {
    let proof: Proof =
        serde_json::from_str(text).map_err(|e| SealError::malformed(format!("no proof: {e}")))?;
    check(&proof, keys)
}

fn check(proof: &Proof, keys: &Keys) -> Result<Proven, SealError> {
    if proof.format != FORMAT || proof.records.is_empty() {
        return Err(SealError::malformed("no proof of a format that is known here, or an empty one"));
    }
    let claim = claim(proof.checkpoint.as_bytes(), keys)?;
    let mut records = Vec::new();
    for (n, record) in proof.records.iter().enumerate() {
        let (receipt, event) = holds(record, proof.event_id, &claim)
            .map_err(|what| SealError::Altered(format!("record {n} of the proof: {what}")))?;
        // the same record twice would say that the event was taken twice
        if records.last().is_some_and(|(before, _)| coordinates(before) >= coordinates(&receipt)) {
            return Err(SealError::Altered(format!(
                "record {n} of the proof: it does not follow the one before"
            )));
        }
        records.push((receipt, event));
    }
    Ok(Proven { event_id: proof.event_id, signers: claim.signers, records })
}

type Readable = (Map<String, Value>, Map<String, Value>);

/// Where a receipt stands among those of its event: by append time, then by topic, partition and offset.
fn coordinates(receipt: &Map<String, Value>) -> (i64, String, i64, i64) {
    let number = |name: &str| receipt.get(name).and_then(Value::as_i64).unwrap_or_default();
    let topic = receipt.get("topic_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    (number("appended_at_ms"), topic, number("partition"), number("offset"))
}

fn holds(record: &Record, event_id: Uuid, claim: &checkpoint::Claim) -> Result<Readable, &'static str> {
    let head = Head::from_line(&record.head).ok_or("the head cannot be read")?;
    let path = decode(&record.head_inclusion).ok_or("the path of the head cannot be read")?;
    if !proof::includes(&path, claim.size, claim.root, record.head_index, head.leaf()) {
        return Err("the head does not stand under the signed root");
    }
    let data = BASE64_STANDARD.decode(&record.leaf).map_err(|_| "the leaf is not base64")?;
    let path = decode(&record.inclusion).ok_or("the path of the leaf cannot be read")?;
    if !proof::includes(&path, head.size, head.root, record.index, leaf_hash(&[&data])) {
        return Err("the leaf does not stand under the partition's root");
    }
    let row = data.strip_prefix(Kind::Record.line()).ok_or("the leaf is no receipt")?;
    let receipt = readable(row).ok_or("the leaf cannot be read")?;
    let sealed = leaf(Kind::Record, row).map_err(|_| "the leaf cannot be read")?;
    let content = BASE64_STANDARD.decode(&record.content).map_err(|_| "the content is not base64")?;
    if sealed.dead || sha256(&content) != sealed.digest {
        return Err("the content does not give the digest in the leaf");
    }
    let event = event(&content).ok_or("the content cannot be read")?;
    let id = event.get("event_id").and_then(Value::as_str).and_then(|id| id.parse::<Uuid>().ok());
    if sealed.event_id != event_id || id != Some(event_id) {
        return Err("the leaf is about another event");
    }
    let place = (receipt.get("topic_id"), receipt.get("partition"));
    if place != (Some(&json!(head.lane.topic_id)), Some(&json!(head.lane.partition))) {
        return Err("the leaf is of another partition");
    }
    if receipt != record.record || event != record.event {
        return Err("what is readable differs from the exact bytes");
    }
    Ok((receipt, event))
}
