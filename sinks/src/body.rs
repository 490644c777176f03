//! The body of an INSERT: batches as one Arrow IPC stream, in pieces that share the columns' own memory.

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::writer::StreamEncoder;
use arrow_schema::ArrowError;
use bytes::{Bytes, BytesMut};

/// A piece that is shorter is put together with its neighbours: the stream is full of headers and paddings.
const PIECE_BYTES_MIN: usize = if cfg!(feature = "faults") { 1 << 10 } else { 16 << 10 }; // blocks of a run of faults are small

/// The batches, which share a schema, as pieces of an Arrow IPC stream, in order. Columns are not copied: a piece keeps
/// the memory of its column until it is dropped.
///
/// # Errors
/// Where Arrow cannot write a column.
pub(crate) fn body(batches: &[RecordBatch]) -> Result<Vec<Bytes>, ArrowError> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let mut encoder = StreamEncoder::try_new(&first.schema())?;
    let mut pieces = Pieces::default();
    for batch in batches {
        encoder.encode(batch)?.into_iter().for_each(|buffer| pieces.push(buffer));
    }
    encoder.finish()?.into_iter().for_each(|buffer| pieces.push(buffer));
    Ok(pieces.all())
}

/// A column's memory, held by whoever holds its piece.
struct Column(Buffer);

impl AsRef<[u8]> for Column {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    short: BytesMut,
}

impl Pieces {
    fn push(&mut self, buffer: Buffer) {
        if buffer.len() < PIECE_BYTES_MIN {
            self.short.extend_from_slice(&buffer);
            if self.short.len() >= PIECE_BYTES_MIN {
                self.close();
            }
            return;
        }
        self.close();
        self.done.push(Bytes::from_owner(Column(buffer)));
    }

    fn close(&mut self) {
        if !self.short.is_empty() {
            self.done.push(self.short.split().freeze());
        }
    }

    fn all(mut self) -> Vec<Bytes> {
        self.close();
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::body;
    use arrow_array::types::Int8Type;
    use arrow_array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray};
    use arrow_ipc::writer::StreamWriter;
    use std::sync::Arc;

    /// Scenario: long and short columns, nulls, dictionaries that differ, a slice, an empty batch: three batches in one body.
    /// Guarantees: the pieces together are the stream that Arrow's own writer writes, and a long column is one of them
    /// without having been copied.
    #[test]
    fn pieces_are_the_stream() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter((0..10_000).map(|n| (n % 3 > 0).then(|| format!("text {n}")))));
        let words = |words: [&str; 2]| -> ArrayRef {
            let all: Vec<&str> = (0..10_000).map(|n| words[usize::from(n % 7 == 0)]).collect();
            Arc::new(all.into_iter().collect::<DictionaryArray<Int8Type>>())
        };
        let batch = |kinds: ArrayRef| {
            let columns = [("numbers", numbers.clone()), ("texts", texts.clone()), ("kinds", kinds)];
            RecordBatch::try_from_iter(columns).expect("a batch")
        };
        let long = batch(words(["HELD", "CHARGED"]));
        let batches = [long.clone(), batch(words(["REFUNDED", "HELD"])).slice(17, 5), long.slice(3, 0)];
        let mut written = StreamWriter::try_new(Vec::new(), &long.schema()).expect("a writer");
        batches.iter().for_each(|batch| written.write(batch).expect("written"));
        let pieces = body(&batches).expect("a body");
        assert_eq!(pieces.concat(), written.into_inner().expect("a stream"));
        let memory = numbers.to_data().buffers()[0].as_ptr();
        assert!(pieces.iter().any(|piece| piece.as_ptr() == memory), "the column was copied");
        assert!(body(&[]).expect("a body").is_empty());
    }
}
