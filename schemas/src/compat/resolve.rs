//! Avro's schema resolution as a check: can this reader read whatever that writer may write?

use super::{Comparison, Direction, Names, Notice, alike, answers_to, branches, named, under};
use apache_avro::Schema;
use apache_avro::schema::{
    Alias, EnumSchema, FixedSchema, InnerDecimalSchema, Name, RecordSchema, UuidSchema,
};
use std::collections::HashSet;

/// Reports every place where the reader of `direction` could not read what the other version writes.
pub(super) fn walk<'a>(
    direction: Direction,
    (old, new): (&'a Schema, &'a Schema),
    names: (Names<'a>, Names<'a>),
    comparison: &mut Comparison,
) {
    Walk { direction, names, seen: HashSet::new(), comparison }.schema("", old, new);
}

/// `old` and `new` keep their places in both directions; `direction` says which of them reads.
struct Walk<'a, 'o> {
    direction: Direction,
    names: (Names<'a>, Names<'a>),
    seen: HashSet<String>,
    comparison: &'o mut Comparison,
}

impl<'a> Walk<'a, '_> {
    fn backward(&self) -> bool {
        self.direction == Direction::Backward
    }

    /// (writer, reader)
    fn roles<T>(&self, old: T, new: T) -> (T, T) {
        if self.backward() { (old, new) } else { (new, old) }
    }

    fn add(&mut self, path: &str, problem: impl Into<String>, remedy: &str) {
        self.comparison.add(path, self.direction, problem, remedy);
    }

    fn schema(&mut self, path: &str, old: &'a Schema, new: &'a Schema) {
        let (old, new) = (named(old, self.names.0), named(new, self.names.1));
        match (old, new) {
            (Schema::Union(_), _) | (_, Schema::Union(_)) => self.union(path, old, new),
            (Schema::Record(old), Schema::Record(new)) => self.record(path, old, new),
            (Schema::Enum(old), Schema::Enum(new)) => {
                self.name(path, (&old.name, &old.aliases), (&new.name, &new.aliases));
                self.symbols(path, old, new);
            }
            (Schema::Fixed(old), Schema::Fixed(new)) => self.fixed(path, old, new),
            (Schema::Array(old), Schema::Array(new)) => {
                self.schema(&under(path, "[]"), &old.items, &new.items)
            }
            (Schema::Map(old), Schema::Map(new)) => self.schema(&under(path, "{}"), &old.types, &new.types),
            _ => {
                let (writer, reader) = self.roles(old, new);
                if !same_primitive(old, new) && !promotes(writer, reader) {
                    self.type_changed(path, old, new);
                }
            }
        }
    }

    fn type_changed(&mut self, path: &str, old: &Schema, new: &Schema) {
        let problem = format!("the type changed from {} to {}", describe(old), describe(new));
        self.add(path, problem, "keep the type; put the new one in a field of another name with a default");
    }

    /// Every branch that may be written needs one that reads it.
    fn union(&mut self, path: &str, old: &'a Schema, new: &'a Schema) {
        let (writer, reader) = self.roles(branches(old), branches(new));
        for written in writer {
            let counterpart = reader.iter().find(|read| {
                let (old, new) = self.roles(written, *read);
                alike(old, new, self.names)
            });
            if let Some(read) = counterpart {
                let (old, new) = self.roles(written, read);
                self.schema(path, old, new);
            } else if reader.iter().any(|read| promotes(written, read)) {
            } else if matches!(written, Schema::Null) {
                let (problem, remedy) = if self.backward() {
                    ("null is no longer allowed", "keep it nullable")
                } else {
                    ("null is newly allowed", "keep it required, or add a nullable field of another name")
                };
                self.add(path, problem, remedy);
            } else {
                self.type_changed(path, old, new);
            }
        }
    }

    fn record(&mut self, path: &str, old: &'a RecordSchema, new: &'a RecordSchema) {
        if !self.seen.insert(old.name.fullname(None)) {
            return;
        }
        self.name(path, (&old.name, &old.aliases), (&new.name, &new.aliases));
        let (writer, reader) = self.roles(old, new);
        for read in &reader.fields {
            let path = under(path, &read.name);
            match writer.fields.iter().find(|written| answers_to(read, &written.name)) {
                Some(written) => {
                    let (old, new) = self.roles(&written.schema, &read.schema);
                    self.schema(&path, old, new);
                }
                None if read.default.is_some() => {}
                None if self.backward() => {
                    let remedy = "give it a default (null for a nullable field); an alias if it was renamed";
                    self.add(&path, "a new field without a default", remedy);
                }
                None => {
                    let remedy = "keep the field; readers of the earlier version cannot do without it";
                    self.add(&path, "removed or renamed, and had no default", remedy);
                }
            }
        }
    }

    /// A reader finds a writer's named type by its full name or by an alias of its own.
    fn name(&mut self, path: &str, old: (&Name, &Option<Vec<Alias>>), new: (&Name, &Option<Vec<Alias>>)) {
        let ((writer, _), (reader, aliases)) = self.roles(old, new);
        let wanted = writer.fullname(None);
        let known = aliases
            .iter()
            .flatten()
            .any(|alias| alias.fully_qualified_name(reader.namespace()).fullname(None) == wanted);
        if reader.fullname(None) != wanted && !known {
            let problem = format!("renamed from {} to {}", old.0.fullname(None), new.0.fullname(None));
            let remedy = "keep the name; an alias helps readers of the new version only";
            self.add(path, problem, remedy);
        }
    }

    fn fixed(&mut self, path: &str, old: &FixedSchema, new: &FixedSchema) {
        self.name(path, (&old.name, &old.aliases), (&new.name, &new.aliases));
        if old.size != new.size {
            let problem = format!("the size changed from {} to {} bytes", old.size, new.size);
            self.add(
                path,
                problem,
                "keep the size; put the new one in a field of another name with a default",
            );
        }
    }

    fn symbols(&mut self, path: &str, old: &EnumSchema, new: &EnumSchema) {
        let (writer, reader) = self.roles(old, new);
        let unknown = || writer.symbols.iter().filter(|symbol| !reader.symbols.contains(symbol));
        if reader.default.is_some() || unknown().next().is_none() {
            return;
        }
        let listed = unknown().map(String::as_str).collect::<Vec<_>>().join(", ");
        if self.backward() {
            let remedy = "keep the symbol; events that carry it are in the log for good";
            self.add(path, format!("removed symbols: {listed}"), remedy);
        } else if new.symbols.starts_with(&old.symbols) {
            let sentence = format!(
                "new symbols: {listed}. Readers first: roll out tally before any service publishes them; until then \
                 such events become dead letters, which can be replayed"
            );
            self.comparison.notices.push(Notice { path: path.to_owned(), sentence });
        } else {
            let remedy = "append new symbols at the end, and keep the order of the others";
            self.add(path, format!("new symbols that are not at the end: {listed}"), remedy);
        }
    }
}

