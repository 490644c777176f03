//! From framed messages to Arrow columns of the newest contract.

use crate::columns::shape;
use crate::contract::Topic;
use crate::framing::{self, WriterId};
use crate::reason::{Fault, Reason};
use crate::writer::Writer;
use arrow_array::RecordBatch;
use arrow_avro::reader::Decoder;
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of the writers of one topic. A snapshot: reading is a pure function of it and of the bytes.
#[derive(Clone, Debug, Default)]
pub struct Writers {
    known: BTreeMap<WriterId, Result<Arc<Writer>, Fault>>,
}

impl Writers {
    /// Adds a writer, or what is wrong with every message of it.
    pub fn insert(&mut self, id: WriterId, writer: Result<Arc<Writer>, Fault>) {
        self.known.insert(id, writer);
    }

    /// True when messages of that writer can be judged.
    pub fn contains(&self, id: WriterId) -> bool {
        self.known.contains_key(&id)
    }

    /// The writer of that id.
    pub fn get(&self, id: WriterId) -> Option<&Result<Arc<Writer>, Fault>> {
        self.known.get(&id)
    }

    fn writer(&self, id: WriterId) -> Result<&Arc<Writer>, Fault> {
        match self.known.get(&id) {
            Some(Ok(writer)) => Ok(writer),
            Some(Err(fault)) => Err(fault.clone()),
            None => Err(Fault::new(Reason::UnknownSchema, "", format!("no schema is known for {id}"))),
        }
    }
}

/// The columns of the sound messages, and the faults of the others.
pub(crate) struct Decoded {
    /// One row per sound message, in the order of the input; `None` when there is none.
    pub(crate) columns: Option<RecordBatch>,
    /// For each row, its place in the input.
    pub(crate) rows: Vec<u32>,
    /// Place in the input and fault, ascending.
    pub(crate) faults: Vec<(u32, Fault)>,
}

/// Decoders that wait for the next block; a topic has few writers at a time, whatever its registry has seen.
const IDLE_DECODERS_MAX: usize = 16;

/// The decoders of one lane, kept between blocks.
#[derive(Debug, Default)]
pub(crate) struct Decoders {
    /// Each with the writer it was built for, since an id may come to stand for another one. Latest use last.
    idle: Vec<(Arc<Writer>, Decoder)>,
}

impl Decoders {
    /// Decodes what can be decoded; nothing that stands in `values` can spoil its neighbours.
    pub(crate) fn decode(
        &mut self,
        topic: Topic,
        values: &[Option<&[u8]>],
        value_bytes_max: usize,
        writers: &Writers,
    ) -> Result<Decoded, ArrowError> {
        let mut faults: Vec<(u32, Fault)> = Vec::new();
        let mut groups: BTreeMap<WriterId, (Arc<Writer>, Vec<u32>)> = BTreeMap::new();
        for (place, value) in (0_u32..).zip(values) {
            match sound(*value, value_bytes_max, writers) {
                Ok(writer) => match groups.get_mut(&writer.id()) {
                    Some((_, places)) => places.push(place),
                    None => drop(groups.insert(writer.id(), (writer.clone(), vec![place]))),
                },
                Err(fault) => faults.push((place, fault)),
            }
        }
        let mut parts = Vec::with_capacity(groups.len());
        for (writer, places) in groups.into_values() {
            let (batch, places) = self.group(&writer, places, values, &mut faults)?;
            if let Some(batch) = batch {
                parts.push((shape(topic, &batch)?, places));
            }
        }
        faults.sort_by_key(|(place, _)| *place);
        let (columns, rows) = in_order(parts)?;
        Ok(Decoded { columns, rows, faults })
    }

