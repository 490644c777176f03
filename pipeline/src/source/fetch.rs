//! Fetching from librdkafka's partition queues, thousands of records a turn.
//!
//! Through its events and not through `rd_kafka_consume_batch_queue`: up to 2.12 that counts the end of a partition as a record of it
//! (librdkafka issue 4844). Each rebalance has partitions fetched on from what was consumed last, so all that had come to their ends
//! were fetched from one offset too far: out of range while nothing was published, and else past a record.
#![expect(
    unsafe_code,
    reason = "rdkafka has no safe wrapper for events of a queue that partitions are forwarded into"
)]

use super::Partition;
use crate::slab::{Header, Record};
use rdkafka::bindings as rd;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::time::{Duration, Instant};

/// Records of one call.
const BATCH_ROWS_MAX: usize = 8192;

/// A queue into which the queues of all assigned partitions are forwarded.
#[derive(Debug)]
pub(super) struct FetchQueue {
    client: *mut rd::rd_kafka_t,
    queue: *mut rd::rd_kafka_queue_t,
}

// SAFETY: librdkafka's queues are thread-safe, and the client outlives the queue: whoever makes one holds the client.
unsafe impl Send for FetchQueue {}
// SAFETY: as above.
unsafe impl Sync for FetchQueue {}

/// What a partition's queue gave.
#[derive(Clone)]
pub(super) enum Delivery<'a> {
    /// A record.
    Record(Record<'a>),
    /// The log ends here for now: no record below this offset is outstanding.
    End(i64),
    /// The partition cannot be fetched; librdkafka's code and text.
    Error(rd::rd_kafka_resp_err_t, String),
}

impl FetchQueue {
    /// A queue of that client.
    pub(super) fn new(client: *mut rd::rd_kafka_t) -> FetchQueue {
        // SAFETY: `client` is a live handle.
        let queue = unsafe { rd::rd_kafka_queue_new(client) };
        FetchQueue { client, queue }
    }

    /// Forwards a partition's queue into this one. Called before the partition is assigned, and after [`FetchQueue::hold`]:
    /// what has been fetched meanwhile comes first.
    pub(super) fn adopt(&self, topic: &str, partition: i32) {
        self.forward(topic, partition, self.queue);
    }

    /// Leaves what is fetched of a partition in its own queue. librdkafka fetches on until that queue is full.
    pub(super) fn hold(&self, topic: &str, partition: i32) {
        self.forward(topic, partition, ptr::null_mut());
    }

    fn forward(&self, topic: &str, partition: i32, to: *mut rd::rd_kafka_queue_t) {
        let Ok(name) = CString::new(topic) else { return };
        // SAFETY: client and queue are live, `name` outlives the call, and the reference taken is given back.
        unsafe {
            let source = rd::rd_kafka_queue_get_partition(self.client, name.as_ptr(), partition);
            if !source.is_null() {
                rd::rd_kafka_queue_forward(source, to);
                rd::rd_kafka_queue_destroy(source);
            }
        }
    }

