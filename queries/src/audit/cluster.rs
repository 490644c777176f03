//! The same plans on several machines: workers that run parts of a plan, and a session that hands the parts out.
//!
//! A scan of ClickHouse is handed out by its partitions: each worker asks ClickHouse for its own. Files are handed out by
//! their parts.

use super::progress::Progress;
use crate::catalog::{ClickHouseScan, ScanCodec};
use async_trait::async_trait;
use clickhouse::Client;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::{
    DesiredTaskCountEvent, DesiredTaskCountEventResponse, DistributedExt, DistributedLeafExec,
    ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse, SessionStateBuilderExt, Worker, WorkerQueryContext,
    WorkerResolver, WorkerSessionBuilder,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use url::Url;

/// Files are handed out in parts of at least so many bytes.
const PART_BYTES_MIN: usize = 4 << 20;

/// How long a worker may take to accept a connection before it is called absent.
const ANSWER_MAX: Duration = Duration::from_secs(2);

struct Workers(Vec<Url>);

impl WorkerResolver for Workers {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.0.clone())
    }
}

/// Lets a session hand its plans out to workers.
pub(super) fn distribute(
    builder: SessionStateBuilder,
    workers: &[Url],
    client: Option<Client>,
    progress: &Progress,
) -> Result<SessionStateBuilder> {
    let count = workers.len();
    let desired = move |event: DesiredTaskCountEvent<'_>| {
        scan(event.plan)?;
        Some(Ok(DesiredTaskCountEventResponse::desired(count)))
    };
    let scale_up = |event: ScaleUpLeafNodeEvent<'_>| {
        let parts = scan(event.plan)?.divided(event.task_count);
        let parts = parts.into_iter().map(|part| Arc::new(part) as Arc<dyn ExecutionPlan>);
        let leaf = DistributedLeafExec::try_new(event.plan.clone(), parts);
        Some(leaf.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
    };
    builder
        .with_distributed_worker_resolver(Workers(workers.to_vec()))
        .with_distributed_user_codec(ScanCodec::new(client, progress.clone()))
        .with_distributed_desired_task_count_handler(desired)
        .with_distributed_scale_up_leaf_node_handler(scale_up)
        .with_distributed_planner()
        .with_distributed_file_scan_config_bytes_per_partition(PART_BYTES_MIN)
}

/// Which workers take no connection, by address.
pub(super) async fn absent(workers: &[Url]) -> Vec<String> {
    let mut absent = Vec::new();
    for worker in workers {
        let address = (worker.host_str().unwrap_or_default(), worker.port().unwrap_or_default());
        let connected = tokio::time::timeout(ANSWER_MAX, TcpStream::connect(address)).await;
        if !matches!(connected, Ok(Ok(_))) {
            absent.push(format!("{}:{}", address.0, address.1));
        }
    }
    absent
}

fn scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&ClickHouseScan> {
    let plan: &dyn std::any::Any = plan.as_ref();
    plan.downcast_ref()
}

/// A worker's sessions: they can read from ClickHouse where the worker was given one.
#[derive(Clone)]
struct Sessions {
    codec: ScanCodec,
}

#[async_trait]
impl WorkerSessionBuilder for Sessions {
    async fn build_session_state(&self, context: WorkerQueryContext) -> Result<SessionState> {
        Ok(context.builder.with_distributed_user_codec(self.codec.clone()).build())
    }
}

/// A worker that listens.
#[derive(Debug)]
pub struct Working {
    /// Where.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Working {
    /// Waits until it has stopped.
    ///
    /// # Errors
    /// Where serving failed.
    pub async fn ended(self) -> Result<()> {
        let external = |error: Box<dyn std::error::Error + Send + Sync>| DataFusionError::External(error);
        self.task.await.map_err(|e| external(Box::new(e)))?.map_err(|e| external(Box::new(e)))
    }
}

/// Runs a worker until `stop`. It has no authentication: let it listen where only its coordinator can reach it.
///
/// # Errors
/// Where the address cannot be had.
pub async fn work(
    listen: SocketAddr,
    client: Option<Client>,
    runtime: Arc<RuntimeEnv>,
    stop: CancellationToken,
) -> std::io::Result<Working> {
    let codec = ScanCodec::new(client, Progress::default());
    let worker = Worker::from_session_builder(Sessions { codec }).with_runtime_env(runtime);
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = tonic::transport::Server::builder().add_service(worker.into_worker_server());
    let task = tokio::spawn(server.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()));
    Ok(Working { address, task })
}
