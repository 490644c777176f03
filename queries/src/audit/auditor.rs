//! Runs jobs over one snapshot: a session of tables, and the steps from texts to a result.

use super::check;
use super::cluster;
use super::figures::Counters;
use super::job::{Case, Job, Judgement};
use super::jobs::{JobName, job};
use super::limits::{self, Limits};
use super::passes::WHOLE;
use super::progress::Progress;
use super::result::{
    CrossCheck, Input, JobResult, Measure, Offender, Verdict, Versions, Window, WindowState, moment,
};
use super::settings::Settings;
use crate::catalog::{self, ParquetError, Place, Snapshot};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{Field, Schema};
use clickhouse::Client;
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use url::Url;
use uuid::Uuid;

/// Why an audit could not begin. What goes wrong later is a result: ERROR.
#[derive(Debug, Error)]
pub enum AuditError {
    /// ClickHouse did not say where the input ends.
    #[error(transparent)]
    Snapshot(#[from] crate::QueryError),
    /// The export cannot be read.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// The query engine refused.
    #[error(transparent)]
    Engine(#[from] DataFusionError),
}

/// Where rows come from.
#[derive(Clone)]
pub enum Source {
    /// The store.
    ClickHouse(Client),
    /// An export.
    Parquet(Place),
}

/// A session over one snapshot.
pub struct Auditor {
    pub(super) context: SessionContext,
    pub(super) source: Source,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) progress: Progress,
    pub(super) settings: Settings,
    pub(super) workers: Vec<Url>,
    pub(super) memory_bytes_max: Option<usize>,
    /// Why nothing that is read here can be believed.
    distrust: Option<String>,
}

impl std::fmt::Debug for Auditor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auditor").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// How often a job is run again on the same snapshot when ClickHouse broke off.
const ATTEMPTS_MAX: u32 = 3;
impl Auditor {
    /// A session over `snapshot`.
    ///
    /// # Errors
    /// Where tables cannot be registered.
    pub fn new(
        source: Source,
        snapshot: Snapshot,
        settings: Settings,
        limits: &Limits,
    ) -> Result<Auditor, AuditError> {
        let (snapshot, progress) = (Arc::new(snapshot), Progress::default());
        let mut builder = limits::builder(limits)?;
        if !limits.workers.is_empty() {
            let client = match &source {
                Source::ClickHouse(client) => Some(client.clone()),
                Source::Parquet(_) => None,
            };
            builder = cluster::distribute(builder, &limits.workers, client, &progress)?;
        }
        let context = SessionContext::new_with_state(builder.build());
        match &source {
            Source::ClickHouse(client) => {
                catalog::register_clickhouse(&context, client, &snapshot, &progress)?;
            }
            Source::Parquet(place) => {
                catalog::register_parquet(&context, place, limits.memory_bytes_max.is_none())?;
            }
        }
        context.register_table("heads", Arc::new(heads(&snapshot)?))?;
        context.register_table("beyond", Arc::new(beyond(&snapshot)?))?;
        let (workers, memory_bytes_max) = (limits.workers.clone(), limits.memory_bytes_max);
        let distrust = None;
        Ok(Auditor { context, source, snapshot, progress, settings, workers, memory_bytes_max, distrust })
    }

    /// The same, where whoever opened the source knows that it is not to be believed: every job then says ERROR and `why`.
    #[must_use]
    pub fn distrusting(self, why: String) -> Auditor {
        Auditor { distrust: Some(why), ..self }
    }

    /// The session, for exports.
    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Where the input ends.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The window between two moments; an end that is not given is where the data ends, as far as it is final.
    pub fn window(&self, from_us: Option<i64>, to_us: Option<i64>) -> Window {
        let (first, last) = self.snapshot.all(self.settings.grace_us);
        let to = to_us.unwrap_or(last);
        self.snapshot.window(from_us.unwrap_or(first.min(to)), to, self.settings.grace_us)
    }

