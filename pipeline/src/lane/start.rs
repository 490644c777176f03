//! Where a lane starts: at the first offset without a receipt, with what retention took before it written down.

use super::Lane;
use super::outside::{Marks, Outside};
use super::state::Side;
use crate::clock;
use crate::metrics::Attested;
use std::ops::Range;
use std::time::Instant;
use tally_sinks::rows::{self, Gap, Origin};
use tally_sinks::{Receipts, StoreError, Taken};

/// Where a lane starts.
pub(super) struct Start {
    pub(super) origin: Origin,
    pub(super) next: i64,
    pub(super) receipts: Receipts,
    /// There is a backlog.
    pub(super) is_behind: bool,
    /// There is nothing to take.
    pub(super) is_at_end: bool,
    /// The last receipt before that, and when it was asked for.
    pub(super) last: Option<(i64, Instant)>,
}

impl<O: Outside> Lane<O> {
    /// Finds the first offset without a receipt and has the source fetch from there.
    pub(super) async fn start(&self) -> Result<Start, String> {
        let outside = &self.route.outside;
        let asked_at = clock::now();
        let topic_id = outside.identity(&self.partition.topic).await.map_err(|e| e.to_string())?;
        if outside.is_stale() {
            return Err("a topic was created anew; the consumer is being opened anew".to_owned());
        }
        let Marks { low, high, committed } = outside.marks(&self.partition).await?;
        // an offset committed for another identity says nothing of this topic
        let committed = committed.filter(|(_, id)| *id == Some(topic_id)).map(|(offset, _)| offset);
        let place = (topic_id, self.partition.number);
        let said = |error: StoreError| {
            let (class, remedy) = error.retry();
            self.asks_operator(Side::Read, class, || format!("{error}; {remedy}"));
            error.to_string()
        };
        let (before, from) = match committed {
            // of a store that lags nobody knows whether it lost something
            Some(committed) if !outside.may_lag() => {
                let before = outside.last_receipt(place, committed).await.map_err(said)?;
                (before, ledger_end(before, low, committed))
            }
            committed => (None, committed.unwrap_or(0)),
        };
        let receipts = outside.receipts(self.contract.table(), place, from);
        let mut receipts = receipts.await.map_err(said)?;
        receipts.inherited.append(&mut self.state.letters().of(topic_id));
        let (next, expired) = first_unsettled(from, low, committed.is_some(), &receipts.done);
        if committed.is_some_and(|committed| next < committed) {
            tracing::warn!(lane = %self.partition, next, ?committed, "the ledger lacks offsets that were committed: they are read again");
        }
        let settled =
            receipts.done.last().map_or(next, |(_, end)| next.max(*end)).max(committed.unwrap_or(0));
        let high = match high < settled {
            true => outside.marks(&self.partition).await?.high, // others may have gone on taking since it was asked for
            false => high,
        };
        if high < settled {
            return Err(format!(
                "its log ends at {high} and was taken up to {settled}: Kafka lost records, or has not yet found them again; nothing is \
                 passed over"
            ));
        }
        let taken = match before.filter(|before| before.offset + 1 == next) {
            None => outside.last_receipt(place, next).await.map_err(said)?,
            before => before,
        };
        let last = taken.as_ref().map(|taken| (taken.offset, asked_at));
        // one that lags may lack the receipts between that and the next
        let is_last = |taken: &Taken| !outside.may_lag() || taken.offset + 1 == next;
        let taken = taken.filter(|taken| taken.offset >= low && is_last(taken));
        let origin = Origin {
            contract: self.contract,
            topic: self.partition.topic.clone(),
            topic_id,
            partition: self.partition.number,
        };
        for gap in &expired {
            let was_taken = committed.is_some_and(|committed| gap.first < committed);
            let lost = if was_taken {
                "offsets were taken, the store lost them, and Kafka has them no longer"
            } else {
                "offsets expired before they were read"
            };
            tracing::error!(lane = %self.partition, first = gap.first, next = gap.next, "{lost}");
        }
        if let (Some(first), Some(last)) = (expired.first(), expired.last()) {
            self.record_expired(&origin, first.first..last.next, &expired).await.map_err(said)?;
        }
        let is_behind = high - next >= self.route.backlog_offsets_min;
        outside.hold(&self.partition, is_behind);
        let (inbox, stop) = (self.inbox.clone(), self.state.stop.clone());
        let open = move || {
            if stop.is_cancelled() {
                return None; // it waited for its turn too long: the partition is another's by now
            }
            inbox.start(next, taken);
            inbox.expected()
        };
        self.state.waiting.lock().await.is_paused = false;
        outside.fetch_from(&self.partition, open).await?;
        let (inherited, stored) = (receipts.inherited.len(), receipts.stored.len());
        tracing::info!(lane = %self.partition, %topic_id, next, low, ?committed, inherited, stored, "lane starts");
        // a crash between receipt and commit, or a log that ends here, must not leave the group behind for good
        if next > 0
            && committed.is_none_or(|committed| committed < next)
            && let Err(error) = outside.commit(&self.partition, next, topic_id, false).await
        {
            tracing::warn!(lane = %self.partition, %error, "not committed; the receipts stand"); // repeated by the first block
        }
        self.state.reach(topic_id, next);
        Ok(Start { origin, next, receipts, is_behind, is_at_end: high <= next, last })
    }