    /// One writer's messages in one pass. A message that passed the walk and that the decoder still refuses
    /// leaves it with half a row: every message is then tried alone, and the good ones decoded anew.
    fn group(
        &mut self,
        writer: &Arc<Writer>,
        places: Vec<u32>,
        values: &[Option<&[u8]>],
        faults: &mut Vec<(u32, Fault)>,
    ) -> Result<(Option<RecordBatch>, Vec<u32>), ArrowError> {
        let mut decoder = self.take(writer)?;
        let value = |place: &u32| values.get(*place as usize).copied().flatten().unwrap_or_default();
        if places.iter().all(|place| feed(&mut decoder, value(place)).is_ok())
            && let Ok(batch) = decoder.flush()
        {
            self.put(writer, decoder);
            return Ok((batch, places));
        }
        let mut good = Vec::with_capacity(places.len());
        let mut alone = writer.decoder()?;
        for place in places {
            match feed(&mut alone, value(&place)).and_then(|()| alone.flush().map_err(|e| e.to_string())) {
                Ok(_) => good.push(place),
                Err(said) => {
                    alone = writer.decoder()?; // the other one holds half a row
                    faults.push((place, Fault::new(Reason::Body, "", format!("not decoded: {said}"))));
                }
            }
        }
        let mut decoder = writer.decoder()?;
        for place in &good {
            feed(&mut decoder, value(place)).map_err(ArrowError::AvroError)?;
        }
        Ok((decoder.flush().map_err(|e| ArrowError::AvroError(e.to_string()))?, good))
    }

    fn take(&mut self, writer: &Arc<Writer>) -> Result<Decoder, ArrowError> {
        match self.idle.iter().position(|(of, _)| Arc::ptr_eq(of, writer)) {
            Some(place) => Ok(self.idle.remove(place).1),
            None => writer.decoder(),
        }
    }

    fn put(&mut self, writer: &Arc<Writer>, decoder: Decoder) {
        if self.idle.len() >= IDLE_DECODERS_MAX {
            self.idle.remove(0);
        }
        self.idle.push((writer.clone(), decoder));
    }
}

fn sound<'w>(
    value: Option<&[u8]>,
    value_bytes_max: usize,
    writers: &'w Writers,
) -> Result<&'w Arc<Writer>, Fault> {
    let Some(value) = value else {
        return Err(Fault::new(Reason::Tombstone, "", "the value is null"));
    };
    if value.len() > value_bytes_max {
        let sentence = format!("{} bytes; an event has at most {value_bytes_max}", value.len());
        return Err(Fault::new(Reason::Oversize, "", sentence));
    }
    let (id, body) = framing::split(value)?;
    let writer = writers.writer(id)?;
    writer.walk(body)?;
    Ok(writer)
}

/// Feeds one whole message. `Ok(n)` with n short of its length is the decoder's way to wait for the rest.
fn feed(decoder: &mut Decoder, value: &[u8]) -> Result<(), String> {
    let before = decoder.capacity();
    match decoder.decode(value) {
        Ok(consumed) if consumed == value.len() && decoder.capacity() + 1 == before => Ok(()),
        Ok(consumed) => Err(format!("{consumed} of {} bytes make an event", value.len())),
        Err(e) => Err(e.to_string()),
    }
}

/// Puts the rows of several writers back into the order of the input.
fn in_order(mut parts: Vec<(RecordBatch, Vec<u32>)>) -> Result<(Option<RecordBatch>, Vec<u32>), ArrowError> {
    if parts.len() <= 1 {
        return Ok(parts.pop().map_or((None, Vec::new()), |(batch, rows)| (Some(batch), rows)));
    }
    let mut order: Vec<(u32, usize, usize)> = Vec::new();
    for (part, (_, places)) in parts.iter().enumerate() {
        order.extend(places.iter().enumerate().map(|(row, place)| (*place, part, row)));
    }
    order.sort_unstable();
    let indices: Vec<(usize, usize)> = order.iter().map(|(_, part, row)| (*part, *row)).collect();
    let batches: Vec<&RecordBatch> = parts.iter().map(|(batch, _)| batch).collect();
    let batch = interleave_record_batch(&batches, &indices)?;
    Ok((Some(batch), order.into_iter().map(|(place, _, _)| place).collect()))
}
