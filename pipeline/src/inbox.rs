//! Where the source puts a partition's records and its lane takes them.

use crate::clock;
use crate::slab::{Budget, Record, Slab};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally_schemas::sha256;
use tally_sinks::Taken;
use tokio::sync::Notify;

/// When a block is closed: whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) linger: Duration,
}

/// A block on trial is such a part of a full one.
const TRIAL_PART: usize = 64;

/// One partition's open slab.
#[derive(Debug)]
pub(crate) struct Inbox {
    open: Mutex<Open>,
    ready: Notify,
    budget: Budget,
    limits: Limits,
    /// Of a full block such a part is one.
    part: AtomicUsize,
}

#[derive(Debug, Default)]
struct Open {
    /// `None` until the lane knows where it starts: what comes before is not taken.
    slab: Option<Slab>,
    since: Option<Instant>,
    failure: Option<Failure>,
    /// What was taken last before, until something new has come.
    taken: Option<Taken>,
    /// It came again, is what it was, and nothing can stand between it and the first that is taken now.
    is_seen: bool,
    /// Nothing came after the end of the log.
    at_end: bool,
}

impl Inbox {
    pub(crate) fn new(budget: &Budget, limits: Limits) -> Inbox {
        let open = Mutex::new(Open::default());
        Inbox { open, ready: Notify::new(), budget: budget.clone(), limits, part: AtomicUsize::new(1) }
    }

    /// Starts to take records from offset `first` on. `taken`: of what was taken before, the record that is expected first, to see
    /// whether it is still that one.
    pub(crate) fn start(&self, first: i64, taken: Option<Taken>) {
        *self.lock() = Open { slab: Some(Slab::new(first, &self.budget)), taken, ..Open::default() };
    }

    /// The offset that is expected next; `None` while nothing is taken.
    pub(crate) fn expected(&self) -> Option<i64> {
        let open = self.lock();
        let next = open.slab.as_ref().map(Slab::next)?;
        Some(open.taken.as_ref().map_or(next, |taken| taken.offset))
    }

    /// Takes no more, and forgets what was not handed over.
    pub(crate) fn close(&self) {
        *self.lock() = Open::default();
    }

