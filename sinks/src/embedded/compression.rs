//! Content codings of requests and answers.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::blocks;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Coding {
    #[default]
    Identity,
    Gzip,
    Deflate,
    Lz4,
    Zstd,
    /// ClickHouse's own blocks, asked for by `compress=1`, and no HTTP coding.
    Blocks,
}

impl Coding {
    /// The coding of a Content-Encoding header; `None` when unknown.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Self::Identity,
            "gzip" | "x-gzip" => Self::Gzip,
            "deflate" => Self::Deflate,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => return None,
        })
    }

    /// The first coding that an Accept-Encoding header allows, in our order of cheapness.
    pub(super) fn accepted(header: &str) -> Self {
        let offered = |name: &str| {
            header.split(',').any(|item| {
                let mut parts = item.split(';');
                let matches = parts.next().is_some_and(|coding| coding.trim().eq_ignore_ascii_case(name));
                matches
                    && !parts.any(|quality| matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
            })
        };
        let order =
            [("lz4", Self::Lz4), ("zstd", Self::Zstd), ("gzip", Self::Gzip), ("deflate", Self::Deflate)];
        order.into_iter().find(|(name, _)| offered(name)).map_or(Self::Identity, |(_, coding)| coding)
    }

    /// The name for the Content-Encoding header.
    pub(super) fn header(self) -> Option<&'static str> {
        match self {
            Self::Identity | Self::Blocks => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
            Self::Lz4 => Some("lz4"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// Reads plain data out of a compressed input.
    pub(super) fn decode(self, input: impl Read + 'static) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Identity => Box::new(input),
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(input)),
            Self::Deflate => Box::new(flate2::read::ZlibDecoder::new(input)),
            Self::Lz4 => Box::new(FrameDecoder::new(input)),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::new(input)?),
            Self::Blocks => Box::new(blocks::Blocks::new(input)),
        })
    }
}

/// Compresses an answer piece by piece.
pub(super) enum Encoder {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Blocks,
}

impl Encoder {
    pub(super) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Coding::Deflate => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
            Coding::Lz4 => Self::Lz4(Box::new(FrameEncoder::new(Vec::new()))),
            Coding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
            Coding::Blocks => Self::Blocks,
        })
    }

    /// Compresses a piece; what comes out may be empty, the rest being held back. Without a coding
    /// the piece is passed on where it lies.
    pub(super) fn push(&mut self, data: Bytes) -> io::Result<Bytes> {
        let out = match self {
            Self::Identity => return Ok(data),
            Self::Blocks => {
                let mut out = Vec::new();
                blocks::write(&data, &mut out);
                return Ok(out.into());
            }
            Self::Gzip(encoder) => {
                encoder.write_all(&data)?;
                encoder.get_mut()
            }
            Self::Deflate(encoder) => {
                encoder.write_all(&data)?;
                encoder.get_mut()
            }
            Self::Lz4(encoder) => {
                encoder.write_all(&data)?;
                encoder.get_mut()
            }
            Self::Zstd(encoder) => {
                encoder.write_all(&data)?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(out).into())
    }

    /// What is still held back.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Identity | Self::Blocks => Bytes::new(),
            Self::Gzip(encoder) => encoder.finish()?.into(),
            Self::Deflate(encoder) => encoder.finish()?.into(),
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other)?.into(),
            Self::Zstd(encoder) => encoder.finish()?.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_coding_reads_what_it_writes() {
        let data: Vec<u8> = (0..300_000_u32).flat_map(|n| (n % 1000).to_le_bytes()).collect();
        for coding in
            [Coding::Identity, Coding::Gzip, Coding::Deflate, Coding::Lz4, Coding::Zstd, Coding::Blocks]
        {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut bytes = Vec::new();
            for piece in data.chunks(70_000) {
                bytes.extend_from_slice(&encoder.push(Bytes::copy_from_slice(piece)).unwrap());
            }
            bytes.extend_from_slice(&encoder.finish().unwrap());
            let mut plain = Vec::new();
            coding.decode(io::Cursor::new(bytes)).unwrap().read_to_end(&mut plain).unwrap();
            assert!(plain == data, "{coding:?}");
        }
    }

    #[test]
    fn the_cheapest_coding_offered_is_taken() {
        assert_eq!(Coding::accepted("gzip, deflate, br, zstd, lz4"), Coding::Lz4);
        assert_eq!(Coding::accepted("GZIP;q=1.0, zstd;q=0"), Coding::Gzip);
        assert_eq!(Coding::accepted("br, *"), Coding::Identity);
    }
}
