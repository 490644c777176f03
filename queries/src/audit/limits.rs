//! What a session may use, and how its plans keep within it.
//!
//! Sorts, groups and sort-merge joins spill; hash joins cannot, so that a job under a limit does without them, unless it reads in
//! passes that are made to fit. The pool
//! gives every operator that can spill an equal share, also those that wait for others. A plan of the audit has
//! dozens of them, and each must be able to hold a few batches: so the number of partitions
//! and the rows of a batch follow the limit.

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_distributed::display_plan_ascii;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// What a session may use.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Memory of sorts, groups and joins together, bytes; beyond it they spill to disk. `None` for no limit. Buffers of
    /// scans and what the allocator keeps come on top: 316 MiB were measured under 32 MB.
    pub memory_bytes_max: Option<usize>,
    /// Partitions of a scan; `None` for one a core. Under a limit fewer, where it would not let as many work, but two.
    pub partitions: Option<usize>,
    /// Workers that run the plans, such as `http://10.0.0.7:9470`; none to run them here.
    pub workers: Vec<Url>,
}

/// The least a partition needs of the limit.
const PARTITION_BYTES_MIN: usize = 48 << 20;
/// In one partition DataFusion joins by hash whatever it is told, and that cannot spill.
const PARTITIONS_MIN: usize = 2;
/// Rows of a batch under a limit: one for so many bytes of it, between the bounds below.
const LIMIT_BYTES_PER_ROW: usize = 128 << 10;
/// Fewer rows cost more in calls than they save in memory.
const BATCH_ROWS_MIN: usize = 128;
/// As many as DataFusion has without a limit.
const BATCH_ROWS_MAX: usize = 8_192;
/// Which part of the limit a sort holds back for its merge.
const SORT_RESERVATION_PART: usize = 512;

/// A session's settings.
pub(super) fn builder(limits: &Limits) -> Result<SessionStateBuilder> {
    let mut config = SessionConfig::new();
    let partitions = limits.partitions.unwrap_or(config.target_partitions()).max(1);
    config = match limits.memory_bytes_max {
        None => config.with_target_partitions(partitions),
        Some(bytes) => {
            let partitions = partitions.min(bytes / PARTITION_BYTES_MIN).max(PARTITIONS_MIN);
            within(config, bytes).with_target_partitions(partitions)
        }
    };
    let runtime = runtime(limits.memory_bytes_max)?;
    Ok(SessionStateBuilder::new().with_default_features().with_config(config).with_runtime_env(runtime))
}

fn within(config: SessionConfig, bytes: usize) -> SessionConfig {
    config
        .set_bool("datafusion.optimizer.prefer_hash_join", false)
        .with_batch_size((bytes / LIMIT_BYTES_PER_ROW).clamp(BATCH_ROWS_MIN, BATCH_ROWS_MAX))
        .with_sort_spill_reservation_bytes(bytes / SORT_RESERVATION_PART)
}

/// Whether the plans that follow join by hash, which is faster, or by merging sorted runs, which can spill.
pub(super) fn join_by_hash(context: &SessionContext, by_hash: bool) {
    context.state_ref().write().config_mut().options_mut().optimizer.prefer_hash_join = by_hash;
}

/// Whether memory was too short for something that cannot spill.
pub(super) fn exhausted(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// Memory and disk of a session or a worker, under a limit in bytes if there is one.
///
/// # Errors
/// Where there is no folder to spill to.
pub fn runtime(memory_bytes_max: Option<usize>) -> Result<Arc<RuntimeEnv>> {
    let mut runtime = RuntimeEnvBuilder::new();
    if let Some(bytes) = memory_bytes_max {
        runtime = runtime.with_memory_pool(Arc::new(FairSpillPool::new(bytes)));
    }
    Ok(Arc::new(runtime.build()?))
}

/// Says at debug level what a plan that was run looked like, how long it took, and what it spilled.
pub(super) fn log(text: &str, plan: &dyn ExecutionPlan, elapsed: Duration) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let spilled = Spilled::by(plan);
    let shape = display_plan_ascii(plan, false);
    let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let Spilled { spills, bytes } = spilled;
    tracing::debug!(text, elapsed_us, spills, spilled_bytes = bytes, "plan was run\n{shape}");
}

/// What a plan wrote to disk because memory was short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spilled {
    spills: usize,
    bytes: usize,
}

impl Spilled {
    fn by(plan: &dyn ExecutionPlan) -> Spilled {
        let own = plan.metrics().map_or_else(Spilled::default, |metrics| Spilled {
            spills: metrics.spill_count().unwrap_or(0),
            bytes: metrics.spilled_bytes().unwrap_or(0),
        });
        plan.children()
            .into_iter()
            .map(|child| Spilled::by(child.as_ref()))
            .fold(own, |sum, one| Spilled { spills: sum.spills + one.spills, bytes: sum.bytes + one.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, Spilled, builder};
    use datafusion::prelude::SessionContext;

    fn context(memory_bytes_max: Option<usize>) -> SessionContext {
        let limits = Limits { memory_bytes_max, ..Limits::default() };
        SessionContext::new_with_state(builder(&limits).expect("a session").build())
    }

    /// Scenario: no limit, a small one and a large one.
    /// Guarantees: batches and partitions shrink with the limit and never below what can work; none without one.
    #[test]
    fn what_follows_the_limit() {
        let of = |limit| {
            let config = context(limit).copied_config();
            (config.batch_size(), config.target_partitions())
        };
        let free = of(None);
        assert_eq!(free.0, 8_192);
        assert_eq!(of(Some(16_000_000)), (128, 2));
        assert_eq!(of(Some(32_000_000)), (244, 2));
        assert_eq!(of(Some(64 << 30)), (8_192, free.1.max(2)));
    }

    /// Scenario: a million groups and a sort of them in 24 MB.
    /// Guarantees: it ends with every group, and it spilled.
    #[tokio::test]
    async fn a_limit_is_kept_by_spilling() {
        let context = context(Some(24_000_000));
        let sql = "SELECT k, count(*) AS n FROM (
            SELECT concat('t-', CAST(value * 7919 AS VARCHAR)) AS k FROM generate_series(1, 1000000)
        ) GROUP BY k ORDER BY k";
        let plan = context.sql(sql).await.expect("a frame").create_physical_plan().await.expect("a plan");
        let run = datafusion::physical_plan::collect(plan.clone(), context.task_ctx()).await.expect("an end");
        assert_eq!(run.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1_000_000);
        let spilled = Spilled::by(plan.as_ref());
        assert!(spilled.spills > 0 && spilled.bytes > 0, "{spilled:?}");
    }
}
