//! How a job's texts become plans, and plans rows: what is computed once, pass by pass, and under which parameters.

use super::auditor::{Auditor, Source};
use super::job::{Job, Text};
use super::limits;
use super::passes::{self, Pass, WHOLE};
use super::result::{Offender, Window};
use crate::catalog::Constant;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::DataType;
use datafusion::arrow::compute::cast;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, ParamValues, Result, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::physical_plan::ExecutionPlan;
use futures::TryStreamExt;
use std::sync::Arc;
use std::time::Instant;

/// The part of a memory limit that rows kept from one text to the next may take beside it.
const KEPT_PART: usize = 8;
/// What such a row takes, about, bytes: an id, hashes, counts.
const KEPT_ROW_BYTES: usize = 128;

impl Auditor {
    pub(super) fn passes(&self, job: &Job) -> Vec<Pass> {
        let files = matches!(self.source, Source::Parquet(_));
        if !job.by_bucket || !files || !self.workers.is_empty() {
            return vec![WHOLE];
        }
        let read = |name: &str| job.plans().any(|text| text.mentions(name));
        let rows = self.snapshot.rows.iter().filter(|(name, _)| read(name)).map(|(_, rows)| rows);
        passes::passes(rows.sum(), self.memory_bytes_max)
    }

    /// Computes what a job's texts share.
    pub(super) async fn compute_once(&self, job: &Job, window: Window) -> Result<()> {
        for text in job.once {
            let ours = job.plans().chain([job.offenders]).any(|other| other.mentions(text.stem()));
            if ours || matches!(self.source, Source::Parquet(_)) {
                self.compute(*text, window, WHOLE, true).await?; // else the second opinion is ClickHouse's own
            }
        }
        Ok(())
    }

    /// Computes what the job's texts share of these buckets, and makes the subjects in them known as the view `subjects`.
    pub(super) async fn prepare(&self, job: &Job, window: Window, pass: Pass) -> Result<()> {
        // the memory of these tables is outside the limit: a text whose input is too large for that stays a view
        let room = self.memory_bytes_max.map_or(usize::MAX, |limit| limit / KEPT_PART / KEPT_ROW_BYTES);
        let mut rows = 0;
        for text in job.each_pass {
            rows = self.compute(*text, window, pass, rows <= room).await?;
        }
        if let Some(text) = job.subjects {
            self.compute(text, window, pass, false).await?;
        }
        Ok(())
    }

    /// Makes a text known under the name of its file: its rows as a table, or the text as a view; gives the number of rows kept.
    /// Workers compute it with the plans that read it.
    async fn compute(&self, text: Text, window: Window, pass: Pass, kept: bool) -> Result<usize> {
        self.context.deregister_table(text.stem())?;
        let frame = self.frame(text, window, pass).await?;
        let mut rows = 0;
        let table: Arc<dyn TableProvider> = if kept && self.workers.is_empty() {
            let schema = Arc::new(frame.schema().as_arrow().clone());
            let batches = self.collect(text, window, pass).await?;
            rows = batches.iter().map(RecordBatch::num_rows).sum();
            Arc::new(MemTable::try_new(schema, vec![batches])?)
        } else {
            frame.into_view()
        };
        self.context.register_table(text.stem(), table)?;
        Ok(rows)
    }

    async fn frame(&self, text: Text, window: Window, pass: Pass) -> Result<DataFrame> {
        let scalar = |constant| match constant {
            Constant::Text(text) => ScalarValue::Utf8(Some(text)),
            Constant::Integer(number) => ScalarValue::Int64(Some(number)),
        };
        let values = self.parameters(window, pass).into_iter();
        let values = values.map(|(name, constant)| (name.to_owned(), scalar(constant).into()));
        let frame = self.context.sql(text.sql).await.map_err(|e| e.context(text.name))?;
        frame.with_param_values(ParamValues::Map(values.collect()))
    }

