//! The cursor: where a stream stands, for any replica, after any restart, on any transport.
//!
//! Base64url of: one byte of version; eight bytes that name the log; the number of partitions and, for each in the
//! shape's order, the offset after the last that was seen, all as LEB128 varints. It is exclusive, and opaque to clients.

use super::log::{IDENTITY_BYTES, Shape};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::sync::Arc;

const VERSION: u8 = 1;
/// Partitions of a log.
const PARTITIONS_MAX: usize = 4_096;
/// Bytes of a cursor's text; nothing longer is looked at.
const TEXT_BYTES_MAX: usize = 32 * 1024;

/// A decoded cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    identity: [u8; IDENTITY_BYTES],
    /// Per partition, the offset after the last that was seen.
    pub(super) next: Vec<i64>,
}

/// Where a client wants to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Behind everything that there is now.
    Now,
    /// At the first retained event.
    Earliest,
    /// Behind what the client saw.
    After(Cursor),
}

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotACursor;

impl Asked {
    /// Reads `now`, `earliest` or a cursor; an empty text is `now`.
    pub(super) fn parse(text: &str) -> Result<Asked, NotACursor> {
        match text {
            "" | "now" => Ok(Asked::Now),
            "earliest" => Ok(Asked::Earliest),
            text => decode(text).map(Asked::After).ok_or(NotACursor),
        }
    }
}

impl Cursor {
    /// Whether it is a position in this log.
    pub(super) fn is_of(&self, shape: &Shape) -> bool {
        self.identity == shape.identity() && self.next.len() == shape.partitions().len()
    }
}

/// The offsets of a position's text; empty where it is none.
pub(super) fn offsets(text: &str) -> Vec<i64> {
    decode(text).map(|cursor| cursor.next).unwrap_or_default()
}

/// The text of a position in a log.
pub(super) fn encode(shape: &Shape, next: &[i64]) -> Arc<str> {
    let mut bytes = Vec::with_capacity(2 + IDENTITY_BYTES + 4 * next.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&shape.identity());
    put(&mut bytes, next.len() as u64);
    for offset in next {
        put(&mut bytes, u64::try_from(*offset).unwrap_or(0));
    }
    BASE64_URL_SAFE_NO_PAD.encode(&bytes).into()
}

fn decode(text: &str) -> Option<Cursor> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (identity, mut rest) = rest.split_at_checked(IDENTITY_BYTES)?;
    let count = usize::try_from(take(&mut rest)?).ok()?;
    if *version != VERSION || count > PARTITIONS_MAX {
        return None;
    }
    let offset = |_| i64::try_from(take(&mut rest)?).ok();
    let next = (0..count).map(offset).collect::<Option<Vec<i64>>>()?;
    let identity = identity.try_into().ok()?;
    if rest.is_empty() { Some(Cursor { identity, next }) } else { None }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let [low, ..] = (number & 0x7f).to_le_bytes();
        number >>= 7;
        if number == 0 {
            return bytes.push(low);
        }
        bytes.push(low | 0x80);
    }
}

