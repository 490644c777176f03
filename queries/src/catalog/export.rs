//! Writing every table as Parquet, with the snapshot beside it, so that the same jobs run elsewhere and later.

use super::parquet::{FORMAT, MANIFEST, Manifest, ParquetError, Place};
use super::snapshot::Snapshot;
use super::table::{BUCKET, Table, tables};
use datafusion::common::config::TableParquetOptions;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::SessionContext;

/// Rows of a row group. One a bucket is open at once, and each is held in memory until it is full.
const GROUP_ROWS_MAX: usize = 32_768;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Rows by table.
    pub rows: Vec<(String, u64)>,
}

/// Writes all tables of a session below a place, one folder a table, large ones one folder a bucket of tasks.
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
    let files = place.files().await?;
    let manifest = Manifest { format: FORMAT, snapshot: snapshot.clone(), rows: rows.clone(), files };
    place.put(MANIFEST, serde_json::to_vec_pretty(&manifest)?).await?;
    Ok(Exported { rows })
}

async fn write(context: &SessionContext, place: &Place, table: &Table) -> Result<u64, ParquetError> {
    let frame = context.table(table.name).await?;
    let (mut options, mut to) = (DataFrameWriteOptions::new(), place.url(&format!("{}/", table.name)));
    if table.bucketed {
        options = options.with_partition_by(vec![BUCKET.to_owned()]);
    } else {
        options = options.with_single_file_output(true);
        to.push_str("all.parquet");
    }
    let mut parquet = TableParquetOptions::default();
    parquet.global.max_row_group_size = GROUP_ROWS_MAX;
    let written = frame.write_parquet(&to, options, Some(parquet)).await?;
    let counts = written.iter().filter_map(|batch| {
        let column = batch.column(0);
        let counts = arrow_array::cast::AsArray::as_primitive_opt::<arrow_array::types::UInt64Type>(column)?;
        arrow_array::Array::is_valid(counts, 0).then(|| counts.value(0))
    });
    Ok(counts.sum())
}
