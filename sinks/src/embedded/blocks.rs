//! ClickHouse's own compressed blocks (`compress=1`, `decompress=1`).
//!
//! A block is 16 bytes of CityHash128 (version 1.0.2) over what follows, one byte of method, the
//! compressed size (header of 9 bytes included) and the plain size as little-endian 32-bit
//! numbers, and the data.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{self, Read};

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const LZ4: u8 = 0x82;
const ZSTD: u8 = 0x90;
const PLAIN: u8 = 0x02;
/// Largest block accepted and, in the other direction, the size of the pieces that are written.
const BLOCK_BYTES_MAX: usize = 128 << 20;
const PIECE_BYTES: usize = 1 << 20;

/// Appends `data` to `out` as LZ4 blocks.
pub(super) fn write(data: &[u8], out: &mut Vec<u8>) {
    for piece in data.chunks(PIECE_BYTES) {
        let compressed = lz4_flex::block::compress(piece);
        let mut block = Vec::with_capacity(HEADER_BYTES + compressed.len());
        block.push(LZ4);
        // Both fit: a piece has 1 MiB, and LZ4 adds less than 1 % to it.
        block.extend_from_slice(
            &u32::try_from(compressed.len() + HEADER_BYTES).unwrap_or(u32::MAX).to_le_bytes(),
        );
        block.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(u32::MAX).to_le_bytes());
        block.extend_from_slice(&compressed);
        out.extend_from_slice(&checksum(&block));
        out.append(&mut block);
    }
}

/// The checksum: the two halves of the hash, the high one first.
fn checksum(block: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_rs::cityhash_102_128(block).rotate_left(64).to_le_bytes()
}

/// Reads blocks and gives the plain data.
pub(super) struct Blocks<R> {
    inner: R,
    plain: io::Cursor<Vec<u8>>,
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, plain: io::Cursor::new(Vec::new()) }
    }

    /// The next block, `None` at the end of the input.
    fn next_block(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut expected = [0; CHECKSUM_BYTES];
        if !read_first(&mut self.inner, &mut expected)? {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.inner.read_exact(&mut header)?;
        let [method, c0, c1, c2, c3, p0, p1, p2, p3] = header;
        let compressed = u32::from_le_bytes([c0, c1, c2, c3]) as usize;
        let plain = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
        let Some(payload) = compressed.checked_sub(HEADER_BYTES) else {
            return Err(invalid("a compressed block is shorter than its header"));
        };
        if compressed > BLOCK_BYTES_MAX || plain > BLOCK_BYTES_MAX {
            return Err(invalid("a compressed block is larger than 128 MiB"));
        }
        let mut block = header.to_vec();
        // Grows with what arrives, so that a false length costs no memory.
        let read = (&mut self.inner).take(payload as u64).read_to_end(&mut block)?;
        if read != payload {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if checksum(&block) != expected {
            return Err(invalid("the checksum of a compressed block does not match"));
        }
        let data = block.get(HEADER_BYTES..).unwrap_or_default();
        match method {
            LZ4 => {
                lz4_flex::block::decompress(data, plain).map(Some).map_err(|error| invalid(error.to_string()))
            }
            ZSTD => zstd::bulk::decompress(data, plain).map(Some),
            PLAIN => Ok(Some(data.to_vec())),
            _ => Err(invalid("a compressed block has an unknown method; use LZ4, ZSTD or none")),
        }
    }
}

impl<R: Read> Read for Blocks<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.plain.read(out)?;
            if bytes > 0 || out.is_empty() {
                return Ok(bytes);
            }
            match self.next_block()? {
                Some(block) => self.plain = io::Cursor::new(block),
                None => return Ok(0),
            }
        }
    }
}

/// Fills `out`; `false` when the input ends before its first byte.
fn read_first(input: &mut impl Read, out: &mut [u8; CHECKSUM_BYTES]) -> io::Result<bool> {
    let mut first = [0; 1];
    loop {
        match input.read(&mut first) {
            Ok(0) => return Ok(false),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [head, rest @ ..] = out;
    [*head] = first;
    input.read_exact(rest)?;
    Ok(true)
}

fn invalid(message: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Blocks::new(bytes).read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn a_torn_block_is_an_early_end() {
        let mut bytes = Vec::new();
        write(b"some data", &mut bytes);
        for end in 1..bytes.len() {
            assert_eq!(read(&bytes[..end]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(data in proptest::collection::vec(any::<u8>(), 0..5000), flip in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            write(&data, &mut bytes);
            prop_assert_eq!(&read(&bytes).unwrap(), &data);
            if !bytes.is_empty() {
                let at = flip.index(bytes.len());
                bytes[at] ^= 1;
                prop_assert!(read(&bytes).is_err());
            }
        }

        #[test]
        fn any_bytes_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
