//! Invalid events: a fresh valid event with one thing wrong, never a part of anyone's history.

use super::event::{Event, Field, Value};
use super::foreign::Lapse;
use super::world::SECOND;
use super::{Edition, Emission, Expect, Simulator};
use tally_schemas::Topic;

/// 1999-06-15, before anything that the contracts allow.
const LAST_CENTURY: i64 = 929_404_800_000_000;

/// Every reason that the simulator makes dead letters for, each as often as any other.
pub(super) const REASONS: [&str; 10] = [
    "framing",
    "unknown_schema",
    "body",
    "trailing_bytes",
    "time_out_of_range",
    "amount",
    "missing_reference",
    "out_of_range",
    "call_incomplete",
    "wrong_topic",
];

/// The reasons that need a schema from a registry; drawn like the others where tags are lost at all.
const REASONS_OF_TAGS: [&str; 2] = ["policy_tag_missing", "policy_tag_unknown"];

impl Simulator {
    fn reason(&mut self) -> &'static str {
        if self.config.untagged_permille == 0 {
            return self.rng.pick(REASONS);
        }
        let place = self.any(REASONS.len() + REASONS_OF_TAGS.len());
        REASONS.iter().chain(&REASONS_OF_TAGS).nth(place).copied().unwrap_or(REASONS[0])
    }

    /// Publishes one invalid event of a reason drawn evenly.
    pub(super) fn fault(&mut self) {
        let reason = self.reason();
        let topic = match reason {
            "amount" => Topic::Credit,
            "out_of_range" | "wrong_topic" => Topic::Task,
            "call_incomplete" => self.rng.pick([Topic::Credit, Topic::License]),
            _ => self.rng.pick(Topic::ALL),
        };
        let mut event = self.fresh(topic);
        let key = event.key().to_owned();
        self.spoil_content(reason, &mut event);
        let lapse = Lapse::of(reason);
        let edition = lapse.map_or_else(|| self.edition(&event), Edition::Foreign);
        let mut value = self.encoder.encode(&event, edition);
        self.spoil_bytes(reason, &mut value, self.encoder.header_bytes(topic, edition));
        let event_id = match *event.get(Field::EventId) {
            Value::Id(id) => id,
            _ => uuid::Uuid::nil(),
        };
        let topic = if reason == "wrong_topic" { Topic::Credit } else { topic };
        let expect = Expect::Dead(reason);
        let (occurred_at, event_at) = (self.now, self.now);
        self.ready.push_back(Emission { topic, key, value, occurred_at, event_at, event_id, expect });
    }

    /// A valid event that belongs to nothing: its task, licence or case does not exist otherwise.
    pub(super) fn fresh(&mut self, topic: Topic) -> Event {
        let wallet = self.any(self.world.visitors);
        let mut life = self.life(wallet);
        let subject = match topic {
            Topic::Credit => self.id("e-"),
            Topic::License => self.id("l-"),
            Topic::Task => self.id("t-"),
            Topic::Moderation => self.id("k-"),
        };
        let mut event = match topic {
            Topic::Credit => self.credit(&life, "ESTIMATED", 1),
            Topic::License => self.event(&life, topic, "CHECKED"),
            Topic::Task => {
                life.task = Some(subject.clone());
                self.task(&mut life, "PROGRESSED")
            }
            Topic::Moderation => self.event(&life, topic, "QUEUED"),
        };
        match topic {
            Topic::Credit => {
                let amount = self.price(&life);
                event.set(Field::Amount, amount).set(Field::EstimateId, &subject);
                self.fresh_call(&mut event, "CREDITS_ESTIMATE");
            }
            Topic::License => {
                event.set(Field::LicenseId, &subject).set(Field::CheckResult, "ALLOWED");
                self.fresh_call(&mut event, "LICENSES_CHECK");
            }
            Topic::Task => {
                event.set(Field::Progress, self.rng.between(1, 999));
            }
            Topic::Moderation => {
                event
                    .set(Field::CaseId, &subject)
                    .set(Field::RiskLevel, "MEDIUM")
                    .set(Field::SlaDueAt, self.now + 3_600 * SECOND);
            }
        }
        let id = self.rng.uuid(self.now);
        event.set(Field::EventId, Value::Id(id)).set(Field::OccurredAt, self.now);
        event
    }

    fn fresh_call(&mut self, event: &mut Event, endpoint: &'static str) {
        let key = self.id("ik-");
        event
            .set(Field::Endpoint, endpoint)
            .set(Field::Outcome, "OK")
            .set(Field::HttpStatus, 200)
            .set(Field::Latency, self.rng.around(8, 240))
            .set(Field::Attempt, 1)
            .set(Field::IdempotencyKey, &key);
    }

    fn spoil_content(&mut self, reason: &'static str, event: &mut Event) {
        match reason {
            "time_out_of_range" => event.set(Field::OccurredAt, LAST_CENTURY),
            "amount" => {
                let amount = self.rng.between(1, 1_000_000);
                event.set(Field::Amount, -amount)
            }
            "missing_reference" => {
                let required = self.rng.chance(500);
                event.set(reference(event.topic, required), Value::Absent)
            }
            "out_of_range" => event.set(Field::Progress, 1001),
            "call_incomplete" => {
                let field = self.rng.pick([Field::Outcome, Field::Latency, Field::Attempt]);
                event.set(field, Value::Absent)
            }
            "policy_tag_missing" | "policy_tag_unknown" => {
                if let Some(lapse) = Lapse::of(reason) {
                    lapse.spoil(event);
                }
                event
            }
            _ => event,
        };
    }

    fn spoil_bytes(&mut self, reason: &'static str, value: &mut Vec<u8>, header: usize) {
        match reason {
            "framing" if self.rng.chance(300) => value.clear(),
            "framing" => {
                value.truncate(self.any(60) + 1);
                for byte in value.iter_mut() {
                    *byte = self.rng.bits().to_le_bytes()[0];
                }
                // Neither the Confluent mark nor that of single-object encoding.
                value[0] = 0x10 | (value[0] & 0x0F);
            }
            "unknown_schema" => {
                for byte in &mut value[2..header] {
                    *byte ^= 0x5A;
                }
            }
            "body" => {
                let body = value.len() - header;
                value.truncate(header + self.any(body));
            }
            "trailing_bytes" => {
                let more = self.rng.bits().to_le_bytes();
                value.extend_from_slice(&more[..=self.any(8)]);
            }
            _ => {}
        }
    }

    /// A fresh valid event's bytes, for the tests of this module.
    #[cfg(test)]
    pub(super) fn fresh_bytes(&mut self, topic: Topic) -> Vec<u8> {
        let event = self.fresh(topic);
        self.encoder.encode(&event, Edition::Latest)
    }
}

/// A field of a fresh event whose absence is a fault: its key, or the one that its kind requires.
fn reference(topic: Topic, required: bool) -> Field {
    match (topic, required) {
        (Topic::Credit, true) => Field::EstimateId,
        (Topic::Credit, false) => Field::WalletId,
        (Topic::License, true) => Field::CheckResult,
        (Topic::License, false) => Field::LicenseId,
        (Topic::Task, true) => Field::Progress,
        (Topic::Task, false) => Field::TaskId,
        (Topic::Moderation, true) => Field::SlaDueAt,
        (Topic::Moderation, false) => Field::CaseId,
    }
}
