//! In how many passes a job reads: a hash of a task's id gives its bucket, what is counted of tasks adds up over buckets, and a pass
//! over few of them keeps its groups in a small part of memory that the next one uses again.
//!
//! Only files are read so: an export has them by bucket, and a pass opens its own. ClickHouse would have to look at every row in each
//! pass, and workers share one plan.

use crate::catalog::BUCKETS;

/// Buckets [first, next) that are read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) first: i64,
    pub(super) next: i64,
}

/// All buckets at once.
pub(super) const WHOLE: Pass = Pass { first: 0, next: BUCKETS };

/// Rows that a pass reads where memory has no limit: more gain nothing, fewer cost more in plans than they save in memory.
const PASS_ROWS: u64 = 1_250_000;
/// Part of the limit for each row of a pass, bytes. A group takes some 250, but the pool gives each of about twenty operators that
/// could spill the same share, whether it needs it or not.
const ROW_BYTES_MAX: u64 = 1_536;

/// The passes over so many rows within a limit of memory in bytes.
pub(super) fn passes(rows: u64, memory_bytes_max: Option<usize>) -> Vec<Pass> {
    let limit = memory_bytes_max.map_or(u64::MAX, |bytes| (bytes as u64 / ROW_BYTES_MAX).max(1));
    let wanted = rows.div_ceil(PASS_ROWS.min(limit));
    let wanted = i64::try_from(wanted).unwrap_or(BUCKETS).clamp(1, BUCKETS);
    let edge = |number: i64| number * BUCKETS / wanted;
    (0..wanted).map(|number| Pass { first: edge(number), next: edge(number + 1) }).collect()
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, WHOLE, passes};

    /// Scenario: no rows, a few, many, more than there are buckets for; with and without a limit.
    /// Guarantees: every bucket lies in exactly one pass, none is empty, and passes grow with rows and as the limit falls.
    #[test]
    fn every_bucket_once() {
        for (rows, limit, count) in [
            (0, None, 1),
            (1_250_000, None, 1),
            (1_250_001, None, 2),
            (20_000_000, None, 16),
            (1 << 60, None, 64),
            (20_000_000, Some(512 << 20), 58),
            (240_000, Some(48_000_000), 8),
            (240_000, Some(1), 64),
        ] {
            let all = passes(rows, limit);
            assert_eq!(all.len(), count, "{rows} rows in {limit:?}");
            assert_eq!((all[0].first, all[count - 1].next), (WHOLE.first, BUCKETS));
            assert!(all.windows(2).all(|two| two[0].next == two[1].first));
            assert!(all.iter().all(|pass| pass.first < pass.next));
        }
    }
}
