//! Records of one partition as they came: one arena of bytes and their coordinates.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tally_schemas::{WriterId, split};

/// A Kafka header: name and value.
pub(crate) type Header = (String, Option<Vec<u8>>);

/// One record, borrowed from whoever holds it.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    /// Kafka offset.
    pub(crate) offset: i64,
    /// Kafka timestamp, milliseconds; negative where there is none.
    pub(crate) appended_at_ms: i64,
    /// Key.
    pub(crate) key: Option<&'a [u8]>,
    /// Value.
    pub(crate) value: Option<&'a [u8]>,
    /// Headers.
    pub(crate) headers: Vec<Header>,
}

#[derive(Debug)]
struct Entry {
    offset: i64,
    appended_at_ms: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    /// What its frame names; `None` where there is no frame.
    writer: Option<WriterId>,
}

/// Consecutive records of one partition: every offset in [first, next) is either here or absent from the log.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    first: i64,
    next: i64,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<(usize, Vec<Header>)>,
    header_bytes: usize,
    held: Option<Held>,
}

/// Bytes that are held in slabs, of all lanes together; given back when a slab is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    held: Arc<AtomicUsize>,
    bytes_max: usize,
}

#[derive(Debug)]
struct Held {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// From so many bytes on nothing more is taken.
    pub(crate) fn new(bytes_max: usize) -> Budget {
        Budget { held: Arc::default(), bytes_max }
    }

    /// Bytes now held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether more may be taken.
    pub(crate) fn has_room(&self) -> bool {
        self.held() <= self.bytes_max
    }
}

/// Without a limit.
impl Default for Budget {
    fn default() -> Budget {
        Budget::new(usize::MAX)
    }
}

