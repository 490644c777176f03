//! What came in and what went out: how often each attempt of each key arrived, was executed, and how it was answered.

use super::call::Call;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// How often one attempt of one key arrived on one path, and what became of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// The `Idempotency-Key`; empty where there was none.
    pub key: String,
    /// The attempt that its header named; empty where there was none.
    pub attempt: String,
    /// The path.
    pub path: String,
    /// How often it arrived.
    pub received: u64,
    /// How often it was executed: twice where a delivery was repeated, not at all where something went wrong before.
    pub executed: u64,
    /// How often it was answered with each status; `none` where it was not: the connection ended, or the caller left.
    pub answered: BTreeMap<String, u64>,
    /// What the script had go wrong, and how often.
    pub faults: BTreeMap<String, u64>,
}

/// All receipts.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    all: Vec<Receipt>,
    places: HashMap<(Call, String, String), usize>,
}

impl Receipts {
    /// A request came; the place of its receipt.
    pub(super) fn arrived(&mut self, call: Call, key: &str, attempt: &str) -> usize {
        let of = (call, key.to_owned(), attempt.to_owned());
        let place = *self.places.entry(of).or_insert_with(|| {
            let (key, attempt, path) = (key.to_owned(), attempt.to_owned(), call.path().to_owned());
            self.all.push(Receipt { key, attempt, path, ..Receipt::default() });
            self.all.len() - 1
        });
        if let Some(receipt) = self.all.get_mut(place) {
            receipt.received += 1;
        }
        place
    }

    /// It was executed once more.
    pub(super) fn executed(&mut self, place: usize) {
        if let Some(receipt) = self.all.get_mut(place) {
            receipt.executed += 1;
        }
    }

    /// This went wrong with it.
    pub(super) fn struck(&mut self, place: usize, fault: &str) {
        if let Some(receipt) = self.all.get_mut(place) {
            *receipt.faults.entry(fault.to_owned()).or_default() += 1;
        }
    }

    /// It is answered.
    pub(super) fn answered(&mut self, place: usize, status: u16) {
        if let Some(receipt) = self.all.get_mut(place) {
            *receipt.answered.entry(status.to_string()).or_default() += 1;
        }
    }

    /// Every receipt, in the order of the first arrivals; requests without an answer so far are among `none`.
    pub(super) fn all(&self) -> Vec<Receipt> {
        let whole = |receipt: &Receipt| {
            let mut receipt = receipt.clone();
            let answered: u64 = receipt.answered.values().sum();
            if receipt.received > answered {
                receipt.answered.insert("none".to_owned(), receipt.received - answered);
            }
            receipt
        };
        self.all.iter().map(whole).collect()
    }
}
