//! Holds one Avro body against its writer's schema, byte by byte, before any decoder sees it.
//!
//! The columnar decoder keeps half a row when a message is short and then fails on its neighbours, so each
//! message is walked alone first. The walk allocates nothing, trusts no claimed length, and names the field.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::reason::{Fault, Reason};

/// Records within records; a recursive schema ends here instead of on the stack.
const DEPTH_MAX: u32 = 32;
/// Items and fields of records in one body, whatever its size; see [`STEPS_PER_BYTE`].
const STEPS_MIN: u64 = 1 << 12;
/// Items and fields of records in one body for each of its bytes. A value may take no byte at all, and a block of
/// such values could claim 2^62 of them in two bytes: the walk takes no longer than the message is long.
const STEPS_PER_BYTE: u64 = 64;
/// Bytes of an integer of 32 bits; what the decoder reads as one has no more.
const INT_BYTES_MAX: u32 = 5;
/// Bytes of an integer of 64 bits.
const LONG_BYTES_MAX: u32 = 10;

/// What the bytes of one value must look like.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Skip(usize),
    Bytes,
    String,
    Uuid,
    /// One entry for each of the writer's symbols: `None` where the contract has it too.
    Enum(Box<[Option<String>]>, Reason),
    Array(Box<Node>),
    Map(Box<Node>),
    Union(Box<[Node]>),
    Record(Box<[(String, Node)]>),
    /// A record defined elsewhere in the schema, by its place in [`Plan::records`].
    Named(usize),
    /// A union's branch that the contract does not take here.
    Refused(Reason),
}

/// A compiled writer schema.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) fields: Box<[(String, Node)]>,
    pub(crate) records: Vec<Node>,
}

impl Plan {
    /// Walks the whole body; `Ok` means that exactly one event stands there and every byte belongs to it.
    pub(crate) fn walk(&self, body: &[u8]) -> Result<(), Fault> {
        let steps_left = (body.len() as u64).saturating_mul(STEPS_PER_BYTE).saturating_add(STEPS_MIN);
        let mut walk = Walk { rest: body, records: &self.records, depth: 0, steps_left };
        walk.fields(&self.fields).map_err(|fault| *fault)?;
        match walk.rest.len() {
            0 => Ok(()),
            n => Err(Fault::new(Reason::TrailingBytes, "", format!("{n} bytes after the end of the event"))),
        }
    }
}