/// One varint of at most 64 bits, in its shortest form: a position has one text.
fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            let is_shortest = part != 0 || shift == 0;
            return is_shortest.then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Asked, Cursor, NotACursor, decode, encode};
    use crate::feed::log::{LogPartition, Shape};
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use tally_schemas::Topic;
    use uuid::Uuid;

    fn shape(partitions: i32, id: u128) -> Shape {
        let all = Topic::ALL.into_iter().flat_map(|contract| {
            (0..partitions).map(move |number| LogPartition {
                contract,
                topic: contract.name().to_owned(),
                topic_id: Uuid::from_u128(id + contract as u128),
                number,
            })
        });
        Shape::new(all.collect())
    }

    proptest! {
        /// Scenario: positions of all sizes; a text with any byte changed or cut; any text at all.
        /// Guarantees: what was encoded is decoded; another text is another position or none; nothing panics.
        #[test]
        fn a_position_has_one_text(next in proptest::collection::vec(0..=i64::MAX, 12), at in 0usize..80, to in any::<u8>(), noise in ".{0,60}") {
            let shape = shape(3, 7);
            let text = encode(&shape, &next);
            let Ok(Asked::After(found)) = Asked::parse(&text) else { panic!("{text} is a cursor") };
            prop_assert!(found.is_of(&shape));
            prop_assert_eq!(&found.next, &next);
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(text.as_bytes()).expect("base64");
            let cut = BASE64_URL_SAFE_NO_PAD.encode(&bytes[..at.min(bytes.len() - 1)]);
            prop_assert_eq!(decode(&cut), None);
            let at = at % bytes.len();
            let changed = bytes[at] != to;
            bytes[at] = to;
            let other = decode(&BASE64_URL_SAFE_NO_PAD.encode(&bytes));
            prop_assert_eq!(other == Some(found), !changed);
            let _ = decode(&noise);
        }
    }

    /// Scenario: cursors of a log whose topic was created anew, and of one that got a partition more.
    /// Guarantees: neither is taken for a position in this log; sentinels and rubbish are told apart.
    #[test]
    fn a_cursor_is_bound_to_its_log() {
        let (here, anew, grown) = (shape(3, 7), shape(3, 8), shape(4, 7));
        let of =
            |shape: &Shape| Cursor { identity: shape.identity(), next: vec![0; shape.partitions().len()] };
        assert!(of(&here).is_of(&here) && !of(&anew).is_of(&here) && !of(&grown).is_of(&here));
        assert_eq!(Asked::parse("earliest"), Ok(Asked::Earliest));
        assert_eq!((Asked::parse("now"), Asked::parse("")), (Ok(Asked::Now), Ok(Asked::Now)));
        assert_eq!(Asked::parse("yesterday"), Err(NotACursor));
    }

    /// Scenario: for as long as the fuzzer runs: bytes as a cursor's text, as the bytes in it, and as a client's frame.
    /// Guarantees: nothing panics; whatever is a position has this one text; it is a position in no log but its own.
    #[test]
    fn fuzz_any_bytes_are_a_position_or_none() {
        use crate::feed::frame::Said;
        let here = shape(3, 7);
        let text = encode(&here, &[0, 1, 127, 128, 300, i64::MAX, 5, 6, 7, 8, 9, 10]);
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.as_bytes()).expect("base64");
        let frame = format!(r#"{{"op":"connect","token":"t","cursor":"{text}","heartbeat_ms":5000}}"#);
        let input = |kind: u8, rest: &[u8]| [&[kind], rest].concat();
        let seeds = vec![input(0, text.as_bytes()), input(1, &bytes), input(2, frame.as_bytes())];
        let words = [
            "now",
            "earliest",
            "=",
            "-",
            "_",
            "A",
            "\"op\":\"ack\"",
            "\"op\":\"pace\"",
            "\"op\":\"refresh\"",
            "\"cursor\":",
            "null",
            "1e9",
            "{",
            "}",
            ",",
        ];
        let target = tally_fuzz::Target { name: "cursors", seeds, words: &words, bytes_max: 2_048 };
        let read = |text: &str| {
            let asked = Asked::parse(text);
            if let Ok(Asked::After(cursor)) = &asked {
                let mut bytes = [&[super::VERSION][..], &cursor.identity].concat();
                super::put(&mut bytes, cursor.next.len() as u64);
                cursor
                    .next
                    .iter()
                    .for_each(|next| super::put(&mut bytes, u64::try_from(*next).expect("an offset")));
                assert_eq!(BASE64_URL_SAFE_NO_PAD.encode(&bytes), text, "a position has one text");
                assert!(
                    cursor.is_of(&here) == (cursor.identity == here.identity() && cursor.next.len() == 12)
                );
            }
            match asked {
                Ok(Asked::After(cursor)) => 3 + cursor.next.len() as u64,
                Ok(Asked::Now) => 0,
                Ok(Asked::Earliest) => 1,
                Err(NotACursor) => 2,
            }
        };
        tally_fuzz::fuzz(&target, |input| {
            let Some((kind, rest)) = input.split_first() else { return 0 };
            match kind % 3 {
                0 => read(&String::from_utf8_lossy(rest)),
                1 => 10_000 + read(&BASE64_URL_SAFE_NO_PAD.encode(rest)),
                _ => match serde_json::from_slice::<Said>(rest) {
                    Ok(Said::Connect { cursor, .. } | Said::Ack { cursor }) => 20_000 + read(&cursor),
                    Ok(Said::Refresh { .. }) => 30_001,
                    Ok(Said::Pace { .. }) => 30_002,
                    Err(error) => {
                        40_000 + tally_fuzz::outcome(&error.to_string().split(" at line").next()) % 1_000
                    }
                },
            }
        });
    }
}