    /// A run of deliveries, under one lock.
    pub(crate) fn deliver(&self, put: impl FnOnce(&mut dyn FnMut(Put<'_>))) {
        let mut open = self.lock();
        let Open { slab: Some(slab), since, failure, taken, is_seen, at_end } = &mut *open else { return };
        put(&mut |one| {
            *at_end = matches!(one, Put::End(_));
            match one {
                Put::Record(record) => {
                    if taken.take_if(|_| record.offset >= slab.first()).is_none()
                        && let Some(before) = taken
                    {
                        if contradicts(&record, before) {
                            *failure = Some(Failure::Rewritten(record.offset));
                        } else if record.offset == before.offset && before.offset + 1 == slab.first() {
                            *is_seen = true;
                        }
                    }
                    slab.push(record);
                }
                Put::End(offset) => slab.end(offset),
                Put::Failure(said) => *failure = failure.take().or(Some(Failure::Fetch(said))),
            }
        });
        if !slab.is_empty() || failure.is_some() {
            since.get_or_insert_with(clock::now);
            self.ready.notify_one();
        } else if taken.is_some() && (*is_seen || *at_end) {
            self.ready.notify_one(); // somebody may only wait for that
        }
    }

    /// Waits until what was taken last before is seen to be what it was, or nothing stands in its place any more.
    pub(crate) async fn seen(&self) -> Result<(), Failure> {
        loop {
            {
                let mut open = self.lock();
                if let Some(said) = open.failure.take() {
                    return Err(said);
                }
                if open.taken.is_none() || open.is_seen || open.at_end {
                    return Ok(());
                }
            }
            self.ready.notified().await;
        }
    }

    /// Bytes that are held by all inboxes and blocks, and whether there is room for more.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// True where the log ends at what was delivered.
    pub(crate) fn is_at_end(&self) -> bool {
        self.lock().at_end
    }

    /// Whether a slab was closed because it was full.
    pub(crate) fn is_full(&self, slab: &Slab) -> bool {
        let part = self.part.load(Ordering::Relaxed);
        slab.rows() >= self.limits.rows_max.div_ceil(part) || slab.bytes() >= self.limits.bytes_max / part
    }

    /// Blocks are little from now on: the next is to show whether it can be written, and takes the memory of others until then.
    pub(crate) fn shrink(&self) {
        self.part.store(TRIAL_PART, Ordering::Relaxed);
    }

    /// One was written: the next may be twice as large.
    pub(crate) fn grow(&self) {
        let part = self.part.load(Ordering::Relaxed);
        self.part.store((part / 2).max(1), Ordering::Relaxed);
    }

    /// Waits for a block's worth: rows, bytes or linger; `whole`: rows, bytes or all to the end of the log, however long that
    /// takes.
    pub(crate) async fn ready(&self, whole: bool) -> Result<(), Failure> {
        loop {
            let wait = {
                let mut open = self.lock();
                if let Some(said) = open.failure.take() {
                    return Err(said);
                }
                let is_full = open.slab.as_ref().is_some_and(|slab| self.is_full(slab));
                let waited = open.since.map(|since| clock::now().saturating_duration_since(since));
                let left = waited.map(|waited| self.limits.linger.saturating_sub(waited));
                let is_over =
                    if whole { open.at_end && left.is_some() } else { left == Some(Duration::ZERO) };
                if is_full || is_over {
                    return Ok(());
                }
                left.filter(|_| !whole)
            };
            match wait {
                None => self.ready.notified().await,
                Some(left) => drop(clock::within(left, self.ready.notified()).await),
            }
        }
    }

    /// Waits until there is a full block, or what ends the wait for one.
    pub(crate) async fn full(&self) {
        let is_over = || {
            let open = self.lock();
            open.failure.is_some() || open.slab.as_ref().is_some_and(|slab| self.is_full(slab))
        };
        while !is_over() {
            self.ready.notified().await;
        }
    }

    /// Hands over all that has come; nothing of another log.
    pub(crate) fn take(&self) -> Result<Slab, Failure> {
        let mut open = self.lock();
        if let Some(rewritten) = open.failure.take_if(|failure| matches!(failure, Failure::Rewritten(_))) {
            return Err(rewritten);
        }
        open.since = None;
        let closed = || Failure::Fetch("the inbox was closed".to_owned());
        let slab = open.slab.as_mut().ok_or_else(closed)?;
        let fresh = Slab::new(slab.next(), &self.budget);
        Ok(std::mem::replace(slab, fresh))
    }

    /// Since when the oldest record waits here.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.lock().since
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One delivery.
pub(crate) enum Put<'a> {
    Record(Record<'a>),
    End(i64),
    Failure(String),
}

/// Whether another record stands where one was taken, or one where there was none: what lies between that and the first to be taken now
/// was recorded as holding no record.
fn contradicts(record: &Record<'_>, taken: &Taken) -> bool {
    let is_other = || taken.raw_sha256 != sha256(record.value.unwrap_or_default());
    record.offset > taken.offset || record.offset == taken.offset && is_other()
}

/// Why nothing more can be taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The partition cannot be fetched.
    Fetch(String),
    /// At this offset stands another record than the one that was taken.
    Rewritten(i64),
}

#[cfg(test)]
mod tests {
    use super::{Failure, Inbox, Limits, Ordering, Put};
    use crate::slab::{Budget, Record};
    use std::time::Duration;
    use tally_schemas::sha256;
    use tally_sinks::Taken;

    const LIMITS: Limits = Limits { rows_max: 1, bytes_max: 1 << 20, linger: Duration::ZERO };

    fn record(offset: i64, value: &[u8]) -> Put<'_> {
        let value = Some(value);
        Put::Record(Record { offset, appended_at_ms: 0, key: None, value, headers: Vec::new() })
    }

    /// Scenario: a lane that took offset 9, and recorded 10 and 11 as holding no record, goes on at 12. 9 is what it was, is gone (as by
    /// compaction), comes again and after one from before it, is another record, or stands before a record at 11.
    /// Guarantees: it is looked for first and not taken twice; another record in its place, or one where there was none, stops the lane.
    #[tokio::test]
    async fn what_was_taken_last_is_seen_again() {
        type Delivered = &'static [(i64, &'static [u8])];
        let cases: [(Delivered, Result<i64, Failure>); 5] = [
            (&[(9, b"nine"), (12, b"twelve")], Ok(13)),
            (&[(12, b"twelve")], Ok(13)),
            (&[(8, b"eight"), (9, b"nine"), (9, b"nine"), (12, b"twelve"), (9, b"nine")], Ok(13)),
            (&[(9, b"another"), (12, b"twelve")], Err(Failure::Rewritten(9))),
            (&[(9, b"nine"), (11, b"eleven"), (12, b"twelve")], Err(Failure::Rewritten(11))),
        ];
        for (records, expected) in cases {
            let inbox = Inbox::new(&Budget::default(), LIMITS);
            inbox.start(12, Some(Taken { offset: 9, raw_sha256: sha256(b"nine") }));
            assert_eq!(inbox.expected(), Some(9));
            inbox.deliver(|put| records.iter().for_each(|(offset, value)| put(record(*offset, value))));
            let ready = inbox.ready(false).await.and_then(|()| Ok(inbox.take()?.next()));
            assert_eq!(ready, expected);
            if expected.is_ok() {
                assert_eq!(inbox.expected(), Some(13));
            }
        }
    }

    /// Scenario: nothing new comes after what was taken last; that is what it was, is gone, is another record, or stands before offsets that
    /// were recorded as holding none; or nothing comes.
    /// Guarantees: who waits to know learns it from the first three, from the fourth at the end of the log, and waits on in the last.
    #[tokio::test]
    async fn what_was_taken_last_is_waited_for() {
        type Delivered = &'static [(i64, &'static [u8])];
        type Answer = Option<Result<(), Failure>>; // `None`: none yet
        let cases: [(i64, Delivered, bool, Answer); 7] = [
            (10, &[(9, b"nine")], false, Some(Ok(()))),
            (10, &[], true, Some(Ok(()))),
            (10, &[(9, b"another")], true, Some(Err(Failure::Rewritten(9)))),
            (12, &[(9, b"nine")], false, None),
            (12, &[(9, b"nine")], true, Some(Ok(()))),
            (10, &[(8, b"eight")], false, None),
            (10, &[], false, None),
        ];
        for (first, records, is_at_end, expected) in cases {
            let inbox = Inbox::new(&Budget::default(), LIMITS);
            inbox.start(first, Some(Taken { offset: 9, raw_sha256: sha256(b"nine") }));
            let deliver = async {
                inbox.deliver(|put| {
                    records.iter().for_each(|(offset, value)| put(record(*offset, value)));
                    if is_at_end {
                        put(Put::End(first));
                    }
                });
            };
            let waiting = tokio::time::timeout(Duration::from_millis(50), inbox.seen());
            assert_eq!(tokio::join!(waiting, deliver).0.ok(), expected, "{records:?}");
        }
        let inbox = Inbox::new(&Budget::default(), LIMITS);
        inbox.start(12, None);
        assert_eq!(inbox.seen().await, Ok(()), "nothing was taken before");
    }

    /// Scenario: the end of the log is told before the record at 12, which was passed over; it comes after all.
    /// Guarantees: that is no other record where there was none: nothing was recorded of 12 yet.
    #[tokio::test]
    async fn what_comes_late_is_no_other_record() {
        let inbox = Inbox::new(&Budget::default(), LIMITS);
        inbox.start(12, Some(Taken { offset: 9, raw_sha256: sha256(b"nine") }));
        inbox.deliver(|put| put(Put::End(13)));
        let late: [(i64, &[u8]); 3] = [(9, b"nine"), (12, b"twelve"), (13, b"thirteen")];
        inbox.deliver(|put| late.iter().for_each(|(offset, value)| put(record(*offset, value))));
        assert_eq!(inbox.ready(false).await, Ok(()));
    }

    /// Scenario: a block waits to be taken, and before it is another record comes where the one that was taken last should be.
    /// Guarantees: nothing of that log is handed over.
    #[tokio::test]
    async fn nothing_of_another_log_is_handed_over() {
        let inbox = Inbox::new(&Budget::default(), LIMITS);
        inbox.start(12, Some(Taken { offset: 9, raw_sha256: sha256(b"nine") }));
        inbox.deliver(|put| put(Put::End(13)));
        inbox.deliver(|put| put(record(9, b"another")));
        assert_eq!(inbox.take().err(), Some(Failure::Rewritten(9)));
    }

    /// Scenario: a block of 64 rows and one of 64 times the bytes; after something failed, and after six blocks were written.
    /// Guarantees: the next is full with the 64th part of either, and the seventh is a full one again.
    #[test]
    fn blocks_are_little_until_one_is_written() {
        for limits in [
            Limits { rows_max: 64, bytes_max: usize::MAX, ..LIMITS },
            Limits { rows_max: usize::MAX, bytes_max: 64 * 4, ..LIMITS },
        ] {
            let inbox = Inbox::new(&Budget::default(), limits);
            inbox.start(0, None);
            inbox.deliver(|put| put(record(0, b"four")));
            let slab = inbox.take().expect("a slab");
            assert!(!inbox.is_full(&slab));
            inbox.shrink();
            assert!(inbox.is_full(&slab));
            (0..6).for_each(|_| inbox.grow());
            assert_eq!(inbox.part.load(Ordering::Relaxed), 1);
            assert!(!inbox.is_full(&slab));
        }
    }
}
