//! Fetching by batch from librdkafka's partition queues: one call for thousands of records.
#![expect(unsafe_code, reason = "rdkafka has no safe wrapper for rd_kafka_consume_batch_queue")]

use crate::slab::{Header, Record};
use rdkafka::bindings as rd;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::time::Duration;

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
        let batch = self.take(wait, BATCH_ROWS_MAX);
        hand_over(&batch, visit)
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
        hand_over(&batch, visit)
    }

    /// Takes up to `rows_max` messages; each of them is to be destroyed once.
    fn take(&self, wait: Duration, rows_max: usize) -> Vec<*mut rd::rd_kafka_message_t> {
        let mut batch: Vec<*mut rd::rd_kafka_message_t> = vec![ptr::null_mut(); rows_max];
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the buffer has room for as many messages as it is said to have.
        let count =
            unsafe { rd::rd_kafka_consume_batch_queue(self.queue, wait_ms, batch.as_mut_ptr(), batch.len()) };
        batch.truncate(usize::try_from(count).unwrap_or(0));
        batch
    }
}

/// Hands taken messages over run by run, and destroys them.
fn hand_over(
    batch: &[*mut rd::rd_kafka_message_t],
    mut visit: impl FnMut(&str, i32, &mut dyn Iterator<Item = Delivery<'_>>),
) -> usize {
    let home = |message: &*mut rd::rd_kafka_message_t| {
        // SAFETY: librdkafka filled the first `count` places with live messages.
        let message = unsafe { &**message };
        (message.rkt, message.partition)
    };
    for run in batch.chunk_by(|a, b| home(a) == home(b)) {
        let Some((topic, partition)) = run.first().map(home) else { continue };
        if !topic.is_null() {
            // SAFETY: the topic lives as long as its messages; its name is a C string.
            let name = unsafe { CStr::from_ptr(rd::rd_kafka_topic_name(topic)) };
            // SAFETY: each message is live until it is destroyed below.
            let mut deliveries = run.iter().map(|message| unsafe { delivery(&**message) });
            visit(&name.to_string_lossy(), partition, &mut deliveries);
        }
        for message in run {
            // SAFETY: each message is destroyed once, after its last use.
            unsafe { rd::rd_kafka_message_destroy(*message) };
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
/// `message` is live and is not destroyed while the delivery is in use.
unsafe fn delivery(message: &rd::rd_kafka_message_t) -> Delivery<'_> {
    use rd::rd_kafka_resp_err_t as Code;
    match message.err {
        Code::RD_KAFKA_RESP_ERR_NO_ERROR => {
            let mut kind = rd::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
            // SAFETY: the message is live.
            let appended_at_ms = unsafe { rd::rd_kafka_message_timestamp(message, &raw mut kind) };
            Delivery::Record(Record {
                offset: message.offset,
                appended_at_ms,
                // SAFETY: pointer and length are the message's own.
                key: unsafe { bytes(message.key, message.key_len) },
                // SAFETY: pointer and length are the message's own.
                value: unsafe { bytes(message.payload, message.len) },
                // SAFETY: the message is live.
                headers: unsafe { headers(message) },
            })
        }
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
