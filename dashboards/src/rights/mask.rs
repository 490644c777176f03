//! What is left of a masked event. The list says what is kept: a field that a later contract adds is hidden until somebody
//! decides otherwise.

use super::class::EventClass;

/// When, what, of which policy: of every masked event.
macro_rules! kept {
    ($($field:literal),*) => {
        &["event_id", "occurred_at", "source", "kind", "policy_tag", "task_id", "case_id", $($field),*]
    };
}

/// The fields that stay where an event of that class is [`super::Sight::Masked`]; all others are absent. No masked event
/// names a person, a wallet, an order or an amount.
pub const fn kept_fields(class: EventClass) -> &'static [&'static str] {
    match class {
        EventClass::TaskState => {
            kept!["template_id", "license_id", "queue", "progress_permille", "state_version", "error_code"]
        }
        EventClass::Supplement => kept!["queue", "state_version"],
        EventClass::ModerationNotice => kept!["template_id", "license_id", "risk_level", "sla_due_at"],
        EventClass::ModerationOutcome => kept!["template_id", "license_id", "decision"],
        EventClass::Licence | EventClass::Acceleration | EventClass::Money | EventClass::Call => kept![],
    }
}
