//! Judging a slab: every record becomes one accepted row or one dead letter. A pure function of the bytes, the
//! schemas known, and what an earlier attempt already found dead.

use crate::slab::{Record, Slab};
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::filter::filter_record_batch;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tally_schemas::{Fault, Messages, Read, Reader, Rows, Sha256Digest, WriterId, Writers, sha256, split};
use tally_sinks::rows::{self, Coordinates, DeadLetter, Gap, Lineage, Origin};
use tally_sinks::{Inherited, Refused};
use uuid::Uuid;

/// Records that are read at once.
const READ_ROWS: usize = 4_096;

/// The accepted rows of a block, column by column.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The events.
    pub(crate) events: RecordBatch,
    /// Their coordinates.
    pub(crate) at: Coordinates,
    /// Their content digests.
    pub(crate) digests: Vec<Sha256Digest>,
}

/// A judged range [first, next) of one partition.
#[derive(Debug)]
pub(crate) struct Block {
    /// Where it comes from.
    pub(crate) origin: Origin,
    /// What was accepted.
    pub(crate) accepted: Accepted,
    /// What was refused, by offset.
    pub(crate) letters: Vec<DeadLetter>,
    /// Coordinates of the refused.
    pub(crate) dead_at: Coordinates,
    /// Offsets without a record.
    pub(crate) gaps: Vec<Gap>,
    /// Bytes of keys, values and headers.
    pub(crate) bytes: usize,
    slab: Slab,
}

/// What a lane knows beyond the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// Schemas.
    pub(crate) writers: &'a Writers,
    /// Offsets that are settled.
    pub(crate) settled: &'a [(i64, i64)],
    /// Dead letters of an earlier attempt.
    pub(crate) inherited: &'a Inherited,
}

/// Judges a slab.
///
/// # Errors
/// Only where Arrow itself fails: nothing that stands in a record makes it fail.
pub(crate) fn judge(
    origin: Origin,
    mut slab: Slab,
    reader: &mut Reader,
    known: Known<'_>,
) -> Result<Block, ArrowError> {
    slab.pass_over(known.settled);
    let gap = |(first, next)| Gap { first, next, expired: false };
    let gaps = slab.absent(known.settled).into_iter().map(gap).collect();
    let (Read { events, places, digests, faults }, raw) = read(&origin, &slab, reader, known)?;
    let table = Ledger::of(&slab, &raw);
    let at = table.coordinates(places.iter().copied());
    let dead_at = table.coordinates(faults.iter().map(|(place, _)| *place));
    let letters = faults.into_iter().filter_map(|(place, fault)| table.letter(place, fault)).collect();
    let bytes = slab.bytes();
    Ok(Block { origin, accepted: Accepted { events, at, digests }, letters, dead_at, gaps, bytes, slab })
}

