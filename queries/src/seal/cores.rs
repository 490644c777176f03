//! Work on another core, which ends with whoever waits for it.

use super::SealError;
use std::future::Future;
use tokio_util::task::AbortOnDropHandle;

/// Begins work beside the caller. Dropping the handle stops it.
pub(super) fn begin<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(work))
}

/// What became of it.
pub(super) async fn end<T>(work: AbortOnDropHandle<Result<T, SealError>>) -> Result<T, SealError> {
    match work.await {
        Ok(done) => done,
        Err(error) => Err(SealError::malformed(error)), // it panicked: fails closed
    }
}