    /// Waits up to `wait` for records and hands them over run by run: `visit` gets a topic, a partition and the
    /// deliveries that stand there in a row. Returns how many there were.
    pub(super) fn fetch(
        &self,
        wait: Duration,
        visit: impl FnMut(&str, i32, &mut dyn Iterator<Item = Delivery<'_>>),
    ) -> usize {
        hand_over(self.take(wait, BATCH_ROWS_MAX), visit)
    }

    /// The same, but what is there is handed over at once: [`FetchQueue::fetch`] spends all of `wait` hoping for a full
    /// batch, which is good for throughput and bad for whoever waits for one record.
    pub(super) fn fetch_first(
        &self,
        wait: Duration,
        visit: impl FnMut(&str, i32, &mut dyn Iterator<Item = Delivery<'_>>),
    ) -> usize {
        let mut batch = self.take(wait, 1);
        if !batch.is_empty() {
            batch.append(&mut self.take(Duration::ZERO, BATCH_ROWS_MAX - 1));
        }
        hand_over(batch, visit)
    }

    /// Takes up to `rows_max` events, waiting for them until `wait` is over.
    fn take(&self, wait: Duration, rows_max: usize) -> Vec<Taken> {
        let (mut batch, until) = (Vec::new(), Instant::now() + wait);
        // SAFETY: the queue is live.
        let poll = |wait_ms| unsafe { rd::rd_kafka_queue_poll(self.queue, wait_ms) };
        while batch.len() < rows_max {
            let mut event = poll(0); // looks at fewer clocks
            if event.is_null() {
                let rest = until.saturating_duration_since(Instant::now());
                event = poll(i32::try_from(rest.as_millis()).unwrap_or(i32::MAX));
            }
            if event.is_null() {
                break;
            }
            // SAFETY: the event was just taken, and is nobody else's.
            batch.extend(unsafe { Taken::new(event) });
        }
        batch
    }
}

/// What an event of the queue says.
enum Taken {
    /// A record; the message lives as long as its event.
    Message { message: *const rd::rd_kafka_message_t, _event: Event },
    /// The end of a partition, or what is wrong with it.
    Beside(Partition, Delivery<'static>),
}

/// An event that is destroyed once.
struct Event(*mut rd::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: whoever made it owned the event.
        unsafe { rd::rd_kafka_event_destroy(self.0) };
    }
}

impl Taken {
    /// `None` where the event is of no partition.
    ///
    /// # Safety
    /// `event` is live and the caller's own.
    unsafe fn new(event: *mut rd::rd_kafka_event_t) -> Option<Taken> {
        let own = Event(event);
        // SAFETY: the event is live.
        if unsafe { rd::rd_kafka_event_type(event) } == rd::RD_KAFKA_EVENT_FETCH {
            // SAFETY: the event is live; of a fetch it has one message, and the first call gives it.
            let message = unsafe { rd::rd_kafka_event_message_next(event) };
            return (!message.is_null()).then_some(Taken::Message { message, _event: own });
        }
        // SAFETY: the event is live; what is given is the caller's own and is given back below.
        let place = unsafe { rd::rd_kafka_event_topic_partition(event) };
        if place.is_null() {
            // SAFETY: the event is live, and its name is a C string that nobody frees.
            let name = unsafe { CStr::from_ptr(rd::rd_kafka_event_name(event)) };
            tracing::debug!(event = %name.to_string_lossy(), "an event of no partition is passed over");
            return None;
        }
        // SAFETY: the event and the place are live, and their texts are C strings or null.
        let (code, said, at, offset) = unsafe {
            let text = |text: *const c_char| match text.is_null() {
                true => String::new(),
                false => CStr::from_ptr(text).to_string_lossy().into_owned(),
            };
            let (code, said) =
                (rd::rd_kafka_event_error(event), text(rd::rd_kafka_event_error_string(event)));
            let at = Partition { topic: text((*place).topic), number: (*place).partition };
            let offset = (*place).offset;
            rd::rd_kafka_topic_partition_destroy(place);
            (code, said, at, offset)
        };
        match code {
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => None,
            rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Some(Taken::Beside(at, Delivery::End(offset)))
            }
            code => Some(Taken::Beside(at, Delivery::Error(code, said))),
        }
    }

    /// Whether both are records of one partition.
    fn is_of_one_run(&self, other: &Taken) -> bool {
        let (Taken::Message { message: one, .. }, Taken::Message { message: other, .. }) = (self, other)
        else {
            return false;
        };
        // SAFETY: both events, and so both messages, are live.
        let (one, other) = unsafe { (&**one, &**other) };
        (one.rkt, one.partition) == (other.rkt, other.partition)
    }
}

/// Hands over what was taken, run by run.
fn hand_over(
    batch: Vec<Taken>,
    mut visit: impl FnMut(&str, i32, &mut dyn Iterator<Item = Delivery<'_>>),
) -> usize {
    for run in batch.chunk_by(Taken::is_of_one_run) {
        match run {
            [Taken::Beside(at, delivery), ..] => {
                visit(&at.topic, at.number, &mut std::iter::once(delivery.clone()));
            }
            [Taken::Message { message: first, .. }, ..] => {
                // SAFETY: the events of the run, and so their messages and the topic, are live; its name is a C string.
                let (name, partition) = unsafe {
                    let first = &**first;
                    (CStr::from_ptr(rd::rd_kafka_topic_name(first.rkt)), first.partition)
                };
                let mut records = run.iter().filter_map(|one| match one {
                    // SAFETY: the message is live for as long as the batch is.
                    Taken::Message { message, .. } => Some(Delivery::Record(unsafe { record(&**message) })),
                    Taken::Beside(..) => None,
                });
                visit(&name.to_string_lossy(), partition, &mut records);
            }
            [] => {}
        }
    }
    batch.len()
}

impl Drop for FetchQueue {
    fn drop(&mut self) {
        // SAFETY: made in `new`, given back once.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) };
    }
}

/// # Safety
/// `message` is live and is not destroyed while the record is in use.
unsafe fn record(message: &rd::rd_kafka_message_t) -> Record<'_> {
    let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is live, and pointers and lengths are its own.
    unsafe {
        Record {
            offset: message.offset,
            appended_at_ms: rd::rd_kafka_message_timestamp(message, &raw mut kind),
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
            headers: headers(message),
        }
    }
}

/// # Safety
/// `data` is null or points to `length` bytes that outlive `'a`.
unsafe fn bytes<'a>(data: *const c_void, length: usize) -> Option<&'a [u8]> {
    if data.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(data.cast(), length) })
}

/// # Safety
/// `message` is live.
unsafe fn headers(message: &rd::rd_kafka_message_t) -> Vec<Header> {
    let mut list = ptr::null_mut();
    // SAFETY: the message is live; the list it gives lives as long.
    let found = unsafe { rd::rd_kafka_message_headers(message, &raw mut list) };
    let mut headers = Vec::new();
    if found != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return headers;
    }
    loop {
        let (mut name, mut value, mut length): (*const c_char, *const c_void, usize) =
            (ptr::null(), ptr::null(), 0);
        // SAFETY: the list is live and the three places are ours.
        let next = unsafe {
            rd::rd_kafka_header_get_all(list, headers.len(), &raw mut name, &raw mut value, &raw mut length)
        };
        if next != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return headers;
        }
        // SAFETY: librdkafka gives the name as a C string and the value by pointer and length.
        let (name, value) = unsafe { (CStr::from_ptr(name).to_string_lossy(), bytes(value, length)) };
        headers.push((name.into_owned(), value.map(<[u8]>::to_vec)));
    }
}