/// Reads the records, a few at a time: their bytes are looked at several times, and must still be in a core's own cache
/// the last time. Returns the digest of each record's bytes beside.
fn read(
    origin: &Origin,
    slab: &Slab,
    reader: &mut Reader,
    known: Known<'_>,
) -> Result<(Read, Vec<Sha256Digest>), ArrowError> {
    let offsets: Vec<i64> = slab.offsets().collect();
    let appended_at_ms: Vec<i64> = slab.appended_at_ms().collect();
    let mut shown: Vec<Option<&[u8]>> = slab.values().collect();
    let mut raw = Vec::with_capacity(shown.len());
    let mut events = Rows::with_capacity(origin.contract, slab.rows());
    let (mut places, mut digests, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    let chunks = shown.chunks_mut(READ_ROWS).zip(offsets.chunks(READ_ROWS));
    let mut first = 0;
    for ((values, offsets), appended_at_ms) in chunks.zip(appended_at_ms.chunks(READ_ROWS)) {
        raw.extend(values.iter().map(|value| sha256(value.unwrap_or_default())));
        if !known.inherited.is_empty() {
            let dead = values.iter_mut().zip(offsets).filter(|(_, at)| known.inherited.contains_key(at));
            dead.for_each(|(value, _)| *value = None); // what was found dead is not judged again
        }
        let read = reader.read(Messages { values, appended_at_ms }, known.writers)?;
        events.append(&read.events)?;
        digests.extend(read.digests);
        places.extend(read.places.iter().map(|place| place + first));
        faults.extend(read.faults.into_iter().map(|(place, fault)| {
            let earlier = offsets.get(place as usize).and_then(|offset| known.inherited.get(offset));
            (place + first, earlier.cloned().unwrap_or(fault))
        }));
        first += u32::try_from(values.len()).unwrap_or(u32::MAX);
    }
    let events = events.finish()?;
    Ok((Read { events, places, digests, faults }, raw))
}

impl Block {
    /// First offset.
    pub(crate) fn first(&self) -> i64 {
        self.slab.first()
    }

    /// The offset after the last.
    pub(crate) fn next(&self) -> i64 {
        self.slab.next()
    }

    /// The last offset that gets a receipt.
    pub(crate) fn last_receipt(&self) -> Option<i64> {
        self.accepted.at.offsets.iter().chain(&self.dead_at.offsets).max().copied()
    }

    /// Lets go of the records and of what stands in facts alone, once no row can be refused any more: what follows needs only
    /// what goes into receipts.
    pub(crate) fn forget_facts(&mut self) {
        let letter = |letter: &DeadLetter| {
            let header =
                |(name, value): &(String, Option<Vec<u8>>)| name.len() + value.as_ref().map_or(0, Vec::len);
            let own = [&letter.key, &letter.value].into_iter().flatten().map(Vec::len).sum::<usize>();
            size_of::<DeadLetter>() + own + letter.headers.iter().map(header).sum::<usize>()
        };
        self.slab.forget_records(self.letters.iter().map(letter).sum());
        self.accepted.events = rows::attested(&self.accepted.events);
    }

    /// Names a record that an earlier run stored as a fact, without coming to its receipt, and that is refused today: to
    /// go on would make a fact and a dead letter of one offset. `stored`: offsets of facts without a receipt.
    pub(crate) fn contradiction(&self, stored: &BTreeSet<i64>) -> Option<String> {
        let letter = self.letters.iter().find(|letter| stored.contains(&letter.offset))?;
        let (offset, reason) = (letter.offset, letter.fault.reason.name());
        Some(format!(
            "offset {offset} was stored as a fact before a crash and would be refused today ({reason}): start with the \
             bounds and the registry of before until it has its receipt"
        ))
    }

    /// Of the rows that the store refuses, those that it never took: what an earlier attempt stored, before a crash or without an
    /// answer, stays a fact, whatever the store has learnt to refuse since. `stored`: offsets of facts without a receipt.
    pub(crate) fn never_stored(&self, mut refused: Vec<Refused>, stored: &BTreeSet<i64>) -> Vec<Refused> {
        let offset = |refused: &Refused| self.accepted.at.offsets.get(refused.row);
        refused.retain(|one| offset(one).is_none_or(|offset| !stored.contains(offset)));
        refused
    }

    /// Names this block's content to ClickHouse: equal tokens mean equal rows, also after a contract has changed.
    pub(crate) fn token(&self) -> String {
        let mut content = Sha256::new();
        content.update(self.accepted.digests.as_flattened());
        for offset in self.accepted.at.offsets.iter().chain(&self.dead_at.offsets) {
            content.update(offset.to_le_bytes());
        }
        let content = hex::encode(content.finalize().get(..8).unwrap_or_default());
        let Origin { topic_id, partition, .. } = self.origin;
        format!("{topic_id}/{partition}/{}-{}/{content}", self.first(), self.next())
    }

    /// Turns rows that ClickHouse refused into dead letters.
    ///
    /// # Errors
    /// Where Arrow itself fails.
    pub(crate) fn refuse(&mut self, refused: &[Refused]) -> Result<(), ArrowError> {
        let guilty: BTreeMap<usize, &Refused> = refused.iter().map(|r| (r.row, r)).collect();
        let places: Vec<i64> = self.slab.offsets().collect();
        for (row, refused) in &guilty {
            let Some(offset) = self.accepted.at.offsets.get(*row) else { continue };
            let Ok(place) = places.binary_search(offset) else { continue };
            move_row(&self.accepted.at, *row, &mut self.dead_at);
            let (Some(record), Some(raw)) = (self.slab.record(place), self.accepted.at.raw_sha256.get(*row))
            else {
                continue;
            };
            self.letters.push(letter(record, *raw, Fault::rejected_by_store(&refused.said)));
        }
        self.retain_rows(|row| !guilty.contains_key(&row))
    }

    /// Forgets every row (its offset and content digest) and every letter (its offset and no digest) of which `holds`
    /// is false. Returns how many.
    ///
    /// # Errors
    /// Where Arrow itself fails.
    pub(crate) fn retain(
        &mut self,
        holds: impl Fn(i64, Option<&Sha256Digest>) -> bool,
    ) -> Result<usize, ArrowError> {
        let before = self.accepted.digests.len() + self.letters.len();
        let rows = self.accepted.at.offsets.iter().zip(&self.accepted.digests);
        let kept: Vec<bool> = rows.map(|(offset, digest)| holds(*offset, Some(digest))).collect();
        self.retain_rows(|row| kept.get(row) == Some(&true))?;
        self.letters.retain(|letter| holds(letter.offset, None));
        let dead_at = std::mem::take(&mut self.dead_at);
        let held = dead_at.offsets.iter().enumerate().filter(|(_, offset)| holds(**offset, None));
        held.for_each(|(row, _)| move_row(&dead_at, row, &mut self.dead_at));
        Ok(before - self.accepted.digests.len() - self.letters.len())
    }

    fn retain_rows(&mut self, keep: impl Fn(usize) -> bool) -> Result<(), ArrowError> {
        let rows = self.accepted.events.num_rows();
        let kept: BooleanArray = (0..rows).map(|row| Some(keep(row))).collect();
        self.accepted.events = filter_record_batch(&self.accepted.events, &kept)?;
        let at = std::mem::take(&mut self.accepted.at);
        for row in (0..rows).filter(|row| keep(*row)) {
            move_row(&at, row, &mut self.accepted.at);
        }
        let digests = std::mem::take(&mut self.accepted.digests).into_iter().enumerate();
        self.accepted.digests = digests.filter(|(row, _)| keep(*row)).map(|(_, digest)| digest).collect();
        Ok(())
    }
}

/// Appends one row of coordinates to others.
fn move_row(from: &Coordinates, row: usize, to: &mut Coordinates) {
    to.offsets.extend(from.offsets.get(row));
    to.appended_at_ms.extend(from.appended_at_ms.get(row));
    to.raw_bytes.extend(from.raw_bytes.get(row));
    to.raw_sha256.extend(from.raw_sha256.get(row));
    let schema = from.schema.get(row).and_then(|at| from.schemas.get(usize::try_from(*at).ok()?));
    let schema = schema.map_or("", String::as_str);
    let place = to.schemas.iter().position(|s| s == schema).unwrap_or_else(|| {
        to.schemas.push(schema.to_owned());
        to.schemas.len() - 1
    });
    to.schema.push(i32::try_from(place).unwrap_or(0));
}

/// The records' coordinates, by place.
struct Ledger<'a> {
    slab: &'a Slab,
    raw: &'a [Sha256Digest],
    rows: Vec<(i64, i64, u32, Option<WriterId>)>,
}

