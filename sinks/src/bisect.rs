//! Finding the rows that ClickHouse refuses, so that the others go in.

use crate::error::{Retry, StoreError};
use crate::store::Store;
use arrow_array::RecordBatch;
use std::future::Future;

/// Where batches are inserted under a token: ClickHouse, or what a simulation has in its place.
pub trait Insert {
    /// Inserts the batches, which share a schema, as one INSERT: all of it or nothing.
    ///
    /// # Errors
    /// See [`StoreError::retry`]. After [`StoreError::Unanswered`] the rows may be there or not, or may come later.
    fn insert(
        &self,
        table: &str,
        token: &str,
        batches: &[RecordBatch],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Insert for Store {
    async fn insert(&self, table: &str, token: &str, batches: &[RecordBatch]) -> Result<(), StoreError> {
        Store::insert(self, table, token, batches).await
    }
}

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
    store: &impl Insert,
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
