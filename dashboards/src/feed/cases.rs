//! Which cases a moderator has in work: what [`crate::rights`] asks and no single event says.
//!
//! A case is in work of whoever began its review, until it is decided, escalated or closed. The state comes from ClickHouse at
//! the start and from moderation events after; an event older than what is known of its case changes nothing.

use super::event::Event;
use std::collections::HashMap;
use tally_schemas::Topic;

/// A case in work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InWork {
    pub(super) moderator: String,
    pub(super) task_id: String,
    pub(super) license_id: String,
}

/// What is known of one case.
#[derive(Clone, Debug)]
struct Known {
    /// Partition and offset of the last event that was taken.
    at: (usize, i64),
    in_work: Option<InWork>,
}

/// The cases of all moderators.
#[derive(Debug, Default)]
pub(super) struct Cases {
    by_case: HashMap<String, Known>,
    /// Cases in work by task and by licence.
    by_task: HashMap<String, Vec<String>>,
    by_license: HashMap<String, Vec<String>>,
}

impl Cases {
    /// Takes a case as the store has it.
    pub(super) fn load(&mut self, case_id: String, at: (usize, i64), in_work: Option<InWork>) {
        self.set(case_id, at, in_work);
    }

    /// Takes an event of the log; others than moderation events say nothing here.
    pub(super) fn take(&mut self, event: &Event) {
        if event.topic != Topic::Moderation {
            return;
        }
        let (task_id, case_id, actor_id) = event.subjects();
        let in_work = match event.kind {
            "moderation.review_started.v1" => Some(InWork {
                moderator: actor_id.to_owned(),
                task_id: task_id.to_owned(),
                license_id: event.ids().license_id.to_owned(),
            }),
            "moderation.decided.v1" | "moderation.escalated.v1" | "moderation.closed.v1" => None,
            _ => self.by_case.get(case_id).and_then(|known| known.in_work.clone()),
        };
        self.set(case_id.to_owned(), (event.place, event.offset), in_work);
    }

    fn set(&mut self, case_id: String, at: (usize, i64), in_work: Option<InWork>) {
        let before = self.by_case.get(&case_id);
        // all events of a case are in one partition, since it is their key
        if before.is_some_and(|known| known.at.0 == at.0 && known.at.1 >= at.1) {
            return;
        }
        if let Some(gone) = before.and_then(|known| known.in_work.clone()) {
            for (index, key) in [(&mut self.by_task, &gone.task_id), (&mut self.by_license, &gone.license_id)]
            {
                if let Some(cases) = index.get_mut(key) {
                    cases.retain(|case| *case != case_id);
                    if cases.is_empty() {
                        index.remove(key);
                    }
                }
            }
        }
        if let Some(new) = &in_work {
            for (index, key) in [(&mut self.by_task, &new.task_id), (&mut self.by_license, &new.license_id)] {
                if !key.is_empty() {
                    index.entry(key.clone()).or_default().push(case_id.clone());
                }
            }
        }
        self.by_case.insert(case_id, Known { at, in_work });
    }

    /// Whether an event belongs to a case that this moderator has in work now: by its case, its task, or, for a licence's
    /// event, its licence.
    pub(super) fn concern(&self, moderator: &str, event: &Event) -> bool {
        let is_theirs = |case: &str| {
            let known = self.by_case.get(case).and_then(|known| known.in_work.as_ref());
            known.is_some_and(|case| case.moderator == moderator)
        };
        let among =
            |cases: Option<&Vec<String>>| cases.is_some_and(|all| all.iter().any(|case| is_theirs(case)));
        let (task_id, case_id, _) = event.subjects();
        let license_id = event.ids().license_id;
        (!case_id.is_empty() && is_theirs(case_id))
            || (!task_id.is_empty() && among(self.by_task.get(task_id)))
            || (event.topic == Topic::License
                && !license_id.is_empty()
                && among(self.by_license.get(license_id)))
    }

    /// The tasks of the cases that this moderator has in work.
    pub(super) fn tasks_of(&self, moderator: &str) -> Vec<String> {
        let in_work = self.by_case.values().filter_map(|known| known.in_work.as_ref());
        let theirs = in_work.filter(|case| case.moderator == moderator && !case.task_id.is_empty());
        theirs.map(|case| case.task_id.clone()).collect()
    }

    /// Forgets cases beyond so many that are not in work: what follows them says all that must be known.
    pub(super) fn trim(&mut self, cases_max: usize) {
        if self.by_case.len() > cases_max {
            self.by_case.retain(|_, known| known.in_work.is_some());
        }
    }
}