/// Two types without a name and without parts that are read alike. A logical type is part of the meaning: a time
/// that becomes a number can be read, and would be understood wrongly.
fn same_primitive(old: &Schema, new: &Schema) -> bool {
    let inner = |schema: &Schema| match schema {
        Schema::Decimal(decimal) => match &decimal.inner {
            InnerDecimalSchema::Bytes => (0, decimal.precision, decimal.scale),
            InnerDecimalSchema::Fixed(fixed) => (fixed.size, decimal.precision, decimal.scale),
        },
        Schema::Uuid(UuidSchema::String) => (1, 0, 0),
        Schema::Uuid(UuidSchema::Fixed(_)) => (2, 0, 0),
        _ => (0, 0, 0),
    };
    std::mem::discriminant(old) == std::mem::discriminant(new) && inner(old) == inner(new)
}

/// Avro's promotions.
fn promotes(writer: &Schema, reader: &Schema) -> bool {
    matches!(
        (writer, reader),
        (Schema::Int, Schema::Long | Schema::Float | Schema::Double)
            | (Schema::Long, Schema::Float | Schema::Double)
            | (Schema::Float, Schema::Double)
            | (Schema::String, Schema::Bytes)
            | (Schema::Bytes, Schema::String)
    )
}

fn describe(schema: &Schema) -> String {
    match schema {
        Schema::Record(record) => format!("record {}", record.name.fullname(None)),
        Schema::Enum(symbols) => format!("enum {}", symbols.name.fullname(None)),
        Schema::Fixed(fixed) => format!("fixed {} of {} bytes", fixed.name.fullname(None), fixed.size),
        Schema::Ref { name } => name.fullname(None),
        Schema::Array(array) => format!("array of {}", describe(&array.items)),
        Schema::Map(map) => format!("map of {}", describe(&map.types)),
        Schema::Union(union) => union.variants().iter().map(describe).collect::<Vec<_>>().join(" or "),
        Schema::Uuid(UuidSchema::String) => "string (uuid)".to_owned(),
        Schema::Uuid(UuidSchema::Bytes) => "bytes (uuid)".to_owned(),
        Schema::Uuid(UuidSchema::Fixed(_)) => "fixed (uuid)".to_owned(),
        Schema::Decimal(decimal) => {
            format!("decimal of {} digits, {} of them decimals", decimal.precision, decimal.scale)
        }
        Schema::TimestampMicros => "long (timestamp-micros)".to_owned(),
        Schema::TimestampMillis => "long (timestamp-millis)".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}