    /// Runs one job. Whatever goes wrong becomes a result of verdict ERROR that says so.
    pub async fn run(&self, name: JobName, window: Window) -> JobResult {
        let job = job(name);
        if let Some(why) = &self.distrust {
            return self.unchecked(job, window, format!("Could not be checked: {why}."));
        }
        let (began, rows_before) = (Instant::now(), self.progress.read().rows);
        let mut attempt = 1;
        let mut by_hash = self.memory_bytes_max.is_none() || self.passes(job).len() > 1;
        let mut result = loop {
            limits::join_by_hash(&self.context, by_hash);
            match self.attempt(job, window).await {
                // what the delivery ledger had of before may reach it between the two opinions
                Ok(result)
                    if name == JobName::Realtime && !result.cross_check.agrees && attempt < ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                Ok(result) => break result,
                Err(error) if by_hash && limits::exhausted(&error) => {
                    tracing::info!(
                        job = name.name(),
                        "too large to join by hash: begins again by merging sorted runs"
                    );
                    by_hash = false;
                }
                Err(DataFusionError::External(error)) if attempt < ATTEMPTS_MAX => {
                    tracing::warn!(job = name.name(), attempt, error = %chain(error.as_ref()), "job is run again");
                    attempt += 1;
                }
                Err(error) => {
                    let absent = cluster::absent(&self.workers).await;
                    break self.failed(job, window, &error, &absent);
                }
            }
        };
        result.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        result.input.rows_read = self.progress.read().rows - rows_before;
        result
    }

    /// All offenders of a job, in order of their ids.
    ///
    /// # Errors
    /// Where the source does not answer.
    pub async fn offenders(&self, name: JobName, window: Window) -> Result<Vec<Offender>> {
        let job = job(name);
        limits::join_by_hash(&self.context, self.memory_bytes_max.is_none());
        self.compute_once(job, window).await?;
        Ok(self.named(job, window, usize::MAX).await?.0)
    }

    async fn attempt(&self, job: &Job, window: Window) -> Result<JobResult> {
        let (mut counters, mut theirs) = (Counters::default(), Counters::default());
        self.compute_once(job, window).await?;
        for pass in self.passes(job) {
            self.prepare(job, window, pass).await?;
            counters.add(Counters::read(&self.collect(job.figures, window, pass).await?)?);
            if matches!(self.source, Source::Parquet(_)) {
                theirs.add(Counters::read(&self.collect(job.check, window, pass).await?)?);
            }
        }
        if let Source::ClickHouse(client) = &self.source {
            self.progress.phase(job.check.name);
            let parameters = self.parameters(window, WHOLE);
            theirs = check::by_clickhouse(client, &self.snapshot, job, &parameters).await?;
        }
        let differences = check::compare(&counters, &theirs);
        let agrees = differences.is_empty() && (!theirs.0.is_empty() || counters.0.is_empty());
        if job.name == JobName::Offsets {
            counters.0.insert(
                "beyond_taken".to_owned(),
                i64::try_from(self.snapshot.beyond.len()).unwrap_or(i64::MAX),
            );
            counters.0.insert("beyond_waiting".to_owned(), self.snapshot.beyond_waiting);
        }
        let case = Case { counters: &counters, settings: &self.settings, snapshot: &self.snapshot, window };
        let judgement = decide((job.judge)(&case), job, window, agrees, theirs.0.len(), differences.len());
        let (mut offenders, mut offenders_total) = (Vec::new(), 0);
        if job.broken.iter().any(|name| counters.sum(name) > 0) {
            (offenders, offenders_total) = self.named(job, window, self.settings.offenders_shown).await?;
        }
        let by = match &self.source {
            Source::ClickHouse(_) => format!("ClickHouse {}", self.snapshot.version),
            Source::Parquet(_) => "DataFusion, second plan".to_owned(),
        };
        Ok(JobResult {
            counters: counters.0,
            offenders,
            offenders_total,
            cross_check: CrossCheck { by, agrees, compared: theirs.0.len() as u64, differences },
            ..self.result(job, window, judgement)
        })
    }

    fn failed(&self, job: &Job, window: Window, error: &DataFusionError, absent: &[String]) -> JobResult {
        let absent = match absent {
            [] => String::new(),
            names => format!(" Workers that do not answer: {}.", names.join(", ")),
        };
        self.unchecked(job, window, format!("Could not be checked: {}.{absent}", chain(error)))
    }

    fn unchecked(&self, job: &Job, window: Window, sentence: String) -> JobResult {
        let verdict = Verdict::Error;
        self.result(
            job,
            window,
            Judgement { verdict, sentence, numerator: 0, denominator: 0, measures: vec![] },
        )
    }

