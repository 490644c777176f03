//! Writing every table as Parquet, with the snapshot beside it, so that the same jobs run elsewhere and later.

use super::parquet::{FORMAT, MANIFEST, Manifest, ParquetError, Place};
use super::snapshot::Snapshot;
use super::table::{Table, tables};
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::SessionContext;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Rows by table.
    pub rows: Vec<(String, u64)>,
}

/// Writes all tables of a session below a place, one folder a table, large ones one folder a month.
/// The manifest comes last: a folder without one is not an export.
///
/// # Errors
/// Where the place is not empty, or something could not be read or written.
pub async fn export(
    context: &SessionContext,
    place: &Place,
    snapshot: &Snapshot,
) -> Result<Exported, ParquetError> {
    place.must_be_empty().await?;
    place.register(context);
    let mut rows = Vec::new();
    for table in tables() {
        rows.push((table.name.to_owned(), write(context, place, table).await?));
    }
    let manifest = Manifest { format: FORMAT, snapshot: snapshot.clone(), rows: rows.clone() };
    place.put(MANIFEST, serde_json::to_vec_pretty(&manifest)?).await?;
    Ok(Exported { rows })
}

async fn write(context: &SessionContext, place: &Place, table: &Table) -> Result<u64, ParquetError> {
    let frame = match table.month_of {
        "" => context.table(table.name).await?,
        column => {
            let month = format!("to_char(to_timestamp_micros({column}), '%Y-%m') AS month");
            context.sql(&format!("SELECT *, {month} FROM {}", table.name)).await?
        }
    };
    let options = match table.month_of {
        "" => DataFrameWriteOptions::new().with_single_file_output(true),
        _ => DataFrameWriteOptions::new().with_partition_by(vec!["month".to_owned()]),
    };
    let to = match table.month_of {
        "" => place.url(&format!("{}/all.parquet", table.name)),
        _ => place.url(&format!("{}/", table.name)),
    };
    let written = frame.write_parquet(&to, options, None).await?;
    let counts = written.iter().filter_map(|batch| {
        let column = batch.column(0);
        let counts = arrow_array::cast::AsArray::as_primitive_opt::<arrow_array::types::UInt64Type>(column)?;
        arrow_array::Array::is_valid(counts, 0).then(|| counts.value(0))
    });
    Ok(counts.sum())
}
