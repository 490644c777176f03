//! Reading from ClickHouse: one query a partition, its answer an Arrow stream over HTTP.
//!
//! A partition whose query breaks off is asked again, and of the second answer only what was not handed on before is handed on
//! (`resume.rs`). A stream that ends early is an error, never a short answer. Dropping the stream ends the query in ClickHouse.

use super::filter::{Constant, Constants};
use super::resume::HandedOn;
use super::table::tables;
use crate::audit::progress::Progress;
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::SchemaRef;
use clickhouse::Client;
use clickhouse::query::BytesCursor;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// How often a partition is asked before it is given up.
const ATTEMPTS_MAX: u32 = 4;
/// The first pause between two attempts; each further one is twice as long.
const RETRY_MILLIS: u64 = 200;
/// Rows of one partition after which an answer that breaks off cannot be taken up again: 8 bytes are kept for each.
const RESUMED_ROWS_MAX: usize = 4_000_000;
/// The same in a session under a memory limit.
const RESUMED_ROWS_LIMITED: usize = 128 << 10;
/// Batches that may wait between ClickHouse and the plan.
const BATCHES_MAX: usize = 2;
/// DataFusion's batches where nothing limits them. ClickHouse then keeps its own, larger blocks, which are cheaper.
const BATCH_ROWS: usize = 8_192;

/// What is asked of ClickHouse; it travels to workers as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Scan {
    pub(super) table: String,
    pub(super) projection: Vec<usize>,
    /// One a partition; an empty one asks for nothing.
    pub(super) queries: Vec<String>,
    pub(super) constants: Constants,
    /// Rows in the whole table, about.
    pub(super) rows: Option<u64>,
}

/// The plan's leaf.
#[derive(Clone)]
pub(crate) struct ClickHouseScan {
    client: Client,
    pub(super) scan: Arc<Scan>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
    progress: Progress,
}

impl ClickHouseScan {
    pub(super) fn new(client: Client, scan: Scan, schema: SchemaRef, progress: Progress) -> ClickHouseScan {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            // not declared as hashed: ClickHouse's hash is another than DataFusion's
            Partitioning::UnknownPartitioning(scan.queries.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        ClickHouseScan { client, scan: Arc::new(scan), schema, properties: Arc::new(properties), progress }
    }
}

impl fmt::Debug for ClickHouseScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseScan").field("scan", &self.scan).finish_non_exhaustive()
    }
}

impl DisplayAs for ClickHouseScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.scan.queries.first().map_or("", String::as_str);
        write!(f, "ClickHouseScan: partitions={}, {first}", self.scan.queries.len())
    }
}

impl ExecutionPlan for ClickHouseScan {
    fn name(&self) -> &'static str {
        "ClickHouseScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let share = args.partition().map_or(1, |_| self.scan.queries.len().max(1) as u64);
        let rows = self.scan.rows.and_then(|rows| usize::try_from(rows / share).ok());
        let num_rows = rows.map_or(Precision::Absent, Precision::Inexact);
        Ok(Arc::new(Statistics { num_rows, ..Statistics::new_unknown(&self.schema) }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let query = self.scan.queries.get(partition).cloned();
        let query = query.ok_or_else(|| internal_datafusion_err!("no partition {partition}"))?;
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema.clone(), BATCHES_MAX);
        let (sender, this) = (builder.tx(), self.clone());
        let rows = context.session_config().batch_size();
        builder.spawn(async move { this.read_patiently(&query, rows, &sender).await });
        Ok(builder.build())
    }
}

impl ClickHouseScan {
    /// The scan in so many parts, each with as many partitions as any other.
    pub(crate) fn divided(&self, parts: usize) -> Vec<ClickHouseScan> {
        let each = self.scan.queries.len().div_ceil(parts.max(1)).max(1);
        let part = |number: usize| {
            let queries = self.scan.queries.iter().skip(number * each).take(each).cloned();
            let queries: Vec<String> = queries.chain(std::iter::repeat(String::new())).take(each).collect();
            let scan = Scan { queries, ..self.scan.as_ref().clone() };
            ClickHouseScan::new(self.client.clone(), scan, self.schema.clone(), self.progress.clone())
        };
        (0..parts).map(part).collect()
    }