    fn result(&self, job: &Job, window: Window, judgement: Judgement) -> JobResult {
        let texts = job.once.iter().copied().chain(job.plans()).chain([job.offenders, job.check]);
        let source = match self.source {
            Source::ClickHouse(_) => "clickhouse",
            Source::Parquet(_) => "parquet",
        };
        JobResult {
            result_id: Uuid::now_v7(),
            job: job.name.name().to_owned(),
            verdict: judgement.verdict,
            sentence: judgement.sentence,
            window,
            known_at_us: now_us(),
            numerator: judgement.numerator,
            denominator: judgement.denominator,
            measures: judgement.measures,
            counters: BTreeMap::new(),
            offenders: Vec::new(),
            offenders_total: 0,
            input: Input { source: source.to_owned(), bounds: self.snapshot.bounds.clone(), rows_read: 0 },
            sql_sha256: texts.map(|text| (text.name.to_owned(), text.sha256())).collect(),
            settings: self.settings.named(),
            cross_check: CrossCheck::default(),
            versions: Versions {
                tally: env!("CARGO_PKG_VERSION").to_owned(),
                datafusion: datafusion::DATAFUSION_VERSION.to_owned(),
                clickhouse: self.snapshot.version.clone(),
            },
            duration_ms: 0,
            restates: None,
        }
    }
}

/// What outweighs the judge: two opinions that differ, then a window that is open.
pub(super) fn decide(
    judged: Judgement,
    job: &Job,
    window: Window,
    agrees: bool,
    checked: usize,
    differences: usize,
) -> Judgement {
    if !agrees && checked == 0 {
        let sentence = "The second opinion said nothing.".to_owned();
        return Judgement { verdict: Verdict::Error, sentence, ..judged };
    }
    if !agrees {
        let sentence = format!(
            "Two ways of computing disagree on {differences} of {checked} figures: see the cross-check."
        );
        return Judgement { verdict: Verdict::Error, sentence, ..judged };
    }
    if job.windowed && window.state == WindowState::Open && judged.verdict != Verdict::Error {
        let watermark = moment(window.watermark_us);
        let sentence = format!(
            "The window is open: events may yet come, everything before {watermark} is here. So far: {}",
            judged.sentence
        );
        let open =
            |measure: Measure| Measure { verdict: measure.verdict.map(|_| Verdict::Pending), ..measure };
        let measures = judged.measures.into_iter().map(open).collect();
        return Judgement { verdict: Verdict::Pending, sentence, measures, ..judged };
    }
    judged
}

/// The looks at partitions as a table.
fn heads(snapshot: &Snapshot) -> Result<MemTable> {
    let heads = &snapshot.heads;
    let integers = |of: fn(&catalog::Head) -> i64| Arc::new(heads.iter().map(of).collect::<Int64Array>());
    let ids: StringArray = heads.iter().map(|head| Some(head.topic_id.to_string())).collect();
    table(vec![
        ("topic_id", Arc::new(ids)),
        ("partition", integers(|head| i64::from(head.partition))),
        ("low", integers(|head| head.low)),
        ("high", integers(|head| head.high)),
        ("ended", integers(|head| i64::from(head.ended))),
    ])
}

/// Rows beyond the last receipts as a table.
fn beyond(snapshot: &Snapshot) -> Result<MemTable> {
    let rows = &snapshot.beyond;
    let integers = |of: fn(&catalog::Beyond) -> i64| Arc::new(rows.iter().map(of).collect::<Int64Array>());
    let texts = |of: fn(&catalog::Beyond) -> String| {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>())
    };
    table(vec![
        ("stored_in", texts(|row| row.table.clone())),
        ("topic_id", texts(|row| row.topic_id.to_string())),
        ("partition", integers(|row| i64::from(row.partition))),
        ("offset", integers(|row| row.offset)),
    ])
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Result<MemTable> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, c)| Field::new(*name, c.data_type().clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let batch =
        RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, column)| column).collect())?;
    MemTable::try_new(schema, vec![vec![batch]])
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = cause.source();
    }
    text.lines().collect::<Vec<_>>().join(" ")
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
