//! What events have in common: who published them, what they are about, and the call they stem from.

use super::{ActorRole, CallOutcome, Endpoint, Moment, PolicyTag};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Who publishes, and who acted. Made once a service, or once a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Author {
    /// The publishing service, such as `billing`. 1 to 256 bytes.
    pub source: String,
    /// Who acted: a user, a moderator or a service account. 1 to 256 bytes.
    pub actor_id: String,
    /// In which role.
    pub actor_role: ActorRole,
    /// W3C trace id of the request that caused the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

impl Author {
    /// Without a trace.
    pub fn new(source: impl Into<String>, actor_id: impl Into<String>, actor_role: ActorRole) -> Author {
        Author { source: source.into(), actor_id: actor_id.into(), actor_role, trace_id: None }
    }

    /// Within a trace.
    pub fn traced(self, trace_id: impl Into<String>) -> Author {
        Author { trace_id: Some(trace_id.into()), ..self }
    }
}

/// What every event carries. Its id and its time do not change.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Head {
    pub(super) event_id: Uuid,
    pub(super) occurred_at: Moment,
    /// The policy tag of the subject.
    pub policy_tag: PolicyTag,
    /// Who publishes, and who acted.
    #[serde(flatten)]
    pub author: Author,
}

impl Head {
    pub(super) fn now(policy_tag: PolicyTag, author: &Author) -> Head {
        let occurred_at = Moment::now();
        Head { event_id: Uuid::now_v7(), occurred_at, policy_tag, author: author.clone() }
    }

    /// Identity of the event, UUIDv7.
    pub fn event_id(&self) -> Uuid {
        self.event_id
    }

    /// When it happened.
    pub fn occurred_at(&self) -> Moment {
        self.occurred_at
    }
}

/// Whom and what an event is about, as far as it applies. The one that is the Kafka key is set by the event's constructor. Ids have
/// 1 to 256 bytes.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Subject {
    /// The compute task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The wallet whose credits move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wallet_id: Option<String>,
    /// The buyer who runs the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The creator of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator_id: Option<String>,
    /// The licence under which the template runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_id: Option<String>,
    /// The licensed template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// The moderation case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_id: Option<String>,
}

/// The call that an event stems from. For services that call the platform without the gateway: the gateway tells of its calls itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Call {
    /// Which call.
    pub endpoint: Endpoint,
    /// How the attempt ended.
    pub outcome: CallOutcome,
    /// Status of the answer, 100 to 599; absent when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Stable error code, such as `insufficient_balance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// From sending the request to the end of the answer, milliseconds.
    pub latency_ms: i64,
    /// 1 for the first try of an idempotency key.
    pub attempt: i32,
}
