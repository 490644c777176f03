//! Letters of a lane that may be stored and may have no receipt yet.

use std::collections::BTreeMap;
use tally_schemas::Fault;
use tally_sinks::Inherited;
use tally_sinks::rows::DeadLetter;
use uuid::Uuid;

/// Letters that may be stored: what was found dead stays dead until it has its receipt, and is not sent again once the dead-letter topic
/// has it.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    topic_id: Uuid,
    by_offset: BTreeMap<i64, Letter>,
}

#[derive(Debug)]
struct Letter {
    fault: Fault,
    /// The dead-letter topic has acknowledged it.
    is_sent: bool,
}

impl Letters {
    /// Of these letters, those that the dead-letter topic is not known to have.
    pub(crate) fn not_sent<'a>(&self, topic_id: Uuid, letters: &[&'a DeadLetter]) -> Vec<&'a DeadLetter> {
        let was_sent = |letter: &DeadLetter| {
            self.topic_id == topic_id
                && self.by_offset.get(&letter.offset).is_some_and(|letter| letter.is_sent)
        };
        letters.iter().filter(|letter| !was_sent(letter)).copied().collect()
    }

    /// These are about to be stored: from now on they may be, whatever is heard of it.
    pub(super) fn found(&mut self, topic_id: Uuid, letters: &[DeadLetter]) {
        if self.topic_id != topic_id {
            *self = Letters { topic_id, by_offset: BTreeMap::new() };
        }
        for letter in letters {
            let known = self.by_offset.entry(letter.offset);
            known.or_insert_with(|| Letter { fault: letter.fault.clone(), is_sent: false });
        }
    }

    /// The dead-letter topic has it.
    pub(crate) fn sent(&mut self, topic_id: Uuid, letter: &DeadLetter) {
        if self.topic_id == topic_id
            && let Some(letter) = self.by_offset.get_mut(&letter.offset)
        {
            letter.is_sent = true;
        }
    }

    /// Those of a topic.
    pub(super) fn of(&self, topic_id: Uuid) -> Inherited {
        let all = self.by_offset.iter().filter(|_| self.topic_id == topic_id);
        all.map(|(offset, letter)| (*offset, letter.fault.clone())).collect()
    }

    /// Those below `next` have their receipts.
    pub(super) fn forget(&mut self, next: i64) {
        self.by_offset = self.by_offset.split_off(&next);
    }
}
