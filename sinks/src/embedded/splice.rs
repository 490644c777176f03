//! Makes one document of a streamed result.
//!
//! The engine formats every piece of a streamed result as a document of its own. For the formats
//! below the pieces can be put together again; the others are run whole, within a bound.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use bytes::Bytes;

use super::error::{Exception, Kind};

/// The end of an Arrow stream: the mark of a message, and no message.
const ARROW_END: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Formats whose documents, one after the other, are a document (compared byte by byte with the
/// whole result for every output format of release 26.7), and in which no row is empty: the engine
/// takes an empty piece for the end.
const PLAIN: &[&str] = &[
    "bsoneachrow",
    "csv",
    "jsoncompacteachrow",
    "jsoncompactstringseachrow",
    "jsoneachrow",
    "jsonl",
    "jsonlines",
    "jsonstringseachrow",
    "lineasstring",
    "msgpack",
    "native",
    "ndjson",
    "prettyjsoneachrow",
    "prettyjsonlines",
    "prettyndjson",
    "protobuf",
    "raw",
    "rowbinary",
    "tabseparated",
    "tabseparatedraw",
    "tskv",
    "tsv",
    "tsvraw",
];

/// How the pieces of one result are put together.
#[derive(Debug)]
pub(super) enum Splice {
    /// As they come.
    Plain,
    /// Lines of JSON, which a setting turns into an array.
    JsonLines,
    /// The head, with as many texts per column, is that of the first piece.
    RowBinary { texts_per_column: usize, begun: bool },
    /// One schema at the beginning, one mark at the end.
    ArrowStream { begun: bool },
}

impl Splice {
    /// `None` when pieces in this format cannot be put together.
    pub(super) fn of(format: &str) -> Option<Self> {
        let name = format.to_ascii_lowercase();
        match name.as_str() {
            "arrowstream" => Some(Self::ArrowStream { begun: false }),
            "rowbinarywithnames" => Some(Self::RowBinary { texts_per_column: 1, begun: false }),
            "rowbinarywithnamesandtypes" => Some(Self::RowBinary { texts_per_column: 2, begun: false }),
            json if json.starts_with("json") && PLAIN.contains(&json) => Some(Self::JsonLines),
            plain if PLAIN.contains(&plain) => Some(Self::Plain),
            _ => None,
        }
    }

    /// Whether the first piece shows that the others will not fit to it.
    pub(super) fn refuses(&self, first: &[u8], format: &str) -> bool {
        matches!(self, Self::JsonLines)
            && first.first() == Some(&b'[')
            && !format.to_ascii_lowercase().starts_with("jsoncompact")
    }

    /// The part of a piece that belongs into the document.
    ///
    /// # Errors
    /// When the piece is not in the format it should be in.
    pub(super) fn piece(&mut self, piece: Bytes) -> Result<Bytes, Exception> {
        let malformed = || Exception::new(Kind::Engine, "a piece of the result is malformed.");
        match self {
            Self::Plain | Self::JsonLines => Ok(piece),
            Self::RowBinary { texts_per_column, begun } => {
                if !std::mem::replace(begun, true) {
                    return Ok(piece);
                }
                let head = row_binary_head(&piece, *texts_per_column).ok_or_else(malformed)?;
                Ok(piece.slice(head..))
            }
            Self::ArrowStream { begun } => {
                let start = if std::mem::replace(begun, true) {
                    arrow_schema(&piece).ok_or_else(malformed)?
                } else {
                    0
                };
                let end = piece.len() - if piece.ends_with(ARROW_END) { ARROW_END.len() } else { 0 };
                Ok(piece.slice(start.min(end)..end))
            }
        }
    }

    /// What closes the document.
    pub(super) fn end(&self) -> &'static [u8] {
        match self {
            Self::ArrowStream { begun: true } => ARROW_END,
            _ => &[],
        }
    }
}

/// Length of the head: the number of columns, then their names, then their types.
fn row_binary_head(piece: &[u8], texts_per_column: usize) -> Option<usize> {
    let (columns, mut at) = varint(piece, 0)?;
    for _ in 0..columns.checked_mul(texts_per_column)? {
        let (bytes, text) = varint(piece, at)?;
        at = text.checked_add(bytes)?;
        if at > piece.len() {
            return None;
        }
    }
    Some(at)
}

/// A number in base 128, low digits first, and the offset behind it.
fn varint(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let (mut number, mut shift) = (0_usize, 0_u32);
    loop {
        let byte = *bytes.get(at)?;
        at = at.checked_add(1)?;
        number |= usize::from(byte & 0x7f).checked_shl(shift).filter(|_| shift < 57)?;
        if byte & 0x80 == 0 {
            return Some((number, at));
        }
        shift += 7;
    }
}

/// Length of the first message of an Arrow stream, the schema, which has no body.
fn arrow_schema(piece: &[u8]) -> Option<usize> {
    let rest = piece.strip_prefix(&[0xff; 4])?;
    let bytes = usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?;
    let end = bytes.checked_add(8)?;
    (end <= piece.len()).then_some(end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn spliced(format: &str, pieces: &[&[u8]]) -> Vec<u8> {
        let mut splice = Splice::of(format).unwrap();
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&splice.piece(Bytes::copy_from_slice(piece)).unwrap());
        }
        out.extend_from_slice(splice.end());
        out
    }

    #[test]
    fn heads_come_once() {
        let piece = b"\x01\x01a\x05UInt8\x07";
        assert_eq!(spliced("RowBinaryWithNamesAndTypes", &[piece, piece]), b"\x01\x01a\x05UInt8\x07\x07");
        let stream = [&[0xff; 4][..], &4_u32.to_le_bytes(), b"sche", b"batch", ARROW_END].concat();
        let both = [&[0xff; 4][..], &4_u32.to_le_bytes(), b"sche", b"batch", b"batch", ARROW_END].concat();
        assert_eq!(spliced("ArrowStream", &[&stream, &stream]), both);
        assert_eq!(spliced("tsv", &[b"1\n", b"2\n"]), b"1\n2\n");
        assert!(Splice::of("JSON").is_none());
    }

    #[test]
    fn an_array_of_rows_is_refused() {
        assert!(Splice::of("JSONEachRow").unwrap().refuses(b"[\n{", "JSONEachRow"));
        assert!(!Splice::of("JSONCompactEachRow").unwrap().refuses(b"[1]", "JSONCompactEachRow"));
    }

    proptest! {
        #[test]
        fn any_piece_splices_without_panic(first in proptest::collection::vec(any::<u8>(), 0..40), second in proptest::collection::vec(any::<u8>(), 0..40)) {
            for format in ["ArrowStream", "RowBinaryWithNames", "RowBinaryWithNamesAndTypes"] {
                let mut splice = Splice::of(format).unwrap();
                let _ = splice.piece(Bytes::copy_from_slice(&first));
                let _ = splice.piece(Bytes::copy_from_slice(&second));
            }
        }
    }
}
