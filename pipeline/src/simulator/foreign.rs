//! Services that left the contracts behind: schemas that a registry has and that break the rule of the policy tag.
//!
//! Under a contract a policy tag can neither be left out nor be one that the dictionary does not have; so such events
//! are written under schemas of their services' own, in the Confluent wire format. [`foreign_schemas`] is what a
//! registry must answer for them to be judged; without one they are dead letters of `unknown_schema`.

use super::event::{Event, Field, Value};
use super::life::Life;
use super::{Edition, Emission, Expect, Simulator};
use serde_json::{Value as Json, json};
use tally_schemas::{Topic, latest};

/// A policy tag that no dictionary here has.
const UNHEARD_OF: &str = "SYNTHETIC_MEDIA";
/// Ids of the foreign schemas begin here.
const FIRST_ID: u32 = 9_000;

/// What a foreign schema does to the policy tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lapse {
    /// The field may be null, and is.
    TagMissing,
    /// The enum has a symbol more, and that is used.
    TagUnknown,
}

impl Lapse {
    /// The lapse that a reason of dead letters comes from.
    pub(super) fn of(reason: &str) -> Option<Lapse> {
        match reason {
            "policy_tag_missing" => Some(Lapse::TagMissing),
            "policy_tag_unknown" => Some(Lapse::TagUnknown),
            _ => None,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Lapse::TagMissing => "policy_tag_missing",
            Lapse::TagUnknown => "policy_tag_unknown",
        }
    }

    /// Gives the event the tag that only the foreign schema allows.
    pub(super) fn spoil(self, event: &mut Event) {
        match self {
            Lapse::TagMissing => event.set(Field::PolicyTag, Value::Absent),
            Lapse::TagUnknown => event.set(Field::PolicyTag, UNHEARD_OF),
        };
    }
}

/// A schema that a registry has beside the contracts.
#[derive(Clone, Debug)]
pub struct ForeignSchema {
    /// The registry's id, the four bytes after `00` in front of an event.
    pub id: u32,
    /// The Avro schema.
    pub json: String,
    pub(super) topic: Topic,
    pub(super) lapse: Lapse,
}

/// Every schema that untagged events are written under, two for each topic: the newest contract with a policy tag that
/// may be null, and the same with a symbol more.
pub fn foreign_schemas() -> Vec<ForeignSchema> {
    let kinds =
        Topic::ALL.into_iter().flat_map(|topic| [(topic, Lapse::TagMissing), (topic, Lapse::TagUnknown)]);
    let schema = |(id, (topic, lapse)): (u32, (Topic, Lapse))| {
        let mut contract: Json = serde_json::from_str(&latest(topic).json).unwrap_or_default();
        let fields = contract["fields"].as_array_mut().map_or(&mut [][..], Vec::as_mut_slice);
        for field in fields.iter_mut().filter(|field| field["name"] == "policy_tag") {
            match (lapse, field["type"]["symbols"].as_array_mut()) {
                (Lapse::TagUnknown, Some(symbols)) => symbols.push(json!(UNHEARD_OF)),
                _ => field["type"] = json!(["null", field["type"]]),
            }
        }
        ForeignSchema { id, json: contract.to_string(), topic, lapse }
    };
    (FIRST_ID..).zip(kinds).map(schema).collect()
}

impl Simulator {
    /// Decides of a task that starts whether one of its events will be untagged, and which of those that move no money.
    /// The share is kept exactly, not by chance, so that a short run has its part too.
    pub(super) fn may_lose_a_tag(&mut self) -> Option<u64> {
        let share = u64::from(self.config.untagged_permille);
        let before = self.started * share / 1000;
        self.started += 1;
        (self.started * share / 1000 > before).then(|| self.rng.below(3))
    }

    /// Publishes an event of a running task that moves no money: valid, unless it is the one that loses its tag. Then
    /// the valid form never comes, and the task's chain of states has a hole.
    pub(super) fn tell(&mut self, life: &mut Life, event: Event) {
        match life.tagged_events_left {
            None => self.accept(event),
            Some(0) => {
                life.tagged_events_left = None;
                self.lose_tag(event);
            }
            Some(left) => {
                life.tagged_events_left = Some(left - 1);
                self.accept(event);
            }
        }
    }

    fn lose_tag(&mut self, mut event: Event) {
        self.now += 1;
        let event_id = self.rng.uuid(self.now);
        event.set(Field::EventId, Value::Id(event_id)).set(Field::OccurredAt, self.now);
        let lapse = self.rng.pick([Lapse::TagMissing, Lapse::TagUnknown]);
        self.tally.broken(&event, lapse.reason());
        lapse.spoil(&mut event);
        self.ready.push_back(Emission {
            topic: event.topic,
            key: event.key().to_owned(),
            value: self.encoder.encode(&event, Edition::Foreign(lapse)),
            occurred_at: self.now,
            event_at: self.now,
            event_id,
            expect: Expect::Dead(lapse.reason()),
        });
    }
}
