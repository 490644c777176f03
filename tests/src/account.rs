//! What was published, held against what was stored: id by id, apart from every query of Tally's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use tally_schemas::Topic;

use crate::kcat;
use crate::stage::Stage;

/// What the publisher remembers of an event.
#[derive(Debug, Clone, Deserialize)]
pub struct Published {
    /// The contract's topic.
    pub topic: String,
    /// Partition.
    pub partition: i64,
    /// Offset.
    pub offset: i64,
    /// The event's id.
    pub event_id: String,
    /// `accept`, `duplicate`, or the reason of its dead letter.
    pub expect: String,
}

impl Published {
    /// Whether it becomes, or repeats, a fact.
    pub fn is_valid(&self) -> bool {
        self.expect == "accept" || self.expect == "duplicate"
    }

    /// Holds it against its receipt.
    fn agrees(&self, receipt: &Receipt) {
        let said = (receipt.disposition.as_str(), receipt.reason.as_str());
        assert_eq!(receipt.accounts, 1, "receipts of one offset differ: {receipt:?}");
        if self.is_valid() {
            assert_eq!((said.0, &receipt.event_id), ("ACCEPTED", &self.event_id), "{self:?}");
        } else {
            assert_eq!(said, ("DEAD", self.expect.as_str()), "{self:?}");
        }
    }
}

#[derive(Debug, Deserialize)]
struct Receipt {
    partition: i64,
    offset: i64,
    disposition: String,
    reason: String,
    event_id: String,
    accounts: u64,
}

/// The record of `tally simulate --record`.
///
/// # Panics
/// When it cannot be read.
pub fn read(record: &Path) -> Vec<Published> {
    let text = fs::read_to_string(record).expect("the record can be read");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of the record")).collect()
}

/// Holds the tables and dead-letter topics of all contracts against what was published, id by id: every offset has one
/// disposition, every valid event one fact, every invalid one its dead letter for the expected reason, in the table and
/// in the topic, none both. Returns the numbers in words.
///
/// # Panics
/// At the first difference.
pub fn compare(stage: &Stage<'_>, published: &[Published]) -> Vec<String> {
    let of =
        |contract: Topic| published.iter().filter(|one| one.topic == contract.name()).collect::<Vec<_>>();
    Topic::ALL.into_iter().map(|contract| compare_one(stage, contract, &of(contract))).collect()
}

fn compare_one(stage: &Stage<'_>, contract: Topic, published: &[&Published]) -> String {
    let topic_id = stage.topic_id(contract);
    let stored = Stored::of(stage, contract, &topic_id);
    assert_eq!(stored.receipts.len(), published.len(), "{contract}: receipts and published events");
    let (mut valid, mut dead) = (BTreeSet::new(), BTreeSet::new());
    for one in published {
        let place = (one.partition, one.offset);
        let receipt =
            stored.receipts.get(&place).unwrap_or_else(|| panic!("{contract}: no receipt for {one:?}"));
        one.agrees(receipt);
        if one.is_valid() {
            assert_eq!(stored.facts.get(&one.event_id), Some(&1), "{contract}: facts of {one:?}");
            assert!(!stored.letters.contains_key(&place), "{contract}: row and dead letter: {one:?}");
            valid.insert(one.event_id.as_str());
        } else {
            assert_eq!(stored.letters.get(&place), Some(&one.expect), "{contract}: {one:?}");
            dead.insert(format!("{topic_id}/{}/{}", one.partition, one.offset));
        }
    }
    assert_eq!(stored.facts.len(), valid.len(), "{contract}: facts of events that nobody published");
    assert_eq!(stored.letters.len(), dead.len(), "{contract}: dead letters of nothing");
    let sent = kcat::consume(stage.kafka.bootstrap(), &format!("{}.dead", stage.topic(contract)));
    let sent: BTreeSet<String> = sent
        .into_iter()
        .filter_map(|record| record.key)
        .map(|key| String::from_utf8(key).expect("coordinates are text"))
        .filter(|key| key.starts_with(&topic_id)) // the name may have been another topic's before
        .collect();
    assert_eq!(sent, dead, "{contract}: the dead-letter topic");
    format!(
        "{contract}: {} offsets, {} facts, {} dead letters",
        published.len(),
        stored.facts.len(),
        dead.len()
    )
}

