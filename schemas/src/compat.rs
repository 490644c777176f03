//! Whether a new version of a contract can stand beside the earlier ones: full compatibility, held strictly.
//!
//! Avro's own resolution is followed in both directions, and on top of it what Tally stores or digests may not
//! move: the `field_id` of a field, the place of an enum's symbol, the default of a field. A contract is compatible
//! for good if [`check_alone`] has nothing against it and [`check`] has nothing against it beside *every* earlier
//! version.
//!
//! One exception: a symbol appended at the end of an enum without an Avro default is a [`Notice`]. Policy tags must
//! be able to grow, and their enum has no default on purpose. So readers go first; until they know the symbol, its
//! events become dead letters, which can be replayed.

use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, Name, RecordField, RecordSchema, ResolvedSchema};
use serde::Serialize;
use serde_json::Value as Json;
use std::collections::{HashMap, HashSet};
use std::fmt;

mod resolve;

/// Who could no longer read whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Direction {
    /// Readers of the new version could not read events of the old one.
    Backward,
    /// Readers of the old version could not read events of the new one.
    Forward,
    /// Neither could read the other.
    Both,
    /// Every event can be read, but a number that is stored or digested would change its meaning.
    Identity,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Backward => "BACKWARD",
            Direction::Forward => "FORWARD",
            Direction::Both => "BACKWARD and FORWARD",
            Direction::Identity => "IDENTITY",
        })
    }
}

/// One reason why two versions cannot stand side by side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incompatibility {
    /// The field, such as `policy_tag`; empty for the record itself.
    pub path: String,
    /// Who could no longer read whom.
    pub direction: Direction,
    /// What changed.
    pub problem: String,
    /// What to do instead.
    pub remedy: String,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the record" } else { &self.path };
        write!(f, "{path}: {}: {}; {}", self.direction, self.problem, self.remedy)
    }
}

/// A change that is allowed, in an order that must be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The field.
    pub path: String,
    /// What to do, in which order.
    pub sentence: String,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.sentence)
    }
}

/// Two versions of a contract, held against each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Empty if the two can stand side by side.
    pub incompatibilities: Vec<Incompatibility>,
    /// What to mind when the new version is rolled out.
    pub notices: Vec<Notice>,
}

impl Comparison {
    fn add(&mut self, path: &str, direction: Direction, problem: impl Into<String>, remedy: &str) {
        let problem = problem.into();
        let opposite = match direction {
            Direction::Backward => Some(Direction::Forward),
            Direction::Forward => Some(Direction::Backward),
            Direction::Both | Direction::Identity => None,
        };
        let same = |known: &&mut Incompatibility| {
            known.path == path && known.problem == problem && Some(known.direction) == opposite
        };
        match self.incompatibilities.iter_mut().find(same) {
            Some(known) => known.direction = Direction::Both,
            None => self.incompatibilities.push(Incompatibility {
                path: path.to_owned(),
                direction,
                problem,
                remedy: remedy.to_owned(),
            }),
        }
    }
}

/// Holds a new version of a contract against one earlier version, in both directions.
pub fn check(old: &Schema, new: &Schema) -> Comparison {
    let mut comparison = Comparison::default();
    let (Ok(old_names), Ok(new_names)) = (ResolvedSchema::new(old), ResolvedSchema::new(new)) else {
        let problem = "a name is not defined or defined twice";
        comparison.add("", Direction::Both, problem, "define every named type once");
        return comparison;
    };
    let names = (old_names.get_names(), new_names.get_names());
    resolve::walk(Direction::Backward, (old, new), names, &mut comparison);
    resolve::walk(Direction::Forward, (old, new), names, &mut comparison);
    Identity { names, seen: HashSet::new(), comparison: &mut comparison }.schema("", old, new);
    comparison
}

/// What a contract must have whatever came before it: a `field_id` on every field, unique within its record.
pub fn check_alone(schema: &Schema) -> Vec<Incompatibility> {
    let mut comparison = Comparison::default();
    field_ids("", schema, &mut comparison);
    comparison.incompatibilities
}

fn field_ids(path: &str, schema: &Schema, comparison: &mut Comparison) {
    const REMEDY: &str = "give it a field_id of its own, a positive whole number that no version ever used";
    match schema {
        Schema::Record(record) => {
            let mut seen: HashMap<u64, &str> = HashMap::new();
            for field in &record.fields {
                let path = under(path, &field.name);
                match field_id(field) {
                    Some(id) => {
                        if let Some(first) = seen.insert(id, &field.name) {
                            let problem = format!("field_id {id} is also that of {first}");
                            comparison.add(&path, Direction::Identity, problem, REMEDY);
                        }
                    }
                    None => comparison.add(&path, Direction::Identity, "no field_id", REMEDY),
                }
                field_ids(&path, &field.schema, comparison);
            }
        }
        Schema::Union(union) => {
            union.variants().iter().for_each(|branch| field_ids(path, branch, comparison))
        }
        Schema::Array(array) => field_ids(&under(path, "[]"), &array.items, comparison),
        Schema::Map(map) => field_ids(&under(path, "{}"), &map.types, comparison),
        _ => {}
    }
}

