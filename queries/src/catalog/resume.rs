//! Taking up an answer that broke off. ClickHouse gives the rows of a query in no order, but always the same rows: facts and
//! receipts below the snapshot's bound do not change. So of a second answer each row is passed over as often as it was
//! handed on before, and what is left is what was missing.

use arrow_array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::{DataFusionError, Result};
use std::collections::HashMap;
use thiserror::Error;

/// A second answer that lacks rows of the first.
#[derive(Debug, Error)]
#[error("{0} rows that were read before are not in the second answer: the input has changed")]
struct Changed(usize);

/// The rows of one partition that were handed on, by 64-bit hashes with a seed of their own. Two different rows are taken for one
/// with a chance of 1 in 2^64 a pair, and only where an answer broke off.
pub(super) struct HandedOn {
    random: RandomState,
    rows_max: usize,
    /// All that was handed on; `None` once that were too many.
    hashes: Option<Vec<u64>>,
    /// How often each is still to be passed over.
    passed_over: HashMap<u64, u32>,
}

impl HandedOn {
    /// Nothing yet; remembers up to so many rows.
    pub(super) fn new(rows_max: usize) -> HandedOn {
        HandedOn {
            random: RandomState::with_seed(rand::random()),
            rows_max,
            hashes: Some(Vec::new()),
            passed_over: HashMap::new(),
        }
    }

    /// Rows that were handed on, as far as they are remembered.
    pub(super) fn rows(&self) -> usize {
        self.hashes.as_ref().map_or(0, Vec::len)
    }

    /// Prepares for another answer from its beginning; false where it could not be taken up.
    pub(super) fn again(&mut self) -> bool {
        let Some(hashes) = &self.hashes else { return false };
        self.passed_over.clear();
        for hash in hashes {
            *self.passed_over.entry(*hash).or_default() += 1;
        }
        true
    }

    /// What of a batch was not handed on before.
    pub(super) fn take(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let Some(known) = &mut self.hashes else { return Ok(batch) };
        let mut hashes = vec![0; batch.num_rows()];
        create_hashes(batch.columns(), &self.random, &mut hashes)?;
        let mut fresh = batch;
        if !self.passed_over.is_empty() {
            let is_fresh: Vec<bool> =
                hashes.iter().map(|hash| !pass_over(&mut self.passed_over, *hash)).collect();
            let mut mask = is_fresh.iter();
            hashes.retain(|_| mask.next().copied().unwrap_or(true));
            fresh = filter_record_batch(&fresh, &BooleanArray::from(is_fresh))?;
        }
        known.extend(hashes);
        if known.len() > self.rows_max && self.passed_over.is_empty() {
            self.hashes = None;
        }
        Ok(fresh)
    }

    /// The end of an answer.
    ///
    /// # Errors
    /// Where it lacks rows that an earlier one had.
    pub(super) fn end(&self) -> Result<()> {
        match self.passed_over.len() {
            0 => Ok(()),
            rows => Err(DataFusionError::External(Box::new(Changed(rows)))),
        }
    }
}

/// Whether that row is to be passed over; once less often from now on.
fn pass_over(counts: &mut HashMap<u64, u32>, hash: u64) -> bool {
    let Some(count) = counts.get_mut(&hash) else { return false };
    *count -= 1;
    if *count == 0 {
        counts.remove(&hash);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::HandedOn;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{RecordBatch, record_batch};

    fn batch(numbers: &[i64]) -> RecordBatch {
        let texts: Vec<String> = numbers.iter().map(|number| format!("row {number}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        record_batch!(("number", Int64, numbers.to_vec()), ("text", Utf8, texts)).expect("a batch")
    }

    fn numbers(batch: &RecordBatch) -> Vec<i64> {
        batch.column(0).as_primitive::<Int64Type>().values().to_vec()
    }

    /// Scenario: an answer breaks off after five rows, two of them equal; the second comes in another order and other batches, and
    /// breaks off too; the third is whole.
    /// Guarantees: together each row as often as the third answer has it, no more and no less.
    #[test]
    fn each_row_is_handed_on_as_often_as_it_is_there() {
        let mut handed_on = HandedOn::new(100);
        let mut all = numbers(&handed_on.take(batch(&[1, 2, 2, 3, 4])).expect("rows"));
        assert!(handed_on.again());
        all.extend(numbers(&handed_on.take(batch(&[5, 2, 4])).expect("rows")));
        assert_eq!(all, [1, 2, 2, 3, 4, 5]);
        assert!(handed_on.end().is_err(), "1, 2 and 3 have not come again");
        assert!(handed_on.again());
        for part in [&[2, 6][..], &[2, 2, 1, 5], &[4, 3, 3]] {
            all.extend(numbers(&handed_on.take(batch(part)).expect("rows")));
        }
        handed_on.end().expect("everything came again");
        all.sort_unstable();
        assert_eq!(all, [1, 2, 2, 2, 3, 3, 4, 5, 6]);
    }

    /// Scenario: more rows than are remembered.
    /// Guarantees: they pass through, and the answer cannot be taken up again.
    #[test]
    fn too_many_rows_are_not_taken_up_again() {
        let mut handed_on = HandedOn::new(3);
        assert_eq!(numbers(&handed_on.take(batch(&[1, 2, 3, 4])).expect("rows")), [1, 2, 3, 4]);
        assert_eq!(numbers(&handed_on.take(batch(&[5])).expect("rows")), [5]);
        assert!(!handed_on.again());
    }
}
