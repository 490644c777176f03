//! Leaves: what stands in a partition's tree, and in which bytes.
//!
//! A leaf's data is a line that names the kind and version of the encoding, and the row as ClickHouse's RowBinary
//! gives the columns below, in this order: fixed-width ones first, then texts (LEB128 length, bytes). Integers are
//! little-endian; times are integers (milliseconds for appends, microseconds for events); enums are their
//! symbols; a UUID is two little-endian 64-bit halves, the high one first; a nullable text is one byte, 1 for
//! absent, then the text. Anyone can make these bytes with a `SELECT … FORMAT RowBinary`; the hash is RFC 6962's.
//!
//! | leaf | columns |
//! | --- | --- |
//! | `tally record 1` | the row of `audit_log`, whole |
//! | `tally letter 1` | the row of `dead_letters`, whole; it follows the record of the same offset |
//! | `tally gap 1` | the row of `gaps`, whole, at its first offset |
//!
//! A fact has no leaf of its own. Its record's leaf holds the content digest, SHA-256 over every field of the
//! contract, and `facts.rs` computes that digest again from the fact's columns. So a leaf never depends on which of
//! two equal events came first, which a later arrival may change, and an altered fact is found without any tree.

use super::SealError;
use super::tree::{Hash, leaf_hash};
use uuid::Uuid;

/// Which row a leaf stands for. The order is that of leaves at one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A row of `audit_log`.
    Record,
    /// A row of `dead_letters`.
    Letter,
    /// A row of `gaps`.
    Gap,
}

/// The place of a leaf in its partition: first offset, kind, and for a gap the offset after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) offset: i64,
    pub(super) kind: Kind,
    pub(super) next: i64,
}

/// Bytes of an encoded key.
pub(super) const KEY_BYTES: usize = 17;

/// A leaf as it was read: where it belongs, its hash, and what a report says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) key: Key,
    pub(super) hash: Hash,
    /// Of a record: its event, and whether it died.
    pub(super) event_id: Uuid,
    pub(super) dead: bool,
    /// Milliseconds; 0 for a gap.
    pub(super) appended_at_ms: i64,
    /// SHA-256 of the record's value.
    pub(super) raw_sha256: Hash,
    /// Of an accepted record: the content digest.
    pub(super) digest: Hash,
}

impl Kind {
    /// The table of the row.
    pub const fn table(self) -> &'static str {
        match self {
            Kind::Record => "audit_log",
            Kind::Letter => "dead_letters",
            Kind::Gap => "gaps",
        }
    }

    /// The line before the row.
    pub(super) const fn line(self) -> &'static [u8] {
        match self {
            Kind::Record => b"tally record 1\n",
            Kind::Letter => b"tally letter 1\n",
            Kind::Gap => b"tally gap 1\n",
        }
    }

    pub(super) const ALL: [Kind; 3] = [Kind::Record, Kind::Letter, Kind::Gap];

    const fn fixed(self) -> usize {
        match self {
            Kind::Record => 128,
            Kind::Letter => 116,
            Kind::Gap => 36,
        }
    }

    /// Plain texts after the fixed part.
    pub(super) const fn texts(self) -> &'static [&'static str] {
        match self {
            Kind::Record => &[
                "topic",
                "disposition",
                "reason",
                "schema",
                "source",
                "kind",
                "policy_tag",
                "actor_id",
                "actor_role",
                "task_id",
                "wallet_id",
                "user_id",
                "creator_id",
                "license_id",
                "template_id",
                "case_id",
            ],
            Kind::Letter => &["topic", "reason", "path", "sentence", "schema"],
            Kind::Gap => &["topic", "kind"],
        }
    }
}

impl Key {
    pub(super) fn encode(self) -> [u8; KEY_BYTES] {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&self.offset.to_be_bytes());
        bytes[8] = self.kind as u8;
        bytes[9..].copy_from_slice(&self.next.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Key> {
        let mut at = Bytes(bytes);
        let offset = i64::from_be_bytes(at.array()?);
        let [kind] = at.array()?;
        let kind = Kind::ALL.into_iter().find(|k| *k as u8 == kind)?;
        Some(Key { offset, kind, next: i64::from_be_bytes(at.array()?) })
    }
}

/// A cursor over bytes; every step may find too few.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(value).ok();
            }
        }
        None
    }

    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.varint()?;
        self.take(length)
    }

    fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match self.array()? {
            [0] => self.text().map(Some),
            _ => Some(None),
        }
    }

    pub(super) fn uuid(&mut self) -> Option<Uuid> {
        let (high, low) = (u64::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?));
        Some(Uuid::from_u64_pair(high, low))
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// Passes over the headers of a letter: names and values.
    fn headers(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.text()?;
            self.nullable()?;
        }
        Some(())
    }
}

/// How many bytes the row at the beginning takes; `None` if it is not whole yet.
pub(super) fn row_length(kind: Kind, bytes: &[u8]) -> Option<usize> {
    let mut at = Bytes(bytes);
    at.take(kind.fixed())?;
    for _ in kind.texts() {
        at.text()?;
    }
    if kind == Kind::Letter {
        at.nullable()?;
        at.nullable()?;
        at.headers()?;
    }
    Some(bytes.len() - at.0.len())
}

/// Reads a whole row into its leaf.
pub(super) fn leaf(kind: Kind, row: &[u8]) -> Result<Leaf, SealError> {
    read(kind, row).ok_or_else(|| SealError::malformed(format!("a row of {} is too short", kind.table())))
}

fn read(kind: Kind, row: &[u8]) -> Option<Leaf> {
    let mut at = Bytes(row);
    at.take(16 + 4)?; // topic id and partition, which the query fixed
    let offset = at.i64()?;
    let mut leaf = Leaf {
        key: Key { offset, kind, next: 0 },
        hash: leaf_hash(&[kind.line(), row]),
        event_id: Uuid::nil(),
        dead: false,
        appended_at_ms: 0,
        raw_sha256: [0; 32],
        digest: [0; 32],
    };
    match kind {
        Kind::Gap => leaf.key.next = at.i64()?,
        Kind::Letter => {
            leaf.appended_at_ms = at.i64()?;
            leaf.raw_sha256 = at.array()?;
        }
        Kind::Record => {
            leaf.appended_at_ms = at.i64()?;
            at.take(4)?;
            leaf.raw_sha256 = at.array()?;
            leaf.digest = at.array()?;
            leaf.event_id = at.uuid()?;
            at.take(8)?;
            at.text()?; // the topic
            leaf.dead = at.text()? == b"DEAD";
        }
    }
    Some(leaf)
}
