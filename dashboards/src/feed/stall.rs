//! How long a reader may take nothing: one rule for every stream.

use super::bell::Bell;
use super::frame::Close;
use super::settings::{BEHIND_BYTES_MAX, BEHIND_FRAMES_MAX, STALL_SECONDS_MAX};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a blocked write is looked at.
const LOOK_MS: u64 = 100;

/// Ends when a write has been blocked for so long, or so much was left behind meanwhile, that its reader is let go; or when
/// the stream must end for another reason. Begun anew with each write that takes something.
pub(super) async fn stalled(bell: &Bell) -> Close {
    let begun = Instant::now();
    let (frames_before, bytes_before) = bell.rung();
    loop {
        sleep(Duration::from_millis(LOOK_MS)).await;
        let (frames, bytes) = bell.rung();
        let behind = frames.saturating_sub(frames_before) > BEHIND_FRAMES_MAX
            || bytes.saturating_sub(bytes_before) > BEHIND_BYTES_MAX;
        if let Some(close) = bell.close() {
            return close;
        }
        if behind || begun.elapsed() >= Duration::from_secs(STALL_SECONDS_MAX) {
            return Close::SlowConsumer;
        }
    }
}
