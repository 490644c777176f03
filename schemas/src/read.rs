//! Reading a batch of messages of one topic: framing, schema, body, rules, digests.

use crate::columns;
use crate::contract::Topic;
use crate::decode::{Decoders, Writers};
use crate::digest::{Sha256Digest, content_digests};
use crate::reason::Fault;
use crate::validate::validate;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::filter::filter_record_batch;

/// A batch of messages of one topic, in order.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a> {
    /// The bytes as published; `None` for a null value.
    pub values: &'a [Option<&'a [u8]>],
    /// The Kafka timestamp of each, milliseconds since 1970 UTC; negative where there is none.
    pub appended_at_ms: &'a [i64],
}

/// The outcome of reading: every message is either one row or one fault.
#[derive(Clone, Debug)]
pub struct Read {
    /// The accepted events in the topic's shape.
    pub events: RecordBatch,
    /// For each row of `events`, the place of its message; ascending.
    pub places: Vec<u32>,
    /// For each row of `events`, its content digest.
    pub digests: Vec<Sha256Digest>,
    /// The refused messages by place, ascending.
    pub faults: Vec<(u32, Fault)>,
}

/// Reads the messages of one topic. Keeps its decoders between batches.
#[derive(Debug)]
pub struct Reader {
    topic: Topic,
    value_bytes_max: usize,
    decoders: Decoders,
}

impl Reader {
    /// A reader of one topic that refuses values above `value_bytes_max` bytes.
    pub fn new(topic: Topic, value_bytes_max: usize) -> Reader {
        Reader { topic, value_bytes_max, decoders: Decoders::default() }
    }

    /// Reads a batch of at most [`crate::BATCH_ROWS_MAX`] messages.
    ///
    /// # Errors
    /// Only where Arrow itself fails; nothing that stands in the messages makes it fail.
    pub fn read(&mut self, messages: Messages<'_>, writers: &Writers) -> Result<Read, ArrowError> {
        let decoded = self.decoders.decode(self.topic, messages.values, self.value_bytes_max, writers)?;
        let mut faults = decoded.faults;
        let Some(mut events) = decoded.columns else {
            let events = RecordBatch::new_empty(columns::arrow_schema(self.topic).clone());
            return Ok(Read { events, places: Vec::new(), digests: Vec::new(), faults });
        };
        let mut places = decoded.rows;
        let appended: Vec<i64> = places
            .iter()
            .map(|place| messages.appended_at_ms.get(*place as usize).copied().unwrap_or(-1))
            .collect();
        let broken = validate(self.topic, &events, &appended);
        if !broken.is_empty() {
            let mut guilty = broken.iter().map(|(row, _)| *row).peekable();
            let kept: Vec<bool> =
                (0..events.num_rows()).map(|row| guilty.next_if_eq(&row).is_none()).collect();
            for (row, fault) in broken {
                faults.extend(places.get(row).map(|place| (*place, fault)));
            }
            places =
                places.into_iter().zip(&kept).filter(|(_, kept)| **kept).map(|(place, _)| place).collect();
            events = filter_record_batch(&events, &BooleanArray::from(kept))?; // copies runs: few rows are guilty
            faults.sort_by_key(|(place, _)| *place);
        }
        let digests = content_digests(self.topic, &events);
        Ok(Read { events, places, digests, faults })
    }
}