type Names<'a> = &'a HashMap<Name, &'a Schema>;

/// Follows both versions at once and reports what is stored or digested and moved.
struct Identity<'a, 'o> {
    names: (Names<'a>, Names<'a>),
    seen: HashSet<String>,
    comparison: &'o mut Comparison,
}

impl<'a> Identity<'a, '_> {
    fn schema(&mut self, path: &str, old: &'a Schema, new: &'a Schema) {
        match (named(old, self.names.0), named(new, self.names.1)) {
            (Schema::Record(old), Schema::Record(new)) => self.record(path, old, new),
            (Schema::Enum(old), Schema::Enum(new)) => self.symbols(path, old, new),
            (Schema::Array(old), Schema::Array(new)) => {
                self.schema(&under(path, "[]"), &old.items, &new.items);
            }
            (Schema::Map(old), Schema::Map(new)) => self.schema(&under(path, "{}"), &old.types, &new.types),
            (old, new) if branches(old).len() + branches(new).len() > 2 => {
                for before in branches(old) {
                    let counterpart = branches(new).iter().find(|after| alike(before, after, self.names));
                    if let Some(after) = counterpart {
                        self.schema(path, before, after);
                    }
                }
            }
            _ => {}
        }
    }

    fn record(&mut self, path: &str, old: &'a RecordSchema, new: &'a RecordSchema) {
        if !self.seen.insert(old.name.fullname(None)) {
            return;
        }
        for after in &new.fields {
            let path = under(path, &after.name);
            let before = old.fields.iter().find(|before| answers_to(after, &before.name));
            if let Some(before) = before {
                self.field(&path, before, after);
            }
            let Some(id) = field_id(after) else { continue };
            let owner = old.fields.iter().find(|other| field_id(other) == Some(id));
            if let Some(owner) = owner.filter(|owner| !answers_to(after, &owner.name)) {
                let problem = format!("field_id {id} was that of {}", owner.name);
                let remedy =
                    "a field_id names a field in content digests for good; take one that was never used";
                self.comparison.add(&path, Direction::Identity, problem, remedy);
            }
        }
    }

    fn field(&mut self, path: &str, old: &'a RecordField, new: &'a RecordField) {
        if let (Some(before), Some(after)) = (field_id(old), field_id(new))
            && before != after
        {
            let problem = format!("field_id changed from {before} to {after}");
            let remedy = "a field_id names a field in content digests for good; put the earlier one back";
            self.comparison.add(path, Direction::Identity, problem, remedy);
        }
        if let (Some(before), Some(after)) = (&old.default, &new.default)
            && before != after
        {
            let problem = format!("the default changed from {before} to {after}");
            let remedy = "events that lack the field would change their digest; put the earlier default back";
            self.comparison.add(path, Direction::Identity, problem, remedy);
        }
        self.schema(path, &old.schema, &new.schema);
    }

    fn symbols(&mut self, path: &str, old: &EnumSchema, new: &EnumSchema) {
        let place = |symbol: &String| new.symbols.iter().position(|other| other == symbol);
        let moved =
            old.symbols.iter().enumerate().filter(|(at, symbol)| place(symbol).is_some_and(|to| to != *at));
        let moved: Vec<&str> = moved.map(|(_, symbol)| symbol.as_str()).collect();
        if !moved.is_empty() {
            let problem = format!("moved symbols: {}", moved.join(", "));
            let remedy = "a symbol's place is its number in the store; keep the order and append at the end";
            self.comparison.add(path, Direction::Identity, problem, remedy);
        }
    }
}

fn field_id(field: &RecordField) -> Option<u64> {
    field.custom_attributes.get("field_id").and_then(Json::as_u64).filter(|id| *id > 0)
}

fn answers_to(field: &RecordField, name: &str) -> bool {
    field.name == name || field.aliases.iter().any(|alias| alias == name)
}

fn under(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn named<'a>(schema: &'a Schema, names: Names<'a>) -> &'a Schema {
    match schema {
        Schema::Ref { name } => names.get(name).copied().unwrap_or(schema),
        other => other,
    }
}

/// The branches of a union; anything else is its own only branch.
fn branches(schema: &Schema) -> &[Schema] {
    match schema {
        Schema::Union(union) => union.variants(),
        other => std::slice::from_ref(other),
    }
}

/// Whether two branches are meant to be the same type: of one sort, whatever is inside.
fn alike(old: &Schema, new: &Schema, names: (Names<'_>, Names<'_>)) -> bool {
    let (old, new) = (named(old, names.0), named(new, names.1));
    std::mem::discriminant(old) == std::mem::discriminant(new)
}

#[cfg(test)]
mod tests;
