//! Finding the rows that ClickHouse refuses, so that the others go in.

use crate::error::{Retry, StoreError};
use crate::store::Store;
use arrow_array::RecordBatch;

/// One refused row of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The row's place in the batch.
    pub row: usize,
    /// What ClickHouse said of it.
    pub said: String,
}

/// So many rows refused one by one, and none accepted, are not bad rows but a table that does not fit.
const ALL_REFUSED_ROWS: usize = 64;

/// Inserts a batch in halves until only refused rows are left over. Halves are cut at fixed places and each has a
/// token of its own, so a repeat after a crash meets the same pieces.
///
/// # Errors
/// Any error that is not about a row; what went in by then is met again by token and key.
pub async fn bisect(
    store: &Store,
    table: &str,
    token: &str,
    batch: &RecordBatch,
) -> Result<Vec<Refused>, StoreError> {
    let mut refused = Vec::new();
    let mut accepted = false;
    let mut pending = vec![(0, batch.num_rows())];
    while let Some((first, rows)) = pending.pop() {
        let piece = format!("{token}/{first}+{rows}");
        match store.insert(table, &piece, &[batch.slice(first, rows)]).await {
            Ok(()) => accepted = true,
            Err(error) if error.retry().0 != Retry::Bisect => return Err(error),
            Err(error) if rows == 1 => {
                refused.push(Refused { row: first, said: error.to_string() });
                if refused.len() > ALL_REFUSED_ROWS && !accepted {
                    return Err(StoreError::NothingFits(error.to_string()));
                }
            }
            Err(_) => {
                let half = rows / 2;
                pending.push((first + half, rows - half));
                pending.push((first, half));
            }
        }
    }
    Ok(refused)
}