    pub(super) async fn collect(&self, text: Text, window: Window, pass: Pass) -> Result<Vec<RecordBatch>> {
        self.progress.phase(text.name);
        let (began, context) = (Instant::now(), self.context.task_ctx());
        let plan = self.frame(text, window, pass).await?.create_physical_plan().await?;
        let batches = datafusion::physical_plan::collect(plan.clone(), context).await?;
        limits::log(text.name, plan.as_ref(), began.elapsed());
        if matches!(self.source, Source::Parquet(_)) {
            self.progress.add_rows(leaf_rows(plan.as_ref())); // scans of ClickHouse count as they go
        }
        Ok(batches)
    }

    /// The first `limit` offenders, and how many there are.
    pub(super) async fn named(
        &self,
        job: &Job,
        window: Window,
        limit: usize,
    ) -> Result<(Vec<Offender>, u64)> {
        self.progress.phase(job.offenders.name);
        let (mut first, mut total) = (Vec::new(), 0);
        for pass in self.passes(job) {
            self.prepare(job, window, pass).await?;
            let mut batches = self.frame(job.offenders, window, pass).await?.execute_stream().await?;
            let before = first.len();
            while let Some(batch) = batches.try_next().await? {
                total += batch.num_rows() as u64;
                let wanted = limit.saturating_sub(first.len() - before).min(batch.num_rows());
                first.extend(offenders(&batch.slice(0, wanted))?);
            }
            if before > 0 {
                first.sort_by(|one, other| one.id.cmp(&other.id)); // each pass has an order of its own
            }
            first.truncate(limit);
        }
        Ok((first, total))
    }

    /// Everything that a text may refer to as `$name`. No name begins with another one.
    pub(super) fn parameters(&self, window: Window, pass: Pass) -> Vec<(&'static str, Constant)> {
        vec![
            ("bucket_first", Constant::Integer(pass.first)),
            ("bucket_next", Constant::Integer(pass.next)),
            ("version_max", Constant::Integer(self.snapshot.state_version_max)),
            ("from_us", Constant::Integer(window.from_us)),
            ("to_us", Constant::Integer(window.to_us)),
            ("watermark_us", Constant::Integer(self.snapshot.watermark_us)),
            ("as_of_us", Constant::Integer(self.snapshot.as_of_us())),
            ("settled_before_us", Constant::Integer(self.before(self.settings.settled_after_us))),
            ("minute_ago_us", Constant::Integer(self.before(60_000_000))),
            ("launch_us", Constant::Integer(super::jobs::launch_us(&self.settings, &self.snapshot, window))),
            ("task_topic", Constant::Text(self.settings.task_topic.clone())),
        ]
    }

    /// The moment that lies so long before the watermark; the end of time once nothing follows.
    fn before(&self, wait_us: i64) -> i64 {
        match self.snapshot.watermark_us {
            i64::MAX => i64::MAX,
            watermark => watermark.saturating_sub(wait_us),
        }
    }
}

/// Rows that came out of the leaves of a plan that was run.
fn leaf_rows(plan: &dyn ExecutionPlan) -> u64 {
    let children = plan.children();
    if children.is_empty() {
        return plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0) as u64;
    }
    children.into_iter().map(|child| leaf_rows(child.as_ref())).sum()
}

fn offenders(batch: &RecordBatch) -> Result<Vec<Offender>> {
    let text = |name: &str| -> Result<ArrayRef> {
        let column = batch.column_by_name(name);
        let column = column.ok_or_else(|| DataFusionError::Execution(format!("offenders have no {name}")))?;
        Ok(cast(column, &DataType::Utf8)?)
    };
    let (id, why, detail) = (text("id")?, text("why")?, text("detail")?);
    let (id, why, detail) = (id.as_string::<i32>(), why.as_string::<i32>(), detail.as_string::<i32>());
    let one = |row| Offender {
        id: id.value(row).to_owned(),
        why: why.value(row).to_owned(),
        detail: detail.value(row).to_owned(),
    };
    Ok((0..batch.num_rows()).map(one).collect())
}
