//! Holding one event against its contract before it is published: the judgement that it will meet, made earlier.

use crate::contract::Topic;
use crate::decode::Writers;
use crate::framing::WriterId;
use crate::read::{Messages, Reader};
use crate::reason::{Fault, Reason};
use crate::writer::{Writer, local_writers};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

/// Largest event of [`check_event`], bytes: the default of the route's own bound.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// Judges the events of one topic one by one, as the route would.
#[derive(Debug)]
pub struct Checker {
    reader: Reader,
    writers: Writers,
}

impl Checker {
    /// Knows every version of the topic's contract by fingerprint; an event larger than `value_bytes_max` is refused.
    pub fn new(topic: Topic, value_bytes_max: usize) -> Checker {
        let mut writers = Writers::default();
        for (writer, contract) in local_writers(topic).zip(crate::contract::versions(topic)) {
            writers.insert(WriterId::SingleObject(contract.fingerprint), writer.map(Arc::new));
        }
        Checker { reader: Reader::new(topic, value_bytes_max), writers }
    }

    /// Knows one schema more, by the id that a registry gave it.
    pub fn know(&mut self, topic: Topic, id: WriterId, json: &str) {
        self.writers.insert(id, Writer::new(topic, id, json).map(Arc::new));
    }

    /// Judges one framed event as if it were appended at that time, milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// The fault for which it would become a dead letter.
    pub fn check(&mut self, framed: &[u8], appended_at_ms: i64) -> Result<(), Fault> {
        let messages = Messages { values: &[Some(framed)], appended_at_ms: &[appended_at_ms] };
        match self.reader.read(messages, &self.writers) {
            Ok(read) => read.faults.into_iter().next().map_or(Ok(()), |(_, fault)| Err(fault)),
            Err(error) => Err(Fault::new(Reason::Body, "", error.to_string())),
        }
    }
}

thread_local! {
    static CHECKERS: RefCell<HashMap<Topic, Checker>> = RefCell::default();
}

/// Judges one framed event of a topic against the contracts that are compiled in, as if it were appended at that
/// time (milliseconds since 1970 UTC). Each thread keeps its decoders; with a registry's ids, use a [`Checker`].
///
/// # Errors
/// The fault for which the event would become a dead letter.
pub fn check_event(topic: Topic, framed: &[u8], appended_at_ms: i64) -> Result<(), Fault> {
    CHECKERS.with_borrow_mut(|checkers| {
        checkers
            .entry(topic)
            .or_insert_with(|| Checker::new(topic, VALUE_BYTES_MAX))
            .check(framed, appended_at_ms)
    })
}

#[cfg(test)]
mod tests {
    use super::{Checker, check_event};
    use crate::{Encoder, Reason, Topic, WriterId, frame_confluent, frame_single_object, latest};
    use serde_json::{Value as Json, json};

    const NOW_MS: i64 = 1_741_000_000_000;

    fn body(event: &Json) -> Vec<u8> {
        Encoder::new(latest(Topic::Task)).expect("a plan").encode(event).expect("encodes")
    }

    fn event(kind: &str) -> Json {
        json!({
            "event_id": "019cadde-226c-77ad-9cb8-000000000001", "occurred_at": "2025-03-03T09:25:42Z",
            "source": "scheduler", "policy_tag": "LIKENESS", "actor_id": "a", "actor_role": "SERVICE",
            "task_id": "task-1", "kind": kind, "queue": "NORMAL", "state_version": 1,
        })
    }

    /// Scenario: a good event, one whose kind needs a field it lacks, one from the future, and the good one under an
    /// id that only a registry knows, before and after it was told, and by a checker whose bound is a byte too small.
    /// Guarantees: the same reasons as on the route.
    #[test]
    fn the_judgement_to_come() {
        let contract = latest(Topic::Task);
        let framed = |kind| frame_single_object(contract, &body(&event(kind)));
        let reason =
            |outcome: Result<(), crate::Fault>| outcome.err().map(|fault| (fault.reason, fault.path));
        assert_eq!(reason(check_event(Topic::Task, &framed("STARTED"), NOW_MS)), None);
        let failed = reason(check_event(Topic::Task, &framed("FAILED"), NOW_MS));
        assert_eq!(failed, Some((Reason::MissingReference, "error_code".to_owned())));
        let early = reason(check_event(Topic::Task, &framed("STARTED"), NOW_MS - 40 * 86_400_000));
        assert_eq!(early, Some((Reason::TimeOutOfRange, "occurred_at".to_owned())));
        let confluent = frame_confluent(7, &body(&event("STARTED")));
        let mut checker = Checker::new(Topic::Task, confluent.len());
        let unknown = reason(checker.check(&confluent, NOW_MS)).map(|(reason, _)| reason);
        assert_eq!(unknown, Some(Reason::UnknownSchema));
        checker.know(Topic::Task, WriterId::Confluent(7), &contract.json);
        assert_eq!(reason(checker.check(&confluent, NOW_MS)), None);
        let mut tight = Checker::new(Topic::Task, confluent.len() - 1);
        let oversize = reason(tight.check(&confluent, NOW_MS)).map(|(reason, _)| reason);
        assert_eq!(oversize, Some(Reason::Oversize));
    }
}
