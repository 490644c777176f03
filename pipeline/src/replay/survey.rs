//! What was found in a range of one partition, and what was done about it.

use serde::Serialize;

/// Offsets [from, to) of a partition, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
    /// Records that Kafka has there.
    pub records: u64,
    /// Records with a receipt of acceptance.
    pub accepted: u64,
    /// Records with a receipt of a dead letter.
    pub dead: u64,
    /// Records without any disposition that a lane has passed.
    pub holes: u64,
    /// Offsets that hold no record and are not recorded as a gap, though a lane has passed them.
    pub unrecorded_gap_offsets: u64,
    /// Records that no lane has committed yet: they are left to `tally ingest`.
    pub not_taken: u64,
    /// Accepted records whose fact is not in its table.
    pub facts_lost: u64,
    /// Dead letters that are not in their table.
    pub letters_lost: u64,
    /// Dead letters that would be accepted if they were published today.
    pub now_acceptable: u64,
    /// Facts and dead letters that were put back under the receipt that stands.
    pub restored: u64,
    /// Holes that now have a disposition and its row.
    pub filled: u64,
    /// Lost facts of which today's judgement says something else than their receipt, or that the store refuses: they
    /// are left alone.
    pub not_restorable: u64,
}

impl Survey {
    /// True where every offset that a lane has passed has its disposition, and every disposition its row.
    pub fn is_whole(&self) -> bool {
        let lacking = self.holes + self.unrecorded_gap_offsets + self.facts_lost + self.letters_lost;
        lacking == 0
    }

    /// True where a replay that was executed left nothing of what was lacking.
    pub fn is_mended(&self) -> bool {
        self.not_restorable == 0
    }
}
