//! Holds decoded rows against the rules, a column at a time. Only guilty rows cost more than a comparison.

use crate::columns::{Column, Kind, columns};
use crate::contract::Topic;
use crate::reason::{Fault, Reason};
use crate::rules::{
    AHEAD_MICROS_MAX, BOUNDS, CALL, OCCURRED_AT_MAX, OCCURRED_AT_MIN, TEXT_BYTES_MAX, TIME_MIN, required,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};

/// The first fault of each faulty row, by row, ascending. `appended_at_ms` is the Kafka timestamp of each row,
/// negative where the broker gave none.
pub(crate) fn validate(topic: Topic, rows: &RecordBatch, appended_at_ms: &[i64]) -> Vec<(usize, Fault)> {
    let table = Table { columns: columns(topic), rows };
    let mut faults = Vec::new();
    occurred_at(&table, appended_at_ms, &mut faults);
    times(&table, &mut faults);
    texts(&table, &mut faults);
    numbers(&table, &mut faults);
    currency(&table, &mut faults);
    references(topic, &table, &mut faults);
    calls(&table, &mut faults);
    faults.sort_by_key(|(row, _)| *row); // stable: of several faults the first rule's is told
    faults.dedup_by_key(|(row, _)| *row);
    faults
}

type Faults = Vec<(usize, Fault)>;

struct Table<'a> {
    columns: &'static [Column],
    rows: &'a RecordBatch,
}

impl<'a> Table<'a> {
    fn find(&self, name: &str) -> Option<(&'static Column, &'a ArrayRef)> {
        let place = self.columns.iter().position(|c| c.name == name)?;
        Some((self.columns.get(place)?, self.rows.columns().get(place)?))
    }
}

fn occurred_at(table: &Table<'_>, appended_at_ms: &[i64], faults: &mut Faults) {
    let Some((_, array)) = table.find("occurred_at") else { return };
    let times = array.as_primitive::<TimestampMicrosecondType>().values();
    for (row, (time, appended)) in times.iter().zip(appended_at_ms).enumerate() {
        let latest = match appended {
            0.. => appended.saturating_mul(1000).saturating_add(AHEAD_MICROS_MAX).min(OCCURRED_AT_MAX),
            _ => OCCURRED_AT_MAX,
        };
        if *time < OCCURRED_AT_MIN || *time > latest {
            let found = if *time < OCCURRED_AT_MIN {
                "before 2020"
            } else {
                "more than 24 h after the Kafka timestamp"
            };
            let sentence = format!("{found}; expected microseconds since 1970-01-01 UTC");
            faults.push((row, Fault::new(Reason::TimeOutOfRange, "occurred_at", sentence)));
        }
    }
}

/// Times beside `occurred_at` lie ahead as often as behind, but within what the store can hold.
fn times(table: &Table<'_>, faults: &mut Faults) {
    for (column, array) in table.columns.iter().zip(table.rows.columns()) {
        if column.kind != Kind::Timestamp || column.name == "occurred_at" {
            continue;
        }
        let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() else { continue };
        for (row, time) in times.iter().enumerate() {
            if time.is_some_and(|time| !(TIME_MIN..=OCCURRED_AT_MAX).contains(&time)) {
                let sentence = "outside 2000 to 2100; expected microseconds since 1970-01-01 UTC, or nothing where there is no end";
                faults.push((row, Fault::new(Reason::TimeOutOfRange, &*column.name, sentence)));
            }
        }
    }
}

/// A text that is there must not be empty, which is how the store says absent, and ids have bounds.
fn texts(table: &Table<'_>, faults: &mut Faults) {
    for (column, array) in table.columns.iter().zip(table.rows.columns()) {
        let Some(text) = array.as_string_opt::<i32>() else { continue };
        for (row, ends) in text.value_offsets().windows(2).enumerate() {
            let &[start, end] = ends else { continue };
            let length = usize::try_from(end - start).unwrap_or(0);
            if length == 0 && text.is_valid(row) {
                faults.push((row, Fault::new(Reason::MissingReference, &*column.name, "present but empty")));
            } else if length > TEXT_BYTES_MAX {
                let sentence = format!("{length} bytes; at most {TEXT_BYTES_MAX}");
                faults.push((row, Fault::new(Reason::OutOfRange, &*column.name, sentence)));
            }
        }
    }
}

fn numbers(table: &Table<'_>, faults: &mut Faults) {
    for bounds in &BOUNDS {
        let Some((_, array)) = table.find(bounds.field) else { continue };
        let mut check = |row: usize, value: i64| {
            if (value < bounds.min || value > bounds.max) && array.is_valid(row) {
                let sentence = format!("outside {} to {}", bounds.min, bounds.max);
                faults.push((row, Fault::new(bounds.reason, bounds.field, sentence)));
            }
        };
        if let Some(longs) = array.as_primitive_opt::<Int64Type>() {
            longs.values().iter().enumerate().for_each(|(row, value)| check(row, *value));
        } else if let Some(ints) = array.as_primitive_opt::<Int32Type>() {
            ints.values().iter().enumerate().for_each(|(row, value)| check(row, i64::from(*value)));
        }
    }
}

fn currency(table: &Table<'_>, faults: &mut Faults) {
    let Some((_, array)) = table.find("currency") else { return };
    let codes: &StringArray = array.as_string();
    for (row, code) in codes.iter().enumerate() {
        if code.is_some_and(|c| c.len() != 3 || !c.bytes().all(|b| b.is_ascii_uppercase())) {
            let sentence = "not an ISO 4217 code of three capital letters";
            faults.push((row, Fault::new(Reason::Amount, "currency", sentence)));
        }
    }
}

fn references(topic: Topic, table: &Table<'_>, faults: &mut Faults) {
    let Some((Column { kind: Kind::Enum(symbols), .. }, kinds)) = table.find("kind") else { return };
    let kinds = kinds.as_primitive::<Int8Type>().values();
    for rule in required(topic) {
        let mut concerned = [false; 128];
        for (place, symbol) in symbols.iter().enumerate() {
            if let Some(flag) = concerned.get_mut(place + 1) {
                *flag = rule.kinds.contains(&symbol.as_str());
            }
        }
        for field in rule.fields {
            let Some((column, array)) = table.find(field) else { continue };
            for (row, kind) in kinds.iter().enumerate() {
                let kind = usize::from(kind.unsigned_abs());
                if concerned.get(kind) == Some(&true) && absent(column, array, row) {
                    let name = symbols.get(kind - 1).map_or("", String::as_str);
                    let sentence = format!("absent; {name} must carry it");
                    faults.push((row, Fault::new(Reason::MissingReference, *field, sentence)));
                }
            }
        }
    }
}

fn calls(table: &Table<'_>, faults: &mut Faults) {
    let Some((column, endpoints)) = table.find("endpoint") else { return };
    for field in CALL {
        let Some((needed, array)) = table.find(field) else { continue };
        for row in 0..table.rows.num_rows() {
            if !absent(column, endpoints, row) && absent(needed, array, row) {
                let sentence = "absent; a call must carry it";
                faults.push((row, Fault::new(Reason::CallIncomplete, field, sentence)));
            }
        }
    }
}

fn absent(column: &Column, array: &ArrayRef, row: usize) -> bool {
    match column.kind {
        Kind::Enum(_) => array.as_primitive::<Int8Type>().values().get(row) == Some(&0),
        _ => array.is_null(row),
    }
}
