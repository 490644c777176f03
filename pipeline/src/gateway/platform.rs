//! What the gateway asks of the platform beside the four calls: steps of a task, and the revocation of a licence. Its flows need
//! them; nobody else reaches them through the gateway.

use super::contract::{About, Audience, Queue};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The header that names the attempt, counted from 1: for the platform's log, never for its decisions.
pub const ATTEMPT_HEADER: &str = "x-attempt";
/// The header of the key under which a request is done once, however often it comes.
pub const KEY_HEADER: &str = "idempotency-key";

/// A step of a task, as its events name it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStep {
    /// It exists.
    Submitted,
    /// It waits.
    Queued,
    /// It runs.
    Started,
    /// It goes on.
    Progressed,
    /// The buyer may pay for a place in the accelerated queue.
    AccelerationOffered,
    /// It has that place.
    Accelerated,
    /// It needs more than was estimated: the buyer is asked.
    SupplementRequired,
    /// The buyer has answered, or the time is over.
    SupplementSettled,
    /// It stands still.
    Paused,
    /// It runs again.
    Resumed,
    /// It is done.
    Succeeded,
    /// It failed.
    Failed,
    /// Somebody has ended it.
    Cancelled,
    /// It was taken back.
    RolledBack,
}

/// `POST /tasks/transitions`: take one step with a task. Needs an `Idempotency-Key`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransitionRequest {
    /// Whom and what it is about; with `task_id`.
    pub about: About,
    /// The step.
    pub step: TaskStep,
    /// The queue, of a task that is submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
}

/// The step was taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Transition {
    /// The task.
    pub task_id: String,
    /// The step.
    pub step: TaskStep,
    /// Rises by one with each step of the task; SUBMITTED is 1.
    pub state_version: i64,
    /// The queue it is in after the step.
    pub queue: Queue,
}

/// `POST /licenses/revoke`: no task runs under the licence any more. Needs an `Idempotency-Key`. A licence that is revoked already,
/// by whomever, is answered like one that was not: with the tasks that still run under it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Whom and what it is about; with `license_id` and `case_id`.
    pub about: About,
    /// The moderator who decided.
    pub moderator_id: String,
}

/// The licence is revoked, now or before; these tasks run under it, and are to be paused and refunded.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Revocation {
    /// The licence.
    pub license_id: String,
    /// Its running tasks.
    pub tasks: Vec<RunningTask>,
}

/// A task that runs, and what was paid for it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RunningTask {
    /// The task.
    pub task_id: String,
    /// The wallet that pays for it.
    pub wallet_id: String,
    /// The buyer who runs it.
    pub user_id: String,
    /// Whom the wallet belongs to.
    pub audience: Audience,
    /// The policy of the task's events: those that the gateway adds must not contradict it.
    pub policy_tag: String,
    /// The queue at acceptance.
    pub queue: Queue,
    /// Credits that are held for it, micros.
    pub held_micros: i64,
    /// Credits that were charged for it less those that came back, micros.
    pub charged_micros: i64,
}