impl Held {
    fn shrink_to(&mut self, bytes: usize) {
        let given_back = self.bytes.saturating_sub(bytes);
        self.budget.held.fetch_sub(given_back, Ordering::Relaxed);
        self.bytes -= given_back;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Slab {
    /// An empty slab that expects offset `first`, accounted for in `budget`.
    pub(crate) fn new(first: i64, budget: &Budget) -> Slab {
        let held = Some(Held { budget: budget.clone(), bytes: 0 });
        Slab { first, next: first, held, ..Slab::default() }
    }

    /// Takes a record. One that lies before what is expected was taken already and is passed over.
    pub(crate) fn push(&mut self, record: Record<'_>) {
        if record.offset < self.next {
            return;
        }
        let before = self.arena.len();
        let mut bytes = size_of::<Entry>();
        if !record.headers.is_empty() {
            let each = |(name, value): &Header| {
                name.len() + value.as_ref().map_or(0, Vec::len) + size_of::<Header>()
            };
            let headers: usize = record.headers.iter().map(each).sum();
            self.header_bytes += headers;
            bytes += headers;
            self.headers.push((self.entries.len(), record.headers));
        }
        let key = record.key.map(|bytes| self.keep(bytes));
        let writer = record.value.and_then(|bytes| split(bytes).ok()).map(|(writer, _)| writer); // while they are at hand
        let value = record.value.map(|bytes| self.keep(bytes));
        let Record { offset, appended_at_ms, .. } = record;
        self.entries.push(Entry { offset, appended_at_ms, key, value, writer });
        self.next = record.offset + 1;
        bytes += self.arena.len() - before;
        if let Some(held) = &mut self.held {
            held.bytes += bytes;
            held.budget.held.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.arena.len();
        self.arena.extend_from_slice(bytes);
        start..self.arena.len()
    }

    /// The log ends at `offset` for now: what lies between is absent.
    pub(crate) fn end(&mut self, offset: i64) {
        self.next = self.next.max(offset);
    }

    /// Forgets records at offsets that are settled.
    pub(crate) fn pass_over(&mut self, settled: &[(i64, i64)]) {
        if settled.is_empty() {
            return;
        }
        let is_settled = |offset: i64| settled.iter().any(|(first, next)| (*first..*next).contains(&offset));
        let mut kept_headers = std::mem::take(&mut self.headers).into_iter().peekable();
        let mut kept = Vec::with_capacity(self.entries.len());
        for (place, entry) in std::mem::take(&mut self.entries).into_iter().enumerate() {
            let headers = kept_headers.next_if(|(at, _)| *at == place).map(|(_, headers)| headers);
            if is_settled(entry.offset) {
                continue;
            }
            self.headers.extend(headers.map(|headers| (kept.len(), headers)));
            kept.push(entry);
        }
        self.entries = kept;
    }

    /// Gives the records' memory back; the range stays. `kept`: bytes of copies that go on being held for them.
    pub(crate) fn forget_records(&mut self, kept: usize) {
        let mut held = self.held.take();
        if let Some(held) = &mut held {
            held.shrink_to(kept);
        }
        *self = Slab { first: self.first, next: self.next, held, ..Slab::default() };
    }

    /// A copy of the same range with only the records at offsets that are wanted.
    pub(crate) fn part(&self, wanted: impl Fn(i64) -> bool) -> Slab {
        let mut part = Slab { first: self.first, next: self.first, ..Slab::default() };
        let places = self.offsets().enumerate().filter(|(_, offset)| wanted(*offset));
        places.filter_map(|(place, _)| self.record(place)).for_each(|record| part.push(record));
        part.end(self.next);
        part
    }

    /// First offset of the range.
    pub(crate) fn first(&self) -> i64 {
        self.first
    }

    /// The offset after the range.
    pub(crate) fn next(&self) -> i64 {
        self.next
    }

    /// Records held.
    pub(crate) fn rows(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of keys, values and headers held.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.len() + self.header_bytes
    }

    /// True when there is neither a record nor an absent offset.
    pub(crate) fn is_empty(&self) -> bool {
        self.first == self.next
    }

    /// Offsets, ascending.
    pub(crate) fn offsets(&self) -> impl ExactSizeIterator<Item = i64> {
        self.entries.iter().map(|e| e.offset)
    }

    /// Kafka timestamps, milliseconds.
    pub(crate) fn appended_at_ms(&self) -> impl ExactSizeIterator<Item = i64> {
        self.entries.iter().map(|e| e.appended_at_ms)
    }

    /// Values.
    pub(crate) fn values(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        self.entries.iter().map(|e| self.slice(e.value.as_ref()))
    }

    /// The writers that the frames name.
    pub(crate) fn writers(&self) -> impl ExactSizeIterator<Item = Option<WriterId>> {
        self.entries.iter().map(|e| e.writer)
    }

    /// The record at a place, 0 for the first.
    pub(crate) fn record(&self, place: usize) -> Option<Record<'_>> {
        let entry = self.entries.get(place)?;
        let headers = self.headers.binary_search_by_key(&place, |(at, _)| *at);
        let headers = headers.ok().and_then(|at| self.headers.get(at)).map(|(_, headers)| headers.clone());
        Some(Record {
            offset: entry.offset,
            appended_at_ms: entry.appended_at_ms,
            key: self.slice(entry.key.as_ref()),
            value: self.slice(entry.value.as_ref()),
            headers: headers.unwrap_or_default(),
        })
    }

    fn slice(&self, range: Option<&Range<usize>>) -> Option<&[u8]> {
        range.map(|range| self.arena.get(range.clone()).unwrap_or_default())
    }

    /// Ranges [first, next) within this slab at which no record stands, less those that are settled.
    pub(crate) fn absent(&self, settled: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let mut present: Vec<(i64, i64)> = self.entries.iter().map(|e| (e.offset, e.offset + 1)).collect();
        present.extend_from_slice(settled);
        present.sort_unstable();
        let mut absent = Vec::new();
        let mut at = self.first;
        for (first, next) in present {
            if first > at && at < self.next {
                absent.push((at, first.min(self.next)));
            }
            at = at.max(next);
        }
        if at < self.next {
            absent.push((at, self.next));
        }
        absent
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Record, Slab};

    fn record(offset: i64, named: bool) -> Record<'static> {
        let headers =
            if named { vec![("h".to_owned(), Some(offset.to_string().into_bytes()))] } else { vec![] };
        Record { offset, appended_at_ms: 7, key: Some(b"key"), value: Some(b"value"), headers }
    }

    /// Scenario: records with holes between them, a repeat, an end beyond the last one, and receipts for some.
    /// Guarantees: holes are exactly the offsets neither present nor settled; headers stay with their record, also in a
    /// part of the slab.
    #[test]
    fn holes_and_receipts() {
        let budget = Budget::default();
        let mut slab = Slab::new(10, &budget);
        for offset in [11, 12, 12, 15, 16] {
            slab.push(record(offset, offset % 2 == 0));
        }
        slab.end(20);
        assert_eq!(slab.offsets().collect::<Vec<_>>(), [11, 12, 15, 16]);
        assert_eq!(slab.absent(&[]), [(10, 11), (13, 15), (17, 20)]);
        let settled = [(12, 14), (18, 30)];
        slab.pass_over(&settled);
        assert_eq!(slab.offsets().collect::<Vec<_>>(), [11, 15, 16]);
        assert_eq!(slab.absent(&settled), [(10, 11), (14, 15), (17, 18)]);
        assert_eq!(slab.record(2).expect("16").headers, [("h".to_owned(), Some(b"16".to_vec()))]);
        assert!(slab.record(1).expect("15").headers.is_empty());
        let part = slab.part(|offset| offset > 11);
        assert_eq!((part.first(), part.next(), part.offsets().collect()), (10, 20, vec![15, 16]));
        assert_eq!(part.record(1).expect("16").headers, [("h".to_owned(), Some(b"16".to_vec()))]);
        assert!(budget.held() > 0);
        let before = budget.held();
        let large = vec![("h".to_owned(), Some(vec![0; 100_000]))];
        slab.push(Record { headers: large, ..record(30, false) });
        assert!(budget.held() - before > 100_000 && slab.bytes() > 100_000, "headers are held too");
        drop(slab);
        assert_eq!(budget.held(), 0);
    }
}
