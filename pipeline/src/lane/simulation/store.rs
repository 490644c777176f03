//! ClickHouse in memory: reads the real Arrow batches, forgets tokens soon, and replaces rows of one key when it merges.

use super::messages::POISON;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type, Int64Type, UInt64Type};
use arrow_array::{Array, RecordBatch};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tally_schemas::{Fault, Reason};
use tally_sinks::{Receipts, StoreError, Taken};
use uuid::Uuid;

/// Topic identity, partition, offset.
pub(super) type Place = (Uuid, i32, i64);
/// Event id and content digest: the key of facts (all have one source and day).
pub(super) type Key = (Vec<u8>, Vec<u8>);

#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) key: Key,
    /// The text that tells contents apart.
    pub(super) content: String,
    pub(super) at: Place,
    pub(super) rank: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) at: Place,
    pub(super) accepted: bool,
    pub(super) reason: String,
    pub(super) key: Key,
    pub(super) raw: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) at: Place,
    pub(super) fault: Fault,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Hole {
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
    pub(super) first: i64,
    pub(super) next: i64,
    pub(super) expired: bool,
}

/// The rows of one INSERT.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    Facts(Vec<Fact>),
    Letters(Vec<Letter>),
    Gaps(Vec<Hole>),
    Receipts(Vec<Receipt>),
}

#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) facts: Vec<Fact>,
    pub(super) letters: Vec<Letter>,
    pub(super) gaps: Vec<Hole>,
    pub(super) receipts: Vec<Receipt>,
    /// What each table was given last.
    pub(super) tokens: BTreeMap<String, VecDeque<String>>,
    pub(super) tokens_max: usize,
    /// The operator's constraint, which poison breaks.
    pub(super) constraint: bool,
    pub(super) down: bool,
    /// Rises with each restart: what was under way then never happens.
    pub(super) starts: u64,
}

impl Rows {
    /// What stands in the batches of an INSERT.
    pub(super) fn read(table: &str, batches: &[RecordBatch]) -> Rows {
        let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
        match table {
            "task_events" => Rows::Facts(
                rows.map(|(batch, row)| Fact {
                    key: (bytes(batch, "event_id", row), bytes(batch, "digest", row)),
                    content: text(batch, "trace_id", row),
                    at: place(batch, row),
                    rank: column(batch, "rank").as_primitive::<UInt64Type>().value(row),
                })
                .collect(),
            ),
            "dead_letters" => Rows::Letters(
                rows.map(|(batch, row)| Letter {
                    at: place(batch, row),
                    fault: Fault {
                        reason: Reason::from_name(&text(batch, "reason", row)).expect("a reason"),
                        path: text(batch, "path", row),
                        sentence: text(batch, "sentence", row),
                    },
                })
                .collect(),
            ),
            "gaps" => Rows::Gaps(
                rows.map(|(batch, row)| Hole {
                    topic_id: id(batch, row),
                    partition: column(batch, "partition").as_primitive::<Int32Type>().value(row),
                    first: column(batch, "first").as_primitive::<Int64Type>().value(row),
                    next: column(batch, "next").as_primitive::<Int64Type>().value(row),
                    expired: column(batch, "kind").as_primitive::<Int8Type>().value(row) == 2,
                })
                .collect(),
            ),
            "audit_log" => Rows::Receipts(
                rows.map(|(batch, row)| Receipt {
                    at: place(batch, row),
                    accepted: column(batch, "disposition").as_primitive::<Int8Type>().value(row) == 1,
                    reason: text(batch, "reason", row),
                    key: (bytes(batch, "event_id", row), bytes(batch, "digest", row)),
                    raw: bytes(batch, "raw_sha256", row),
                })
                .collect(),
            ),
            other => panic!("no table {other}"),
        }
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> &'a dyn Array {
    batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}")).as_ref()
}

fn bytes(batch: &RecordBatch, name: &str, row: usize) -> Vec<u8> {
    column(batch, name).as_fixed_size_binary().value(row).to_vec()
}

