//! Takes the frame off hostile bytes: which schema wrote a message, and where its body begins.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_schemas::{Reason, WriterId, frame_confluent, split};

/// Bytes of a frame that begins as `data` does; none where no frame does.
fn frame_bytes(data: &[u8]) -> Option<usize> {
    match data {
        [0xC3, 0x01, ..] => Some(10),
        [0x00, ..] => Some(5),
        _ => None,
    }
}

fuzz_target!(|data: &[u8]| {
    let is_whole = frame_bytes(data).is_some_and(|bytes| data.len() >= bytes);
    match split(data) {
        Ok((id, body)) => {
            assert!(is_whole, "half a frame was taken for one: {id}");
            let framed = match id {
                WriterId::SingleObject(fingerprint) => {
                    [&[0xC3, 0x01][..], &fingerprint.to_le_bytes(), body].concat()
                }
                WriterId::Confluent(id) => frame_confluent(id, body),
            };
            assert_eq!(framed, data, "the frame and the body are the message");
        }
        Err(fault) => {
            assert!(!is_whole, "a frame was refused: {fault:?}");
            assert_eq!(fault.reason, Reason::Framing);
        }
    }
});
