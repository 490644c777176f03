//! Holds one Avro body against its writer's schema, byte by byte, before any decoder sees it.
//!
//! The columnar decoder keeps half a row when a message is short and then fails on its neighbours, so each
//! message is walked alone first. The walk allocates nothing, trusts no claimed length, and names the field.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use crate::reason::{Fault, Reason};

/// Records within records; a recursive schema ends here instead of on the stack.
const DEPTH_MAX: u32 = 32;
/// Items of arrays and maps in one message: a block of nothings could claim 2^62 of them in two bytes.
const ITEMS_MAX: u64 = 1 << 20;

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
        let mut walk = Walk { rest: body, records: &self.records, depth: 0, items: 0 };
        walk.fields(&self.fields)?;
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
    items: u64,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[(String, Node)]) -> Result<(), Fault> {
        for (name, node) in fields {
            self.value(node).map_err(|fault| fault.within(name))?;
        }
        Ok(())
    }

    fn value(&mut self, node: &Node) -> Result<(), Fault> {
        match node {
            Node::Null => Ok(()),
            Node::Boolean => match self.byte()? {
                0 | 1 => Ok(()),
                other => Err(body(format!("byte {other:02X} for a boolean"))),
            },
            Node::Int => match i32::try_from(self.long()?) {
                Ok(_) => Ok(()),
                Err(_) => Err(body("an int beyond 32 bits")),
            },
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
                        Err(Fault::new(*reason, "", format!("symbol {symbol} is not in the contract")))
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
            Node::Record(fields) => self.nested(|walk| walk.fields(fields)),
            Node::Named(at) => match self.records.get(*at) {
                Some(Node::Record(fields)) => self.nested(|walk| walk.fields(fields)),
                _ => Err(body("a type that the schema does not define")),
            },
            Node::Refused(reason) => Err(Fault::new(*reason, "", "absent; the contract requires it")),
        }
    }

    fn nested(&mut self, walk: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        if self.depth == DEPTH_MAX {
            return Err(body(format!("records nested more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        walk(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// The blocks of an array or a map, up to the empty one.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
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
                walk.items = walk.items.saturating_add(count.unsigned_abs());
                if walk.items > ITEMS_MAX {
                    return Err(body(format!("more than {ITEMS_MAX} items")));
                }
                for _ in 0..count.unsigned_abs() {
                    item(walk)?;
                }
                if end.is_some_and(|end| end != walk.rest.len()) {
                    return Err(body("a block whose size is not what it claims"));
                }
            }
        })
    }

    /// Bytes that remain once the block that claims its size here is over.
    fn block_end(&mut self) -> Result<usize, Fault> {
        let claimed = usize::try_from(self.long()?).ok();
        match claimed.and_then(|claimed| self.rest.len().checked_sub(claimed)) {
            Some(end) => Ok(end),
            None => Err(body("a block that claims more bytes than there are")),
        }
    }

    fn index(&mut self, count: usize, what: &str) -> Result<usize, Fault> {
        let index = self.long()?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(body(format!("{what} index {index}; the schema has {count}"))),
        }
    }

    fn text(&mut self) -> Result<&str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| body("not UTF-8"))
    }

    fn bytes(&mut self) -> Result<&[u8], Fault> {
        let claimed = self.long()?;
        match usize::try_from(claimed) {
            Ok(length) => self.take(length),
            Err(_) => Err(body(format!("length {claimed}"))),
        }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Fault> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(body(format!("{length} bytes claimed, {} left", self.rest.len()))),
        }
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                Ok(*byte)
            }
            None => Err(body("the event ends here, before this field")),
        }
    }

    /// A zigzag variable-length integer of at most 64 bits.
    fn long(&mut self) -> Result<i64, Fault> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(body("an integer beyond 64 bits"))
    }
}

fn body(sentence: impl Into<String>) -> Fault {
    Fault::new(Reason::Body, "", sentence)
}
