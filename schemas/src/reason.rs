//! Why an event was refused: the typed reasons of a dead letter.

use serde::Serialize;
use std::fmt;

/// The reason a record became a dead letter. The set may grow; a name never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A null value: events are facts, and facts are not deleted.
    Tombstone,
    /// The value is larger than an event may be.
    Oversize,
    /// Neither the Confluent wire format nor Avro single-object encoding.
    Framing,
    /// The schema id or fingerprint is known neither here nor to the registry.
    UnknownSchema,
    /// The schema belongs to another topic's contract.
    WrongTopic,
    /// The writer's schema cannot be read under the contract.
    SchemaIncompatible,
    /// The bytes are not what the writer's schema says.
    Body,
    /// A whole event, and then more bytes.
    TrailingBytes,
    /// A policy tag that the dictionary does not have.
    PolicyTagUnknown,
    /// No policy tag.
    PolicyTagMissing,
    /// `occurred_at` before 2020 or more than a day after the Kafka timestamp, or another time outside 2000 to 2100.
    TimeOutOfRange,
    /// An amount, a price or a currency that cannot be.
    Amount,
    /// An id or a field that this kind of event must carry is absent or empty.
    MissingReference,
    /// A number outside its bounds.
    OutOfRange,
    /// A call without its outcome, latency or attempt.
    CallIncomplete,
    /// ClickHouse refused this one row.
    RejectedByStore,
}

impl Reason {
    /// All reasons, in the order in which a record meets them.
    pub const ALL: [Reason; 16] = [
        Reason::Tombstone,
        Reason::Oversize,
        Reason::Framing,
        Reason::UnknownSchema,
        Reason::WrongTopic,
        Reason::SchemaIncompatible,
        Reason::Body,
        Reason::TrailingBytes,
        Reason::PolicyTagUnknown,
        Reason::PolicyTagMissing,
        Reason::TimeOutOfRange,
        Reason::Amount,
        Reason::MissingReference,
        Reason::OutOfRange,
        Reason::CallIncomplete,
        Reason::RejectedByStore,
    ];

    /// The name in headers, tables, labels and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Tombstone => "tombstone",
            Reason::Oversize => "oversize",
            Reason::Framing => "framing",
            Reason::UnknownSchema => "unknown_schema",
            Reason::WrongTopic => "wrong_topic",
            Reason::SchemaIncompatible => "schema_incompatible",
            Reason::Body => "body",
            Reason::TrailingBytes => "trailing_bytes",
            Reason::PolicyTagUnknown => "policy_tag_unknown",
            Reason::PolicyTagMissing => "policy_tag_missing",
            Reason::TimeOutOfRange => "time_out_of_range",
            Reason::Amount => "amount",
            Reason::MissingReference => "missing_reference",
            Reason::OutOfRange => "out_of_range",
            Reason::CallIncomplete => "call_incomplete",
            Reason::RejectedByStore => "rejected_by_store",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|r| r.name() == name)
    }

    /// What its publisher can do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Reason::Tombstone => "publish an event that says what happened; a null value says nothing",
            Reason::Oversize => "publish a smaller event; put large content elsewhere and name it by id",
            Reason::Framing => "frame the event: C3 01 + fingerprint, or 00 + registry id",
            Reason::UnknownSchema => {
                "register the schema, or use a contract of `tally schema list`, then replay"
            }
            Reason::WrongTopic => "publish the event to the topic of its contract",
            Reason::SchemaIncompatible => "hold the schema against the contract with `tally schema check`",
            Reason::Body | Reason::TrailingBytes => {
                "encode one event with the schema its frame names, no more"
            }
            Reason::PolicyTagUnknown => {
                "use a tag of the dictionary, or roll out the new tag here and replay"
            }
            Reason::PolicyTagMissing => "set policy_tag",
            Reason::TimeOutOfRange => {
                "set the named time in microseconds since 1970 UTC, and check the clock"
            }
            Reason::Amount => "send micros or minor units within bounds, and an ISO 4217 code",
            Reason::MissingReference => "fill the named field",
            Reason::OutOfRange => "keep the named field within its bounds",
            Reason::CallIncomplete => "send outcome, latency_ms and attempt with endpoint",
            Reason::RejectedByStore => "see the sentence of the dead letter; mend, then replay",
        }
    }

    /// What it is called in Chinese, and what its publisher can do about it.
    pub const fn in_chinese(self) -> (&'static str, &'static str) {
        match self {
            Reason::Tombstone => ("空值", "请发布说明发生了什么的事件；空值不说明任何事"),
            Reason::Oversize => ("过大", "请缩小事件；大段内容另行存放，事件中只写其标识"),
            Reason::Framing => ("封装格式错误", "请正确封装：C3 01 + 指纹，或 00 + 注册表 ID"),
            Reason::UnknownSchema => {
                ("未知模式", "请注册该模式，或使用 `tally schema list` 所列的契约，然后重放")
            }
            Reason::WrongTopic => ("主题不符", "请将事件发布到其契约所属的主题"),
            Reason::SchemaIncompatible => ("模式不兼容", "请用 `tally schema check` 对照契约检查该模式"),
            Reason::Body => ("消息体错误", "请按封装所指的模式编码，且只编码一个事件"),
            Reason::TrailingBytes => ("末尾有多余字节", "请按封装所指的模式编码，且只编码一个事件"),
            Reason::PolicyTagUnknown => {
                ("未知政策标签", "请使用词典中的标签；若为新标签，先在此上线，再重放")
            }
            Reason::PolicyTagMissing => ("缺少政策标签", "请填写 policy_tag"),
            Reason::TimeOutOfRange => {
                ("时间超出范围", "请将所指时间写为自 1970 年起的 UTC 微秒数，并检查时钟")
            }
            Reason::Amount => ("金额错误", "请使用范围内的微单位或最小货币单位，以及 ISO 4217 货币代码"),
            Reason::MissingReference => ("缺少必填字段", "请填写所指字段"),
            Reason::OutOfRange => ("数值超出范围", "请使所指字段保持在范围之内"),
            Reason::CallIncomplete => {
                ("调用信息不全", "请随 endpoint 一并填写 outcome、latency_ms 和 attempt")
            }
            Reason::RejectedByStore => ("被存储拒绝", "请查看该死信的说明；修正后重放"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with one record: why, where, and a sentence for people. Never holds a value of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// Path of the guilty field, such as `amount_micros`; empty where no field is to blame.
    pub path: String,
    /// What was found and what was expected.
    pub sentence: String,
}

impl Fault {
    pub(crate) fn new(reason: Reason, path: impl Into<String>, sentence: impl Into<String>) -> Fault {
        Fault { reason, path: path.into(), sentence: sentence.into() }
    }

    /// A row that ClickHouse refused, with what it said.
    pub fn rejected_by_store(said: &str) -> Fault {
        Fault::new(Reason::RejectedByStore, "", format!("ClickHouse refused the row: {said}"))
    }

    /// The same fault one record further out.
    pub(crate) fn within(mut self, field: &str) -> Fault {
        self.path = if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        self
    }
}
