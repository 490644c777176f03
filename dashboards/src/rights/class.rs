//! Classes of events: the rows of the table of rights.

use tally_schemas::Topic;

/// What an event is about, as far as rights go.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum EventClass {
    /// Task state and progress.
    TaskState,
    /// A supplement is requested or settled.
    Supplement,
    /// An acceleration is offered or accepted.
    Acceleration,
    /// A moderation case moves on: reported, queued, in review, appealed, escalated.
    ModerationNotice,
    /// A moderation case is decided or closed.
    ModerationOutcome,
    /// A licence is granted, revoked, has expired, or its quota changed.
    Licence,
    /// Credits are estimated, held, charged, refunded, rolled back or bought.
    Money,
    /// A call of the platform's interfaces: a licence was checked, an attempt changed nothing.
    Call,
}

impl EventClass {
    /// Every class, in the order of the table.
    pub const ALL: [EventClass; 8] = [
        EventClass::TaskState,
        EventClass::Supplement,
        EventClass::Acceleration,
        EventClass::ModerationNotice,
        EventClass::ModerationOutcome,
        EventClass::Licence,
        EventClass::Money,
        EventClass::Call,
    ];

    /// The class of an event of that topic and kind (`SUBMITTED`, …). A kind that is not known here is a [`EventClass::Call`],
    /// the class that the fewest see.
    pub fn of(topic: Topic, kind: &str) -> EventClass {
        match (topic, kind) {
            (Topic::Task, "ACCELERATION_OFFERED" | "ACCELERATED") => EventClass::Acceleration,
            (Topic::Task, "SUPPLEMENT_REQUIRED" | "SUPPLEMENT_SETTLED") => EventClass::Supplement,
            (
                Topic::Task,
                "SUBMITTED" | "QUEUED" | "STARTED" | "PROGRESSED" | "PAUSED" | "RESUMED" | "SUCCEEDED"
                | "FAILED" | "CANCELLED" | "ROLLED_BACK",
            ) => EventClass::TaskState,
            (Topic::Credit, "SUPPLEMENT_REQUESTED" | "SUPPLEMENT_CHARGED" | "SUPPLEMENT_DECLINED") => {
                EventClass::Supplement
            }
            (
                Topic::Credit,
                "ESTIMATED" | "HELD" | "HOLD_FAILED" | "CHARGED" | "REFUNDED" | "ROLLED_BACK" | "PURCHASED",
            ) => EventClass::Money,
            (Topic::License, "GRANTED" | "REVOKED" | "EXPIRED" | "QUOTA_CHANGED") => EventClass::Licence,
            (Topic::Moderation, "DECIDED" | "CLOSED") => EventClass::ModerationOutcome,
            (Topic::Moderation, "REPORTED" | "QUEUED" | "REVIEW_STARTED" | "APPEALED" | "ESCALATED") => {
                EventClass::ModerationNotice
            }
            _ => EventClass::Call,
        }
    }

    /// What it is, for people.
    pub const fn title(self) -> &'static str {
        match self {
            EventClass::TaskState => "task state, progress",
            EventClass::Supplement => "supplement requested, settled",
            EventClass::Acceleration => "acceleration offered, accepted",
            EventClass::ModerationNotice => "moderation notice",
            EventClass::ModerationOutcome => "moderation decision",
            EventClass::Licence => "licence granted, revoked, expired, quota",
            EventClass::Money => "estimate, hold, charge, refund, purchase",
            EventClass::Call => "interface call, licence check",
        }
    }
}