impl Ledger<'_> {
    fn of<'a>(slab: &'a Slab, raw: &'a [Sha256Digest]) -> Ledger<'a> {
        let bytes =
            slab.values().map(|value| u32::try_from(value.map_or(0, <[u8]>::len)).unwrap_or(u32::MAX));
        let rows = slab.offsets().zip(slab.appended_at_ms()).zip(bytes.zip(slab.writers()));
        let rows = rows.map(|((offset, at_ms), (bytes, writer))| (offset, at_ms, bytes, writer)).collect();
        Ledger { slab, raw, rows }
    }

    fn coordinates(&self, places: impl Iterator<Item = u32>) -> Coordinates {
        let mut at = Coordinates::default();
        let mut schemas: BTreeMap<Option<WriterId>, i32> = BTreeMap::new();
        for place in places.map(|place| place as usize) {
            let (Some((offset, at_ms, bytes, writer)), Some(raw)) =
                (self.rows.get(place), self.raw.get(place))
            else {
                continue;
            };
            at.offsets.push(*offset);
            at.appended_at_ms.push(*at_ms);
            at.raw_bytes.push(*bytes);
            at.raw_sha256.push(*raw);
            let schema = *schemas.entry(*writer).or_insert_with(|| {
                at.schemas.push(writer.map_or(String::new(), |id| id.to_string()));
                i32::try_from(at.schemas.len() - 1).unwrap_or(0)
            });
            at.schema.push(schema);
        }
        at
    }

    fn letter(&self, place: u32, fault: Fault) -> Option<DeadLetter> {
        let place = place as usize;
        Some(letter(self.slab.record(place)?, *self.raw.get(place)?, fault))
    }
}

fn letter(record: Record<'_>, raw_sha256: Sha256Digest, fault: Fault) -> DeadLetter {
    let schema =
        record.value.and_then(|value| split(value).ok()).map_or(String::new(), |(id, _)| id.to_string());
    DeadLetter {
        offset: record.offset,
        appended_at_ms: record.appended_at_ms,
        fault,
        schema,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        lineage: lineage(&record),
        headers: record.headers,
        raw_sha256,
    }
}

/// Header of a replayed record: the replay's id.
pub const REPLAY_ID: &str = "tally-replay-id";
/// Header of a replayed record: how often it was replayed.
pub const REPLAY_ATTEMPT: &str = "tally-replay-attempt";
/// Header of a replayed record: `topic id/partition/offset` of its first publication.
pub const REPLAY_FIRST: &str = "tally-replay-first";

fn lineage(record: &Record<'_>) -> Lineage {
    let text = |name: &str| {
        let header = record.headers.iter().rfind(|(header, _)| header == name);
        header.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok())
    };
    let first = text(REPLAY_FIRST).and_then(|first| {
        let mut parts = first.splitn(3, '/');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    });
    Lineage {
        replay_id: text(REPLAY_ID).and_then(|id| id.parse().ok()).unwrap_or(Uuid::nil()),
        attempt: text(REPLAY_ATTEMPT).and_then(|n| n.parse().ok()).unwrap_or(0),
        first,
    }
}

#[cfg(test)]
mod tests;
