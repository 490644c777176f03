//! What the simulated services publish: encoded once for all runs, and what must become of each.

use serde_json::json;
use std::sync::LazyLock;
use tally_schemas::{Encoder, Topic, frame_single_object, versions};

/// What must become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A fact of this content.
    Fact(usize),
    /// A dead letter for this reason.
    Dead(&'static str),
    /// A fact of this content, or where the store has its constraint, a dead letter.
    Poison(usize),
    /// A fact of this content, or under stricter bounds, a dead letter.
    Large(usize),
}

/// One message, and its fate.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) value: Option<Vec<u8>>,
    pub(super) fate: Fate,
}

/// Contents that every store takes.
const CONTENTS: usize = 48;
/// Contents that a store with its constraint refuses.
const POISONS: usize = 6;
/// Contents that are too large for stricter bounds.
const LARGE: usize = 6;
/// Those bounds, bytes of a value.
pub(super) const STRICT_BYTES_MAX: usize = 160;
/// What the texts of refused contents begin with.
pub(super) const POISON: &str = "poison-";

/// The text by which a content is known.
pub(super) fn name(content: usize) -> String {
    match content {
        0..CONTENTS => format!("content-{content}"),
        _ if content < CONTENTS + POISONS => format!("{POISON}{content}"),
        _ => format!("large-{}-{content}", "x".repeat(STRICT_BYTES_MAX)),
    }
}

/// All messages: each content twice, as two versions of the contract write it, and what is no event.
pub(super) fn messages() -> &'static [Message] {
    static ALL: LazyLock<Vec<Message>> = LazyLock::new(|| {
        let mut all = Vec::new();
        for content in 0..CONTENTS + POISONS + LARGE {
            for contract in versions(Topic::Task) {
                let event = json!({
                    // every eighth content has the id of the one before: a conflict, both are kept
                    "event_id": format!("019cadde-226c-77ad-9cb8-{:012}", if content % 8 == 7 { content - 1 } else { content }),
                    "occurred_at": "2025-03-03T09:25:42Z", "source": "scheduler", "policy_tag": "LIKENESS", "actor_id": "a",
                    "actor_role": "SERVICE", "task_id": "task-1", "kind": "STARTED", "queue": "NORMAL", "state_version": 1,
                    "trace_id": name(content),
                });
                let body = Encoder::new(contract).expect("a plan").encode(&event).expect("encodes");
                let value = frame_single_object(contract, &body);
                let is_large = content >= CONTENTS + POISONS;
                assert_eq!(value.len() > STRICT_BYTES_MAX, is_large, "{} bytes", value.len());
                let value = Some(value);
                let fate = match content {
                    0..CONTENTS => Fate::Fact(content),
                    _ if content < CONTENTS + POISONS => Fate::Poison(content),
                    _ => Fate::Large(content),
                };
                all.push(Message { value, fate });
            }
        }
        let whole = all[0].value.clone().expect("an event");
        let dead = [
            (Some(b"no event".to_vec()), "framing"),
            (Some(whole[..whole.len() - 3].to_vec()), "body"),
            (Some([whole.as_slice(), &[0]].concat()), "trailing_bytes"),
            (Some([&[0xc3, 1], &[7; 8][..], &whole[10..]].concat()), "unknown_schema"),
            (None, "tombstone"),
        ];
        all.extend(dead.map(|(value, reason)| Message { value, fate: Fate::Dead(reason) }));
        all
    });
    &ALL
}