/// Holds what was taken of a topic that is gone against what was published to it: it may be any part, but each receipt, fact and dead
/// letter is that of a record, and none of them is there twice. Returns the number of receipts in words.
///
/// # Panics
/// At the first difference.
pub fn compare_gone(stage: &Stage<'_>, contract: Topic, topic_id: &str, published: &[Published]) -> String {
    let stored = Stored::of(stage, contract, topic_id);
    let by_place: HashMap<_, _> = published.iter().map(|one| ((one.partition, one.offset), one)).collect();
    let of = |place: &(i64, i64)| {
        *by_place.get(place).unwrap_or_else(|| panic!("{contract}: nothing was at {place:?}"))
    };
    for (place, receipt) in &stored.receipts {
        of(place).agrees(receipt);
        // a receipt is written last
        match receipt.disposition.as_str() {
            "ACCEPTED" => {
                assert!(stored.facts.contains_key(&receipt.event_id), "{contract}: no fact of {receipt:?}")
            }
            _ => assert_eq!(stored.letters.get(place), Some(&receipt.reason), "{contract}: {receipt:?}"),
        }
    }
    for (place, reason) in &stored.letters {
        assert_eq!(reason, &of(place).expect, "{contract}: dead letter at {place:?}");
    }
    let valid: BTreeSet<&str> =
        published.iter().filter(|one| one.is_valid()).map(|one| one.event_id.as_str()).collect();
    for (id, facts) in &stored.facts {
        assert!(valid.contains(id.as_str()) && *facts == 1, "{contract}: {facts} facts of {id}");
    }
    format!("{contract}, gone: {} of {} offsets", stored.receipts.len(), published.len())
}

/// What is stored of one topic.
struct Stored {
    receipts: HashMap<(i64, i64), Receipt>,
    letters: BTreeMap<(i64, i64), String>,
    /// How often each event is there, by its id.
    facts: HashMap<String, u64>,
}

impl Stored {
    fn of(stage: &Stage<'_>, contract: Topic, topic_id: &str) -> Stored {
        // Not deduplicated by the engine: repeats of a receipt must agree in everything.
        let receipts: Vec<Receipt> = stage.database.rows(&format!(
            "SELECT partition, offset, any(toString(a.disposition)) AS disposition, any(a.reason) AS reason, \
             any(toString(a.event_id)) AS event_id, \
             uniqExact(a.disposition, a.reason, a.event_id, a.digest, a.raw_sha256) AS accounts \
             FROM audit_log AS a WHERE topic_id = '{topic_id}' GROUP BY partition, offset"
        ));
        let letters = triples(
            stage,
            &format!(
                "SELECT partition, offset, reason FROM dead_letters_final WHERE topic_id = '{topic_id}'"
            ),
        );
        let mut facts: HashMap<String, u64> = HashMap::new();
        for id in stage
            .database
            .query(&format!("SELECT event_id FROM {} FINAL WHERE topic_id = '{topic_id}'", contract.table()))
            .lines()
        {
            *facts.entry(id.to_owned()).or_default() += 1;
        }
        let receipts = receipts.into_iter().map(|one| ((one.partition, one.offset), one)).collect();
        Stored { receipts, letters, facts }
    }
}

fn triples(stage: &Stage<'_>, sql: &str) -> BTreeMap<(i64, i64), String> {
    let answer = stage.database.query(sql);
    let triple = |line: &str| {
        let mut fields = line.split('\t');
        let mut number = || fields.next().and_then(|field| field.parse().ok()).expect("a number");
        let place = (number(), number());
        (place, fields.next().expect("a reason").to_owned())
    };
    let triples: BTreeMap<_, _> = answer.lines().map(triple).collect();
    assert_eq!(triples.len(), answer.lines().count(), "two dead letters of one offset");
    triples
}
