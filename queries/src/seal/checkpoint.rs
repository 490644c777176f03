//! Heads of partitions, the tree over them, and the signed checkpoint.
//!
//! A checkpoint is a C2SP tlog-checkpoint in a signed note. Its tree has one leaf a partition, in the order of
//! (topic, topic id, partition): `tally head 1`, a line feed, and the partition's line in the list of heads:
//! ```text
//! TOPIC TOPIC_ID PARTITION NEXT_OFFSET LEAVES NEWEST_APPEND_MS ROOT
//! ```
//! so one signature covers every partition's tree, and the bytes depend on the sealed rows alone: not on a clock, not
//! on how often somebody sealed. What that costs: the tree over the heads is not append-only itself (each
//! partition's is), so a witness that wants consistency proofs gets them by partition.
//! The extension lines are `leaves N` (all leaves) and `appended MS` (the newest record sealed).

use super::tree::{Hash, Tree, leaf_hash};
use super::{SealError, keys::Keys};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use signed_note::Note;
use uuid::Uuid;

/// One partition of one topic's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    /// Kafka topic.
    pub topic: String,
    /// Its identity.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
}

/// Kafka's bound on the length of a topic's name, bytes.
const TOPIC_BYTES_MAX: usize = 249;

impl Lane {
    /// Whether Kafka could have such a partition: its topic's name is of the letters, digits, dots, underscores and hyphens
    /// that Kafka allows, as [`Head::from_line`] depends on, and its number counts from 0.
    pub(super) fn is_of_kafka(&self) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let name = self.topic.as_bytes();
        let long = (1..=TOPIC_BYTES_MAX).contains(&name.len());
        long && name.iter().copied().all(allowed) && self.partition >= 0
    }
}

impl std::fmt::Display for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// How far a partition is sealed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// Which partition.
    pub lane: Lane,
    /// Every offset before this one, from the first taken, stands in the tree.
    pub next: i64,
    /// Leaves of the tree.
    pub size: u64,
    /// Append time of the newest record in it, milliseconds since 1970 UTC.
    pub appended_at_ms: i64,
    /// Root of the tree.
    pub root: Hash,
}

/// A checkpoint whose signature was verified, and the heads it signs.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// Heads in their order.
    pub heads: Vec<Head>,
    /// The signed note, exact.
    pub note: Vec<u8>,
    /// Names and ids of the known keys that signed.
    pub signers: Vec<String>,
}

impl Head {
    pub(super) fn line(&self) -> String {
        let Lane { topic, topic_id, partition } = &self.lane;
        let Head { next, size, appended_at_ms, root, .. } = self;
        let root = BASE64_STANDARD.encode(root);
        format!("{topic} {topic_id} {partition} {next} {size} {appended_at_ms} {root}")
    }

    pub(super) fn from_line(line: &str) -> Option<Head> {
        let parts: Vec<&str> = line.split(' ').collect();
        let [topic, topic_id, partition, next, size, appended_at_ms, root] = parts[..] else { return None };
        let head = Head {
            lane: Lane {
                topic: topic.to_owned(),
                topic_id: topic_id.parse().ok()?,
                partition: partition.parse().ok()?,
            },
            next: next.parse().ok()?,
            size: size.parse().ok()?,
            appended_at_ms: appended_at_ms.parse().ok()?,
            root: BASE64_STANDARD.decode(root).ok()?.try_into().ok()?,
        };
        (head.line() == line).then_some(head)
    }

    /// The hash of its leaf in the tree over the heads.
    pub(super) fn leaf(&self) -> Hash {
        leaf_hash(&[b"tally head 1\n", self.line().as_bytes()])
    }
}

/// The list of heads as it is stored.
pub(super) fn heads_text(heads: &[Head]) -> String {
    heads.iter().map(|head| head.line() + "\n").collect()
}

/// Reads a list of heads; strictly what [`heads_text`] writes, in strictly rising order.
pub(super) fn heads_from(text: &[u8]) -> Option<Vec<Head>> {
    let text = std::str::from_utf8(text).ok()?;
    let heads: Option<Vec<Head>> = text.lines().map(Head::from_line).collect();
    let heads = heads.filter(|heads| heads.windows(2).all(|pair| pair[0].lane < pair[1].lane))?;
    (heads_text(&heads) == text).then_some(heads)
}

