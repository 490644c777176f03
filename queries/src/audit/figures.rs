//! Rows of a figures text as counters: `grp` and integers become `grp/name`, or `name` where the group is empty.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use datafusion::arrow::compute::cast;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use std::collections::{BTreeMap, BTreeSet};

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters(pub(super) BTreeMap<String, i64>);

impl Counters {
    /// The counters of a text's rows. Where an engine found nothing to add up, that is 0.
    pub(super) fn read(batches: &[RecordBatch]) -> Result<Counters> {
        let mut counters = BTreeMap::new();
        for batch in batches {
            let groups =
                batch.column_by_name("grp").map(|column| cast(column, &DataType::Utf8)).transpose()?;
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                if field.name() == "grp" {
                    continue;
                }
                let numbers = cast(column, &DataType::Int64)?;
                let numbers = numbers.as_primitive::<Int64Type>();
                for row in 0..batch.num_rows() {
                    if column.is_valid(row) && numbers.is_null(row) {
                        return Err(exec_datafusion_err!("{} does not fit 64 bits", field.name()));
                    }
                    let number = if numbers.is_valid(row) { numbers.value(row) } else { 0 };
                    let group = groups.as_ref().map_or("", |g| g.as_string::<i32>().value(row));
                    let name = match group {
                        "" => field.name().clone(),
                        group => format!("{group}/{}", field.name()),
                    };
                    if counters.insert(name.clone(), number).is_some() {
                        return Err(DataFusionError::Execution(format!("{name} came twice")));
                    }
                }
            }
        }
        Ok(Counters(counters))
    }

    /// Adds other counters, name by name.
    pub(super) fn add(&mut self, more: Counters) {
        for (name, number) in more.0 {
            let sum = self.0.entry(name).or_default();
            *sum = sum.saturating_add(number);
        }
    }

    /// A counter; 0 where it is not there, which is what a group without rows says.
    pub(super) fn get(&self, group: &str, name: &str) -> i64 {
        let key = if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") };
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// A counter summed over all groups.
    pub(super) fn sum(&self, name: &str) -> i64 {
        let named = self.0.iter().filter(|(key, _)| key.rsplit('/').next() == Some(name));
        named.fold(0, |sum: i64, (_, value)| sum.saturating_add(*value))
    }

    /// The groups, in order.
    pub(super) fn groups(&self) -> BTreeSet<String> {
        self.0.keys().filter_map(|key| key.rsplit_once('/')).map(|(group, _)| group.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Counters;
    use arrow_array::{Int64Array, RecordBatch, StringArray, UInt64Array, record_batch};
    use std::sync::Arc;

    /// Scenario: groups, an absent sum, unsigned counts, and a count beyond 64 bits of sign.
    /// Guarantees: names by group, 0 for absent, an error rather than a wrong number.
    #[test]
    fn rows_become_counters() {
        let groups = Arc::new(StringArray::from(vec!["A", ""]));
        let sums = Arc::new(Int64Array::from(vec![Some(7), None]));
        let batch =
            RecordBatch::try_from_iter([("grp", groups as _), ("tasks", sums as _)]).expect("a batch");
        let counters = Counters::read(&[batch]).expect("counters");
        assert_eq!((counters.get("A", "tasks"), counters.get("", "tasks"), counters.sum("tasks")), (7, 0, 7));
        let much = Arc::new(UInt64Array::from(vec![u64::MAX]));
        let batch = RecordBatch::try_from_iter([("tasks", much as _)]).expect("a batch");
        assert!(Counters::read(&[batch]).is_err());
        let twice = record_batch!(("tasks", Int64, [1, 2])).expect("a batch");
        assert!(Counters::read(&[twice]).is_err());
    }
}