    /// Writes down what retention took, at once: the partition may stay silent, and then no block would carry it.
    async fn record_expired(
        &self,
        origin: &Origin,
        range: Range<i64>,
        gaps: &[Gap],
    ) -> Result<(), StoreError> {
        let Origin { topic_id, partition, .. } = origin;
        let token = format!("{topic_id}/{partition}/expired/{}-{}/{}", range.start, range.end, gaps.len());
        let rows = rows::gaps(origin, gaps)?;
        self.route.outside.insert("gaps", &token, &[rows]).await?;
        let offsets = gaps.iter().map(|gap| (gap.next - gap.first).unsigned_abs()).sum();
        let attested = Attested { gap_offsets: [0, offsets], next: range.end, ..Attested::default() };
        self.route.metrics.attested(&self.partition, &attested);
        Ok(())
    }
}

/// How far the ledger bears out what was committed, by the last receipt below that: what a store has lost that was brought back from
/// yesterday's backup is read again while Kafka has it.
pub(crate) fn ledger_end(last: Option<Taken>, low: i64, committed: i64) -> i64 {
    last.map_or(low.min(committed), |last| last.offset + 1)
}

/// The first offset to take, and what retention took before us. Without a commit nobody knows whether anyone ever was below
/// the first receipt: what is gone there is no loss of ours.
pub(crate) fn first_unsettled(from: i64, low: i64, committed: bool, done: &[(i64, i64)]) -> (i64, Vec<Gap>) {
    let (mut at, mut expired) = (from, Vec::new());
    let beyond = (i64::MAX, i64::MAX);
    for (first, next) in done.iter().chain([&beyond]) {
        if *first > at {
            let taken = low.min(*first);
            if at < taken {
                expired.push(Gap { first: at, next: taken, expired: true });
            }
            at = at.max(taken);
            if *first > low {
                break; // from here on it is still there
            }
        }
        at = at.max(*next);
    }
    if !committed {
        expired.retain(|gap| done.first().is_some_and(|(first, _)| gap.first >= *first));
    }
    (at, expired)
}

#[cfg(test)]
mod tests {
    use super::{Gap, first_unsettled};

    /// Scenario: a lane starts with and without receipts, with retention behind and ahead of them.
    /// Guarantees: it starts at the first offset without a receipt that is still there; what retention took counts as
    /// expired only where somebody was there before, and only where there is no receipt.
    #[test]
    fn where_a_lane_starts() {
        let expired = |ranges: &[(i64, i64)]| -> Vec<Gap> {
            ranges.iter().map(|(first, next)| Gap { first: *first, next: *next, expired: true }).collect()
        };
        assert_eq!(first_unsettled(0, 0, false, &[]), (0, vec![]));
        assert_eq!(first_unsettled(0, 40, false, &[]), (40, vec![]));
        assert_eq!(first_unsettled(0, 40, true, &[]), (40, expired(&[(0, 40)])));
        assert_eq!(first_unsettled(0, 457, false, &[(457, 479)]), (479, vec![]));
        assert_eq!(first_unsettled(0, 490, false, &[(457, 479)]), (490, expired(&[(479, 490)])));
        assert_eq!(first_unsettled(10, 10, true, &[(0, 5), (10, 20), (20, 25), (30, 40)]), (25, vec![]));
        assert_eq!(first_unsettled(10, 25, true, &[(10, 20), (20, 25), (30, 40)]), (25, vec![]));
        assert_eq!(first_unsettled(10, 30, true, &[(10, 20), (30, 40)]), (40, expired(&[(20, 30)])));
        assert_eq!(first_unsettled(10, 35, true, &[(10, 20), (30, 40)]), (40, expired(&[(20, 30)])));
        assert_eq!(
            first_unsettled(10, 50, true, &[(20, 30), (35, 40)]),
            (50, expired(&[(10, 20), (30, 35), (40, 50)]))
        );
        assert_eq!(
            first_unsettled(10, 33, true, &[(20, 30), (35, 40)]),
            (33, expired(&[(10, 20), (30, 33)]))
        );
    }
}
