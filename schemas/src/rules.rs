//! What the type system of Avro cannot say: the rules of each topic, as data.

use crate::contract::Topic;
use crate::reason::Reason;

/// 2020-01-01T00:00:00Z in microseconds: nothing here happened earlier.
pub const OCCURRED_AT_MIN: i64 = 1_577_836_800_000_000;
/// 2100-01-01T00:00:00Z in microseconds, whatever the Kafka timestamp claims.
pub const OCCURRED_AT_MAX: i64 = 4_102_444_800_000_000;
/// 2000-01-01T00:00:00Z in microseconds: no other time of an event lies before it, nor after [`OCCURRED_AT_MAX`]. Beyond
/// 1900 and 2299 ClickHouse would store another time than the one that was sent.
pub const TIME_MIN: i64 = 946_684_800_000_000;
/// How far `occurred_at` may lie after the Kafka timestamp, in microseconds: 24 hours.
pub const AHEAD_MICROS_MAX: i64 = 86_400_000_000;
/// 10^15 micros: a thousand million credits.
pub const MICROS_MAX: i64 = 1_000_000_000_000_000;
/// Bytes of an id or a name.
pub const TEXT_BYTES_MAX: usize = 256;

/// These kinds of event must carry these fields.
pub(crate) struct Required {
    pub(crate) kinds: &'static [&'static str],
    pub(crate) fields: &'static [&'static str],
}

/// A number's bounds, both included.
pub(crate) struct Bounds {
    pub(crate) field: &'static str,
    pub(crate) min: i64,
    pub(crate) max: i64,
    pub(crate) reason: Reason,
}

/// The fields that a call must carry beside `endpoint`.
pub(crate) const CALL: [&str; 3] = ["outcome", "latency_ms", "attempt"];

const fn bounds(field: &'static str, min: i64, max: i64, reason: Reason) -> Bounds {
    Bounds { field, min, max, reason }
}

const CALL_BOUNDS: [Bounds; 3] = [
    bounds("http_status", 100, 599, Reason::OutOfRange),
    bounds("latency_ms", 0, i64::MAX, Reason::OutOfRange),
    bounds("attempt", 1, i32::MAX as i64, Reason::OutOfRange),
];

/// Numbers of any topic that have bounds.
pub(crate) const BOUNDS: [Bounds; 9] = {
    let [status, latency, attempt] = CALL_BOUNDS;
    [
        status,
        latency,
        attempt,
        bounds("amount_micros", 0, MICROS_MAX, Reason::Amount),
        bounds("price_minor", 0, MICROS_MAX, Reason::Amount),
        bounds("balance_after_micros", -MICROS_MAX, MICROS_MAX, Reason::Amount),
        bounds("quota_remaining_micros", 0, MICROS_MAX, Reason::Amount),
        bounds("progress_permille", 0, 1000, Reason::OutOfRange),
        bounds("state_version", 1, i64::MAX, Reason::OutOfRange),
    ]
};

/// Which fields each kind of a topic's events must carry.
pub(crate) const fn required(topic: Topic) -> &'static [Required] {
    match topic {
        Topic::Credit => &[
            Required { kinds: &["ESTIMATED"], fields: &["estimate_id"] },
            Required {
                kinds: &[
                    "HELD",
                    "HOLD_FAILED",
                    "CHARGED",
                    "SUPPLEMENT_REQUESTED",
                    "SUPPLEMENT_CHARGED",
                    "SUPPLEMENT_DECLINED",
                    "ROLLED_BACK",
                ],
                fields: &["task_id"],
            },
            Required { kinds: &["REFUNDED"], fields: &["refund_reason"] },
            Required { kinds: &["PURCHASED"], fields: &["price_minor", "currency", "order_id"] },
            Required { kinds: &["ATTEMPTED"], fields: &["endpoint"] },
        ],
        Topic::License => &[
            Required { kinds: &["CHECKED"], fields: &["check_result"] },
            Required { kinds: &["GRANTED"], fields: &["grantee_id"] },
            Required { kinds: &["GRANTED", "QUOTA_CHANGED"], fields: &["quota_remaining_micros"] },
            Required { kinds: &["ATTEMPTED"], fields: &["endpoint"] },
        ],
        Topic::Task => &[
            Required { kinds: &["SUBMITTED"], fields: &["user_id", "template_id"] },
            Required { kinds: &["PROGRESSED"], fields: &["progress_permille"] },
            Required { kinds: &["FAILED"], fields: &["error_code"] },
        ],
        Topic::Moderation => &[
            Required { kinds: &["QUEUED"], fields: &["sla_due_at"] },
            Required { kinds: &["DECIDED"], fields: &["decision"] },
        ],
    }
}
