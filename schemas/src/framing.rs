//! The first bytes of a message: which schema wrote it.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::reason::{Fault, Reason};
use std::fmt;

/// Names the schema that wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WriterId {
    /// Avro single-object encoding: `C3 01`, then the CRC-64-AVRO fingerprint, little-endian.
    SingleObject(u64),
    /// Confluent wire format: `00`, then the registry's id, big-endian.
    Confluent(u32),
}

impl fmt::Display for WriterId {
    /// `avro:` and sixteen hex digits, or `registry:` and the id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriterId::SingleObject(fingerprint) => write!(f, "avro:{fingerprint:016x}"),
            WriterId::Confluent(id) => write!(f, "registry:{id}"),
        }
    }
}

/// Splits a message into its writer's id and the Avro body.
pub fn split(value: &[u8]) -> Result<(WriterId, &[u8]), Fault> {
    if let Some(rest) = value.strip_prefix(&[0xC3, 0x01]) {
        let Some((fingerprint, body)) = rest.split_first_chunk() else {
            return Err(short("C3 01", 10, value));
        };
        return Ok((WriterId::SingleObject(u64::from_le_bytes(*fingerprint)), body));
    }
    if let Some(rest) = value.strip_prefix(&[0x00]) {
        let Some((id, body)) = rest.split_first_chunk() else { return Err(short("00", 5, value)) };
        return Ok((WriterId::Confluent(u32::from_be_bytes(*id)), body));
    }
    let found = match value.first() {
        None => "the value is empty".to_owned(),
        Some(byte) => format!("the value starts with byte {byte:02X}"),
    };
    let sentence = format!("{found}; expected C3 01 (single-object) or 00 (Confluent)");
    Err(Fault::new(Reason::Framing, "", sentence))
}

fn short(magic: &str, header_bytes: usize, value: &[u8]) -> Fault {
    let sentence = format!("{} bytes; a frame that starts with {magic} has {header_bytes}", value.len());
    Fault::new(Reason::Framing, "", sentence)
}