/// The root over the heads.
pub(super) fn heads_root(heads: &[Head]) -> Hash {
    let mut tree = Tree::default();
    heads.iter().for_each(|head| tree.push(head.leaf(), &mut Vec::new()));
    tree.root()
}

/// All leaves of all partitions.
pub(super) fn leaves(heads: &[Head]) -> u64 {
    heads.iter().map(|head| head.size).sum()
}

/// The text to sign.
pub(super) fn body(origin: &str, heads: &[Head]) -> Result<Vec<u8>, SealError> {
    let appended = heads.iter().map(|head| head.appended_at_ms).max().unwrap_or(0);
    let extension = format!("leaves {}\nappended {appended}\n", leaves(heads));
    let root = tlog_tiles::Hash(heads_root(heads));
    let body = tlog_tiles::Checkpoint::new(origin, heads.len() as u64, root, &extension);
    Ok(body.map_err(SealError::malformed)?.to_bytes())
}

/// What a signed note claims, its signature verified: origin, number of heads, their root, all leaves.
pub(super) struct Claim {
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) leaves: u64,
    pub(super) signers: Vec<String>,
}

/// Reads a signed note and verifies that a known key signed it.
pub(super) fn claim(note: &[u8], keys: &Keys) -> Result<Claim, SealError> {
    let altered = |what: &str| SealError::Altered(format!("a checkpoint {what}"));
    let parsed = Note::from_bytes(note).map_err(|_| altered("is no signed note"))?;
    let signers = keys.verify(&parsed)?;
    let body = tlog_tiles::Checkpoint::from_bytes(parsed.text()).map_err(|_| altered("cannot be read"))?;
    if body.origin() != keys.origin() {
        return Err(SealError::UnknownKey(format!(
            "the log is {}, the key of {}",
            body.origin(),
            keys.origin()
        )));
    }
    let leaves = body.extension().lines().find_map(|line| line.strip_prefix("leaves ")?.parse().ok());
    let leaves = leaves.ok_or_else(|| altered("does not say its leaves"))?;
    Ok(Claim { origin: body.origin().to_owned(), size: body.size(), root: body.hash().0, leaves, signers })
}

/// Holds a note and a list of heads against each other.
pub(super) fn checkpoint(note: &[u8], heads: &[u8], keys: &Keys) -> Result<Checkpoint, SealError> {
    let claim = claim(note, keys)?;
    let altered = || SealError::Altered("the list of heads is not the one that was signed".to_owned());
    let heads = heads_from(heads).ok_or_else(altered)?;
    let same = claim.size == heads.len() as u64 && claim.root == heads_root(&heads);
    if !same || claim.leaves != leaves(&heads) {
        return Err(altered());
    }
    Ok(Checkpoint { origin: claim.origin, heads, note: note.to_vec(), signers: claim.signers })
}

#[cfg(test)]
mod tests {
    use super::{Head, Lane, heads_from, heads_text};
    use uuid::Uuid;

    /// Scenario: topics as Kafka allows them; with a space, a line feed, an escape, a letter beyond ASCII; none, and too long.
    /// Guarantees: the allowed ones come back from a list of heads as they went in; the others are told apart before.
    #[test]
    fn only_topics_of_kafka_stand_in_heads() {
        let head = |topic: &str| Head {
            lane: Lane { topic: topic.to_owned(), topic_id: Uuid::from_u128(7), partition: 3 },
            next: 9,
            size: 8,
            appended_at_ms: 1,
            root: [5; 32],
        };
        for topic in ["task-events", "Eu.prod_2.task-events", &"a".repeat(249)] {
            let heads = [head(topic)];
            assert!(heads[0].lane.is_of_kafka(), "{topic}");
            assert_eq!(heads_from(heads_text(&heads).as_bytes()), Some(heads.to_vec()));
        }
        for topic in ["task events", "task\nevents", "a\u{1b}[2K", "tâsk", "", "a/b", &"a".repeat(250)] {
            assert!(!head(topic).lane.is_of_kafka(), "{topic:?}");
        }
        assert!(!Lane { partition: -1, ..head("a").lane }.is_of_kafka());
    }
}
