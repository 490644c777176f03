//! A table of the store for DataFusion.

use super::filter::{Constants, translate};
use super::scan::{ClickHouseScan, Scan};
use super::snapshot::Snapshot;
use super::table::{Table, tables};
use crate::audit::progress::Progress;
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use clickhouse::Client;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use std::sync::Arc;

/// A deduplicated view of ClickHouse, up to the snapshot's bound.
struct ClickHouseTable {
    client: Client,
    table: &'static Table,
    snapshot: Arc<Snapshot>,
    progress: Progress,
    schema: SchemaRef,
}

impl std::fmt::Debug for ClickHouseTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickHouseTable").field("table", &self.table.name).finish_non_exhaustive()
    }
}

/// Makes every table of the store known to a session. Rows read are counted in `progress`.
///
/// # Errors
/// Where a name is taken.
pub fn register(
    context: &SessionContext,
    client: &Client,
    snapshot: &Arc<Snapshot>,
    progress: &Progress,
) -> Result<()> {
    for table in tables() {
        let (client, snapshot, progress) = (client.clone(), snapshot.clone(), progress.clone());
        let provider = ClickHouseTable { client, table, snapshot, progress, schema: table.schema() };
        context.register_table(table.name, Arc::new(provider))?;
    }
    Ok(())
}

impl ClickHouseTable {
    /// The queries of a scan, one a partition.
    fn queries(
        &self,
        projection: &[usize],
        filters: &[Expr],
        limit: Option<usize>,
        partitions: usize,
    ) -> (Vec<String>, Constants) {
        let picked = projection.iter().filter_map(|place| self.table.columns.get(*place));
        let columns: Vec<String> = picked.map(|c| format!("{} AS {}", c.sql, c.name)).collect();
        let columns = if columns.is_empty() { "toInt64(1) AS one".to_owned() } else { columns.join(", ") };
        let mut constants = Vec::new();
        let mut conditions = vec![self.table.bound(&self.snapshot)];
        conditions.extend(filters.iter().filter_map(|f| translate(f, self.table, &mut constants)));
        let (from, conditions) = (self.table.from(&self.snapshot), conditions.join(" AND "));
        let limit = limit.map_or(String::new(), |rows| format!(" LIMIT {rows}"));
        let query = |partition: usize| {
            let spread = match partitions {
                1 => String::new(),
                _ => format!(" AND cityHash64({}) % {partitions} = {partition}", self.table.spread),
            };
            format!("SELECT {columns} FROM {from} AS t WHERE {conditions}{spread}{limit}")
        };
        ((0..partitions).map(query).collect(), constants)
    }
}

#[async_trait]
impl TableProvider for ClickHouseTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let projection = projection.unwrap_or(&all);
        let schema = Arc::new(self.schema.project(projection)?);
        let partitions =
            if self.table.spread.is_empty() { 1 } else { state.config().target_partitions().max(1) };
        let (queries, constants) = self.queries(projection, filters, limit, partitions);
        let rows = self.snapshot.rows_of(self.table.name);
        let scan = Scan {
            table: self.table.name.to_owned(),
            projection: projection.clone(),
            queries,
            constants,
            rows,
        };
        Ok(Arc::new(ClickHouseScan::new(self.client.clone(), scan, schema, self.progress.clone())))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let exact = |filter: &&Expr| match translate(filter, self.table, &mut Vec::new()) {
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(exact).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let rows = self.snapshot.rows_of(self.table.name)?;
        let num_rows = Precision::Inexact(usize::try_from(rows).unwrap_or(usize::MAX));
        Some(Statistics { num_rows, ..Statistics::new_unknown(&self.schema) })
    }
}
