//! What panels said in the last seconds, and which of them the store would not answer together.

use super::answer::Answer;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An answer is good for so long.
const FRESH_MS: u64 = 5_000;
/// So many are remembered at most.
const ANSWERS_MAX: usize = 512;
/// So long panels are asked one by one after the store has refused to answer them together.
const APART_S: u64 = 600;

/// Which answer: panel, range, stretches, whose rows.
pub(super) type Key = (&'static str, i64, i64, Option<i64>, &'static str, String);

/// Answers of the last seconds: however many look at a page, or load it again, the store is asked once.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    known: Mutex<HashMap<Key, (Instant, Answer)>>,
    /// Parts of which the store would not answer several panels together, and since when.
    apart: Mutex<HashMap<&'static str, Instant>>,
}

impl Answers {
    pub(super) fn get(&self, key: &Key) -> Option<Answer> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = known.get(key)?;
        (at.elapsed() < Duration::from_millis(FRESH_MS)).then(|| answer.clone())
    }

    pub(super) fn put(&self, key: Key, answer: Answer) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < Duration::from_millis(FRESH_MS));
        if known.len() < ANSWERS_MAX {
            known.insert(key, (Instant::now(), answer));
        }
    }

    pub(super) fn set_apart(&self, part: &'static str) {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner).insert(part, Instant::now());
    }

    pub(super) fn are_together(&self, part: &str) -> bool {
        let apart = self.apart.lock().unwrap_or_else(PoisonError::into_inner);
        apart.get(part).is_none_or(|since| since.elapsed() > Duration::from_secs(APART_S))
    }
}