fn id(batch: &RecordBatch, row: usize) -> Uuid {
    match column(batch, "topic_id").as_any_dictionary_opt() {
        None => Uuid::from_slice(&bytes(batch, "topic_id", row)).expect("16 bytes"),
        Some(ids) => {
            let key = ids.normalized_keys()[row];
            Uuid::from_slice(ids.values().as_fixed_size_binary().value(key)).expect("16 bytes")
        }
    }
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> String {
    let column = column(batch, name);
    match column.as_any_dictionary_opt() {
        None => column.as_string::<i32>().value(row).to_owned(),
        Some(texts) => texts.values().as_string::<i32>().value(texts.normalized_keys()[row]).to_owned(),
    }
}

fn place(batch: &RecordBatch, row: usize) -> Place {
    let partition = column(batch, "partition").as_primitive::<Int32Type>().value(row);
    (id(batch, row), partition, column(batch, "offset").as_primitive::<Int64Type>().value(row))
}

impl Store {
    /// One INSERT: all of it, nothing of it where its token is remembered, or a refusal.
    pub(super) fn insert(&mut self, table: &str, token: &str, rows: &Rows) -> Result<bool, StoreError> {
        let remembered = self.tokens.entry(table.to_owned()).or_default();
        if remembered.iter().any(|one| one == token) {
            return Ok(false);
        }
        if let Rows::Facts(facts) = rows
            && self.constraint
            && facts.iter().any(|fact| fact.content.starts_with(POISON))
        {
            let message = "Code: 469. DB::Exception: Constraint `no_poison` is violated".to_owned();
            return Err(StoreError::Exception { code: 469, message });
        }
        remembered.push_back(token.to_owned());
        if remembered.len() > self.tokens_max {
            remembered.pop_front();
        }
        match rows.clone() {
            Rows::Facts(more) => self.facts.extend(more),
            Rows::Letters(more) => self.letters.extend(more),
            Rows::Gaps(more) => self.gaps.extend(more),
            Rows::Receipts(more) => self.receipts.extend(more),
        }
        Ok(true)
    }

    /// Merges: of rows of one key the one of the highest rank stays, or the last one.
    pub(super) fn merge(&mut self) {
        let mut facts: BTreeMap<Key, Fact> = BTreeMap::new();
        for fact in self.facts.drain(..) {
            match facts.get(&fact.key) {
                Some(kept) if kept.rank > fact.rank => {}
                _ => drop(facts.insert(fact.key.clone(), fact)),
            }
        }
        self.facts = facts.into_values().collect();
        let receipts: BTreeMap<Place, Receipt> = self.receipts.drain(..).map(|one| (one.at, one)).collect();
        self.receipts = receipts.into_values().collect();
        let letters: BTreeMap<Place, Letter> = self.letters.drain(..).map(|one| (one.at, one)).collect();
        self.letters = letters.into_values().collect();
    }

    /// Whether an offset has its receipt, or is recorded as a gap.
    pub(super) fn is_settled(&self, at: Place) -> bool {
        self.receipts.iter().any(|receipt| receipt.at == at) || self.holes(at).next().is_some()
    }

    /// The recorded gaps that cover an offset.
    pub(super) fn holes(&self, (topic_id, partition, offset): Place) -> impl Iterator<Item = &Hole> {
        self.gaps.iter().filter(move |gap| {
            gap.topic_id == topic_id && gap.partition == partition && (gap.first..gap.next).contains(&offset)
        })
    }

    /// The first two of the three questions that a lane asks at its start: what has no receipt yet.
    pub(super) fn unattested(&self, (topic_id, partition): (Uuid, i32), from: i64) -> Receipts {
        let here = |at: &Place| at.0 == topic_id && at.1 == partition && at.2 >= from;
        let attested: BTreeSet<i64> =
            self.receipts.iter().filter(|one| here(&one.at)).map(|one| one.at.2).collect();
        let open = |at: &Place| here(at) && !attested.contains(&at.2);
        let letters = self.letters.iter().filter(|letter| open(&letter.at));
        let facts = self.facts.iter().filter(|fact| open(&fact.at));
        Receipts {
            done: Vec::new(),
            inherited: letters.map(|letter| (letter.at.2, letter.fault.clone())).collect(),
            stored: facts.map(|fact| fact.at.2).collect(),
        }
    }

    /// What was taken last below an offset.
    pub(super) fn last_receipt(&self, (topic_id, partition): (Uuid, i32), below: i64) -> Option<Taken> {
        let here = self.receipts.iter().filter(|one| one.at.0 == topic_id && one.at.1 == partition);
        let last = here.filter(|one| one.at.2 < below).max_by_key(|one| one.at.2)?;
        let raw_sha256 = last.raw.as_slice().try_into().expect("32 bytes");
        Some(Taken { offset: last.at.2, raw_sha256 })
    }

    /// The third: what has one, as ranges.
    pub(super) fn done(&self, (topic_id, partition): (Uuid, i32), from: i64) -> Vec<(i64, i64)> {
        let receipts = self.receipts.iter().filter(|one| one.at.0 == topic_id && one.at.1 == partition);
        let receipts = receipts.map(|one| (one.at.2, one.at.2 + 1)).filter(|one| one.0 >= from);
        let gaps = self.gaps.iter().filter(|gap| gap.topic_id == topic_id && gap.partition == partition);
        let gaps = gaps.map(|gap| (gap.first, gap.next)).filter(|gap| gap.1 > from);
        let all: BTreeSet<(i64, i64)> = receipts.chain(gaps).collect();
        let mut islands: Vec<(i64, i64)> = Vec::new();
        for (first, next) in all {
            match islands.last_mut() {
                Some(last) if first <= last.1 => last.1 = last.1.max(next),
                _ => islands.push((first, next)),
            }
        }
        islands
    }
}