struct Walk<'a> {
    rest: &'a [u8],
    records: &'a [Node],
    depth: u32,
    steps_left: u64,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[(String, Node)]) -> Result<(), Box<Fault>> {
        for (name, node) in fields {
            if let Err(fault) = self.value(node) {
                return Err(Box::new(fault.within(name)));
            }
        }
        Ok(())
    }

    fn value(&mut self, node: &Node) -> Result<(), Box<Fault>> {
        match node {
            Node::Null => Ok(()),
            Node::Boolean => match self.byte()? {
                0 | 1 => Ok(()),
                other => Err(body(format!("byte {other:02X} for a boolean"))),
            },
            Node::Int => self.int().map(|_| ()),
            Node::Long => self.long().map(|_| ()),
            Node::Skip(bytes) => self.take(*bytes).map(|_| ()),
            Node::Bytes => self.bytes().map(|_| ()),
            Node::String => self.text().map(|_| ()),
            Node::Uuid => match uuid::Uuid::try_parse_ascii(self.text()?.as_bytes()) {
                Ok(_) => Ok(()),
                Err(_) => Err(body("not a UUID")),
            },
            Node::Enum(symbols, reason) => {
                let index = self.index(symbols.len(), "enum")?;
                match symbols.get(index) {
                    Some(Some(symbol)) => {
                        let sentence = format!("symbol {symbol} is not in the contract");
                        Err(Box::new(Fault::new(*reason, "", sentence)))
                    }
                    _ => Ok(()),
                }
            }
            Node::Union(branches) => {
                let index = self.index(branches.len(), "union")?;
                branches.get(index).map_or(Ok(()), |branch| self.value(branch))
            }
            Node::Array(item) => self.blocks(|walk| walk.value(item)),
            Node::Map(item) => self.blocks(|walk| {
                walk.text()?;
                walk.value(item)
            }),
            Node::Record(fields) => self.record(fields),
            Node::Named(at) => match self.records.get(*at) {
                Some(Node::Record(fields)) => self.record(fields),
                _ => Err(body("a type that the schema does not define")),
            },
            Node::Refused(reason) => {
                Err(Box::new(Fault::new(*reason, "", "absent; the contract requires it")))
            }
        }
    }

    fn record(&mut self, fields: &[(String, Node)]) -> Result<(), Box<Fault>> {
        self.spend(fields.len() as u64 + 1)?;
        self.nested(|walk| walk.fields(fields))
    }

    fn spend(&mut self, steps: u64) -> Result<(), Box<Fault>> {
        match self.steps_left.checked_sub(steps) {
            Some(left) => {
                self.steps_left = left;
                Ok(())
            }
            None => Err(body("more values than so few bytes can hold")),
        }
    }

    fn nested(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Box<Fault>>) -> Result<(), Box<Fault>> {
        if self.depth == DEPTH_MAX {
            return Err(body(format!("records nested more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        walk(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// The blocks of an array or a map, up to the empty one.
    fn blocks(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Box<Fault>>,
    ) -> Result<(), Box<Fault>> {
        self.nested(|walk| {
            loop {
                let count = walk.long()?;
                if count == 0 {
                    return Ok(());
                }
                let end = match count < 0 {
                    true => Some(walk.block_end()?),
                    false => None,
                };
                for _ in 0..count.unsigned_abs() {
                    walk.spend(1)?;
                    item(walk)?;
                }
                if end.is_some_and(|end| end != walk.rest.len()) {
                    return Err(body("a block whose size is not what it claims"));
                }
            }
        })
    }

    /// Bytes that remain once the block that claims its size here is over.
    fn block_end(&mut self) -> Result<usize, Box<Fault>> {
        let claimed = usize::try_from(self.long()?).ok();
        match claimed.and_then(|claimed| self.rest.len().checked_sub(claimed)) {
            Some(end) => Ok(end),
            None => Err(body("a block that claims more bytes than there are")),
        }
    }

    fn index(&mut self, count: usize, what: &str) -> Result<usize, Box<Fault>> {
        let index = self.int()?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(body(format!("{what} index {index}; the schema has {count}"))),
        }
    }

    fn text(&mut self) -> Result<&str, Box<Fault>> {
        std::str::from_utf8(self.bytes()?).map_err(|_| body("not UTF-8"))
    }

    fn bytes(&mut self) -> Result<&[u8], Box<Fault>> {
        let claimed = self.long()?;
        match usize::try_from(claimed) {
            Ok(length) => self.take(length),
            Err(_) => Err(body(format!("length {claimed}"))),
        }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Box<Fault>> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(body(format!("{length} bytes claimed, {} left", self.rest.len()))),
        }
    }

    fn byte(&mut self) -> Result<u8, Box<Fault>> {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                Ok(*byte)
            }
            None => Err(body("the event ends here, before this field")),
        }
    }

    #[inline]
    fn long(&mut self) -> Result<i64, Box<Fault>> {
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(zigzag(u64::from(*byte)));
        }
        self.integer(LONG_BYTES_MAX)?.ok_or_else(|| body("an integer beyond 64 bits"))
    }

    #[inline]
    fn int(&mut self) -> Result<i32, Box<Fault>> {
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok((i32::from(*byte) >> 1) ^ -(i32::from(*byte) & 1));
        }
        let integer = self.integer(INT_BYTES_MAX)?;
        integer.and_then(|long| i32::try_from(long).ok()).ok_or_else(|| body("an integer beyond 32 bits"))
    }

    /// A zigzag variable-length integer of at most so many bytes; `None` where it has more.
    fn integer(&mut self, bytes_max: u32) -> Result<Option<i64>, Box<Fault>> {
        let mut value = 0_u64;
        for place in 0..bytes_max {
            let byte = self.byte()?;
            if place == LONG_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(Some(zigzag(value)));
            }
        }
        Ok(None)
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Boxed, as in all of the walk: what is handed up for every value of every event fits a register.
#[cold]
fn body(sentence: impl Into<String>) -> Box<Fault> {
    Box::new(Fault::new(Reason::Body, "", sentence))
}
