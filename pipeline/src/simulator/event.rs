//! An event before it is bytes: one slot for each field that any contract knows.

use std::sync::Arc;
use tally_schemas::Topic;
use uuid::Uuid;

macro_rules! fields {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// Every field of every contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field { $($variant),* }

        impl Field {
            const COUNT: usize = [$($name),*].len();

            pub(super) fn from_name(name: &str) -> Option<Field> {
                match name { $($name => Some(Field::$variant),)* _ => None }
            }
        }
    };
}

fields! {
    EventId "event_id", OccurredAt "occurred_at", Source "source", PolicyTag "policy_tag",
    ActorId "actor_id", ActorRole "actor_role", TraceId "trace_id", TaskId "task_id",
    WalletId "wallet_id", UserId "user_id", CreatorId "creator_id", LicenseId "license_id",
    TemplateId "template_id", CaseId "case_id", Kind "kind", Amount "amount_micros",
    EstimateId "estimate_id", Queue "queue", RefundReason "refund_reason", Price "price_minor",
    Currency "currency", OrderId "order_id", Gift "gift", Balance "balance_after_micros",
    Endpoint "endpoint", Outcome "outcome", HttpStatus "http_status", ErrorCode "error_code",
    Latency "latency_ms", Attempt "attempt", IdempotencyKey "idempotency_key", Audience "audience",
    CheckResult "check_result", GranteeId "grantee_id", Quota "quota_remaining_micros",
    ExpiresAt "expires_at", Progress "progress_permille", StateVersion "state_version",
    RiskLevel "risk_level", Decision "decision", SlaDueAt "sla_due_at",
}

/// The value of one field.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value {
    /// Null where the contract allows it, the empty string where it wants a string.
    #[default]
    Absent,
    Text(Arc<str>),
    /// A symbol of an enum, or a string known beforehand.
    Word(&'static str),
    Int(i64),
    Bool(bool),
    /// 16 bytes written as 32 hexadecimal digits.
    Hex([u8; 16]),
    Id(Uuid),
}

impl From<&Arc<str>> for Value {
    fn from(text: &Arc<str>) -> Value {
        Value::Text(Arc::clone(text))
    }
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Value {
        Value::Word(word)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Absent, Into::into)
    }
}

/// One event of one topic.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) topic: Topic,
    values: [Value; Field::COUNT],
}

impl Event {
    pub(super) fn new(topic: Topic, kind: &'static str) -> Event {
        let mut event = Event { topic, values: [const { Value::Absent }; Field::COUNT] };
        event.set(Field::Kind, kind);
        event
    }

    pub(super) fn set(&mut self, field: Field, value: impl Into<Value>) -> &mut Event {
        self.values[field as usize] = value.into();
        self
    }

    pub(super) fn get(&self, field: Field) -> &Value {
        &self.values[field as usize]
    }

    /// The symbol in `field`; empty where there is none.
    pub(super) fn word(&self, field: Field) -> &'static str {
        match self.get(field) {
            Value::Word(word) => word,
            _ => "",
        }
    }

    /// The text in `field`, or its symbol; empty where there is neither.
    pub(super) fn text(&self, field: Field) -> &str {
        match self.get(field) {
            Value::Text(text) => text,
            Value::Word(word) => word,
            _ => "",
        }
    }

    /// The number in `field`, if there is one.
    pub(super) fn int(&self, field: Field) -> Option<i64> {
        match self.get(field) {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The Kafka key: the subject of the topic.
    pub(super) fn key(&self) -> &str {
        let field = match self.topic {
            Topic::Credit => Field::WalletId,
            Topic::License => Field::LicenseId,
            Topic::Task => Field::TaskId,
            Topic::Moderation => Field::CaseId,
        };
        self.text(field)
    }

    /// True where the oldest contract can say all of it.
    pub(super) fn is_customer(&self) -> bool {
        matches!(self.get(Field::Audience), Value::Absent | Value::Word("CUSTOMER"))
    }
}
