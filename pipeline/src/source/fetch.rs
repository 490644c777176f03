//! Fetching from librdkafka's partition queues, thousands of records a turn.
//!
//! Through `rd_kafka_consume_callback_queue`. Its sister `rd_kafka_consume_batch_queue` counts the end of a partition as a record of it
//! up to librdkafka 2.12 (issue 4844): each rebalance has partitions fetched on from what was consumed last, so all that had come to
//! their ends were fetched from one offset too far. Events of the queue count right, and cost 0.4 CPU s a million records more.
#![expect(unsafe_code, reason = "rdkafka has no safe wrapper for a queue that partitions are forwarded into")]

use crate::slab::{Header, Record};
use rdkafka::bindings as rd;
use std::any::Any;
use std::ffi::{CStr, CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::time::{Duration, Instant};

/// Deliveries of one call.
const TURN_ROWS_MAX: usize = 8192;

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

    /// Hands over what comes within `wait`, but no more than is good for a turn: `visit` gets a topic, a partition and what stands
    /// there next. Deliveries of a partition come in runs. Returns how many there were.
    pub(super) fn fetch(&self, wait: Duration, visit: impl FnMut(&str, i32, Delivery<'_>)) -> usize {
        let mut turn = Turn { client: self.client, visit, count: 0, panic: None };
        let until = Instant::now() + wait;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            if self.serve(rest, &mut turn) == 0 || turn.count >= TURN_ROWS_MAX {
                return turn.end();
            }
        }
    }

    /// The same, but returns as soon as anything was there: [`FetchQueue::fetch`] stays for what else comes, which is good for
    /// throughput and bad for whoever waits for one record.
    pub(super) fn fetch_first(&self, wait: Duration, visit: impl FnMut(&str, i32, Delivery<'_>)) -> usize {
        let mut turn = Turn { client: self.client, visit, count: 0, panic: None };
        self.serve(wait, &mut turn);
        turn.end()
    }

    /// Waits for anything, hands all of it over, and says how many there were.
    fn serve<V: FnMut(&str, i32, Delivery<'_>)>(&self, wait: Duration, turn: &mut Turn<V>) -> usize {
        let before = turn.count;
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is live, and the callback is of the turn that it is given, which is borrowed for the length of the call.
        unsafe {
            rd::rd_kafka_consume_callback_queue(
                self.queue,
                wait_ms,
                Some(Turn::<V>::take),
                ptr::from_mut(turn).cast(),
            );
        }
        turn.count - before
    }
}

/// One call's deliveries.
struct Turn<V> {
    client: *mut rd::rd_kafka_t,
    visit: V,
    count: usize,
    /// Of `visit`: it must not run through librdkafka.
    panic: Option<Box<dyn Any + Send>>,
}

impl<V: FnMut(&str, i32, Delivery<'_>)> Turn<V> {
    /// What librdkafka calls for each delivery.
    ///
    /// # Safety
    /// `message` is live for the length of the call, and `turn` is a `Turn<V>` that nobody else uses.
    unsafe extern "C" fn take(message: *mut rd::rd_kafka_message_t, turn: *mut c_void) {
        // SAFETY: the caller's promise.
        let (message, turn) = unsafe { (&*message, &mut *turn.cast::<Turn<V>>()) };
        turn.count += 1;
        let visit = AssertUnwindSafe(|| {
            if !message.rkt.is_null() {
                // SAFETY: the topic lives as long as the message; its name is a C string.
                let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(message.rkt)) };
                // SAFETY: the message is live until this returns.
                (turn.visit)(&name.to_string_lossy(), message.partition, unsafe { delivery(message) });
            }
        });
        if let Err(panic) = catch_unwind(visit) {
            turn.panic.get_or_insert(panic);
        }
        if turn.count >= TURN_ROWS_MAX || turn.panic.is_some() {
            // SAFETY: the client is live. What is left goes back to where it was.
            unsafe { rd::rd_kafka_yield(turn.client) };
        }
    }

    fn end(self) -> usize {
        if let Some(panic) = self.panic {
            resume_unwind(panic);
        }
        self.count
    }
}

impl Drop for FetchQueue {
    fn drop(&mut self) {
        // SAFETY: made in `new`, given back once.
        unsafe { rd::rd_kafka_queue_destroy(self.queue) };
    }
}

/// # Safety
/// `message` is live and is not destroyed while the delivery is in use.
unsafe fn delivery(message: &rd::rd_kafka_message_t) -> Delivery<'_> {
    use rd::rd_kafka_resp_err_t as Code;
    match message.err {
        // SAFETY: the caller's promise.
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => Delivery::Record(unsafe { record(message) }),
        Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => Delivery::End(message.offset),
        code => {
            // SAFETY: the message is live; its error text is null or a C string that lives as long.
            let text = unsafe {
                let text = rd::rd_kafka_message_errstr(message);
                if text.is_null() { "".into() } else { CStr::from_ptr(text).to_string_lossy() }
            };
            Delivery::Error(code, text.into_owned())
        }
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