    /// Reads one partition; asks again where the answer breaks off.
    async fn read_patiently(&self, query: &str, rows: usize, to: &Sender<Result<RecordBatch>>) -> Result<()> {
        if query.is_empty() {
            return Ok(());
        }
        let mut handed_on =
            HandedOn::new(if rows < BATCH_ROWS { RESUMED_ROWS_LIMITED } else { RESUMED_ROWS_MAX });
        let mut attempt = 1;
        loop {
            match self.read(query, rows, to, &mut handed_on).await {
                Err(error) if attempt < ATTEMPTS_MAX && handed_on.again() => {
                    let pause = Duration::from_millis(RETRY_MILLIS << (attempt - 1));
                    let (table, rows) = (&self.scan.table, handed_on.rows());
                    tracing::warn!(table, rows, attempt, ?pause, %error, "asking ClickHouse again");
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                done => return done,
            }
        }
    }

    async fn read(
        &self,
        query: &str,
        rows: usize,
        to: &Sender<Result<RecordBatch>>,
        handed_on: &mut HandedOn,
    ) -> Result<()> {
        // a session under a memory limit has small batches; slices of a large one would hold all of it
        let block = (rows < BATCH_ROWS).then_some(rows);
        let mut answer = ask(&self.client, query, &self.scan.constants, block)?;
        let mut decoder = StreamDecoder::new();
        while let Some(bytes) = answer.next().await.map_err(failed)? {
            let mut buffer = bytes.into();
            while let Some(batch) = decoder.decode(&mut buffer)? {
                let batch = handed_on.take(self.shape(&batch)?)?;
                if batch.num_rows() == 0 {
                    continue;
                }
                self.progress.add_rows(batch.num_rows() as u64);
                if to.send(Ok(batch)).await.is_err() {
                    return Ok(()); // nobody wants more
                }
            }
        }
        decoder.finish()?; // an answer that was cut off is an error
        handed_on.end()
    }

    /// The batch under the names and types that were promised.
    fn shape(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns: Vec<ArrayRef> =
            batch.columns().iter().take(self.schema.fields().len()).cloned().collect();
        for (field, column) in self.schema.fields().iter().zip(&columns) {
            if field.data_type() != column.data_type() {
                let (name, want, got) = (field.name(), field.data_type(), column.data_type());
                let table = &self.scan.table;
                return Err(internal_datafusion_err!("{table}.{name} came as {got} instead of {want}"));
            }
        }
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

fn failed(error: clickhouse::error::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn ask(client: &Client, query: &str, constants: &Constants, block: Option<usize>) -> Result<BytesCursor> {
    let mut asked = client.query(query);
    if let Some(rows) = block {
        asked = asked.with_setting("max_block_size", rows.to_string());
    }
    for (name, value) in SETTINGS {
        asked = asked.with_setting(name, value);
    }
    for (name, constant) in constants {
        asked = match constant {
            Constant::Text(text) => asked.param(name, text),
            Constant::Integer(number) => asked.param(name, number),
        };
    }
    asked.fetch_bytes("ArrowStream").map_err(failed)
}

/// The whole answer to a query that ClickHouse computes by itself.
pub(crate) async fn answer(client: &Client, query: &str, constants: &Constants) -> Result<Vec<RecordBatch>> {
    let mut answer = ask(client, query, constants, None)?;
    let (mut decoder, mut batches) = (StreamDecoder::new(), Vec::new());
    while let Some(bytes) = answer.next().await.map_err(failed)? {
        let mut buffer = bytes.into();
        while let Some(batch) = decoder.decode(&mut buffer)? {
            batches.push(batch);
        }
    }
    decoder.finish()?;
    Ok(batches)
}

/// What every scan asks for: no compression, since both ends are near; types as they are; an end when we go away; and
/// names, unions and joins as the SQL standard has them, so that one text means the same in both engines.
const SETTINGS: [(&str, &str); 7] = [
    ("output_format_arrow_compression_method", "none"),
    ("output_format_arrow_string_as_string", "1"),
    ("output_format_arrow_fixed_string_as_fixed_byte_array", "1"),
    ("cancel_http_readonly_queries_on_client_close", "1"),
    ("prefer_column_name_to_alias", "1"),
    ("join_use_nulls", "1"),
    ("union_default_mode", "ALL"),
];

/// Carries scans to workers, each of which reads from its own connection to the same ClickHouse.
#[derive(Clone)]
pub struct ScanCodec {
    client: Option<Client>,
    progress: Progress,
}

impl fmt::Debug for ScanCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScanCodec").finish_non_exhaustive()
    }
}

impl ScanCodec {
    /// For a side that has this connection; `None` for one that reads files only.
    pub fn new(client: Option<Client>, progress: Progress) -> ScanCodec {
        ScanCodec { client, progress }
    }
}

impl PhysicalExtensionCodec for ScanCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        _: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan: Scan = serde_json::from_slice(bytes).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let table = tables().iter().find(|table| table.name == scan.table);
        let table = table.ok_or_else(|| internal_datafusion_err!("unknown table {}", scan.table))?;
        let schema = Arc::new(table.schema().project(&scan.projection)?);
        let client = self.client.clone();
        let client = client.ok_or_else(|| {
            DataFusionError::Configuration(
                "this worker has no ClickHouse: start it with --clickhouse URL".to_owned(),
            )
        })?;
        Ok(Arc::new(ClickHouseScan::new(client, scan, schema, self.progress.clone())))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let node: &dyn std::any::Any = node.as_ref();
        let scan = node.downcast_ref::<ClickHouseScan>();
        let scan = scan.ok_or_else(|| internal_datafusion_err!("only scans of ClickHouse are carried"))?;
        serde_json::to_writer(bytes, scan.scan.as_ref()).map_err(|e| DataFusionError::External(Box::new(e)))
    }
}
