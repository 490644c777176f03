//! Harms that are done in the store, behind everybody's back: rows deleted, columns altered.

use super::class::Class;
use super::history::{Event, moves_money};
use super::plan::{Draw, Plan, Sign, When};
use anyhow::Context;
use std::collections::HashMap;
use tally_schemas::Topic;

/// Of each harm so many.
const EACH: usize = 3;
/// Offsets between two harms of a partition: `verify` names what lies between two rows that it knows.
const APART: i64 = 3;

/// Where a record lies: partition, offset.
pub(super) type Place = (i32, i64);

/// One statement against the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Harm {
    pub(super) table: &'static str,
    /// What is done, in ClickHouse's words; without it the row is deleted.
    pub(super) update: Option<&'static str>,
    /// Which record's row.
    pub(super) record: usize,
}

/// Where every record came to lie, and which places were harmed already.
pub(super) struct Ground {
    places: HashMap<usize, Place>,
    ends: HashMap<(Topic, i32), i64>,
    harmed: HashMap<(Topic, i32), Vec<i64>>,
}

impl Ground {
    pub(super) fn new(plan: &Plan, places: &HashMap<usize, Place>) -> Ground {
        let mut ends = HashMap::new();
        for (record, (partition, offset)) in places {
            let end = ends.entry((plan.records[*record].topic, *partition)).or_insert(0);
            *end = (offset + 1).max(*end);
        }
        Ground { places: places.clone(), ends, harmed: HashMap::new() }
    }

    /// Whether it was published, has neighbours on both sides, and no harm was done near it.
    fn is_free(&self, plan: &Plan, record: usize) -> bool {
        let in_turn = matches!(plan.records[record].when, When::InTurn(_));
        let Some((partition, offset)) = self.places.get(&record).filter(|_| in_turn) else { return false };
        let lane = (plan.records[record].topic, *partition);
        let inside = *offset >= APART && offset + APART < self.ends.get(&lane).copied().unwrap_or(0);
        let near = |harmed: &Vec<i64>| harmed.iter().any(|other| (other - offset).abs() < APART);
        inside && !self.harmed.get(&lane).is_some_and(near)
    }

    fn harm(&mut self, plan: &Plan, record: usize) -> anyhow::Result<()> {
        let (partition, offset) = *self.places.get(&record).context("a record without a place")?;
        self.harmed.entry((plan.records[record].topic, partition)).or_default().push(offset);
        Ok(())
    }
}

/// A harm to a row of a fact or of its receipt, and what must be found of it.
struct Kind {
    class: Class,
    what: &'static str,
    topic: Topic,
    /// Which events: their kind; empty for any.
    kind: &'static str,
    needs: Needs,
    tables: &'static [(&'static str, Option<&'static str>)],
    signs: fn(usize, &Event) -> Vec<Sign>,
}

/// What else is asked of an event.
#[derive(Clone, Copy)]
enum Needs {
    Nothing,
    /// Its task has events before and after it.
    Inner,
    /// Its task has events before it and none after.
    Last,
    /// It moves money, and its wallet states a balance later.
    Money,
    /// It is its wallet's last statement of a balance.
    LastStatement,
}

const DELETED: &str = "has its receipt and no fact: it was deleted";
const CONTENT: &str = "its content does not give its digest";
const AUDIT_LOG: &str = "audit_log";

const LOSSES: [Kind; 9] = [
    Kind {
        class: Class::Loss,
        what: "the fact of a task's event is deleted",
        topic: Topic::Task,
        kind: "",
        needs: Needs::Inner,
        tables: &[("task_events", None)],
        signs: |at, event| {
            let task = Sign::Task("broken_chain", event.key.clone());
            [vec![task], lost_fact(at, "task_events")].concat()
        },
    },
    Kind {
        class: Class::Loss,
        what: "the last fact of a task is deleted",
        topic: Topic::Task,
        kind: "",
        needs: Needs::Last,
        tables: &[("task_events", None)],
        signs: |at, event| {
            let task = Sign::Task("missing_fact", event.key.clone());
            [vec![task], lost_fact(at, "task_events")].concat()
        },
    },
    Kind {
        class: Class::Loss,
        what: "the fact of an estimate is deleted",
        topic: Topic::Credit,
        kind: "ESTIMATED",
        needs: Needs::Nothing,
        tables: &[("credit_events", None)],
        signs: |at, _| lost_fact(at, "credit_events"),
    },
    Kind {
        class: Class::Loss,
        what: "the fact of a movement of money is deleted",
        topic: Topic::Credit,
        kind: "",
        needs: Needs::Money,
        tables: &[("credit_events", None)],
        signs: |at, event| [vec![Sign::Wallet(event.key.clone())], lost_fact(at, "credit_events")].concat(),
    },
    Kind {
        class: Class::Loss,
        what: "the fact of a licence's event is deleted",
        topic: Topic::License,
        kind: "",
        needs: Needs::Nothing,
        tables: &[("license_events", None)],
        signs: |at, _| lost_fact(at, "license_events"),
    },
    Kind {
        class: Class::Loss,
        what: "the fact of a case's event is deleted",
        topic: Topic::Moderation,
        kind: "",
        needs: Needs::Nothing,
        tables: &[("moderation_events", None)],
        signs: |at, _| lost_fact(at, "moderation_events"),
    },
    Kind {
        class: Class::Loss,
        what: "the receipt of a task's event is deleted",
        topic: Topic::Task,
        kind: "",
        needs: Needs::Inner,
        tables: &[(AUDIT_LOG, None)],
        signs: |at, _| lost_receipt(at, "task_events"),
    },
    Kind {
        class: Class::Loss,
        what: "the receipt of a licence's event is deleted",
        topic: Topic::License,
        kind: "",
        needs: Needs::Nothing,
        tables: &[(AUDIT_LOG, None)],
        signs: |at, _| lost_receipt(at, "license_events"),
    },
    Kind {
        class: Class::Loss,
        what: "fact and receipt of a task's event are deleted",
        topic: Topic::Task,
        kind: "",
        needs: Needs::Inner,
        tables: &[("task_events", None), (AUDIT_LOG, None)],
        signs: |at, event| {
            vec![Sign::Hole(at), Sign::SealedHole(at), Sign::Task("broken_chain", event.key.clone())]
        },
    },
];

const ALTERATIONS: [Kind; 10] = [
    Kind {
        class: Class::Altered,
        what: "the actor of a task's fact is altered",
        topic: Topic::Task,
        kind: "",
        needs: Needs::Nothing,
        tables: &[("task_events", Some("actor_id = concat(actor_id, '-else')"))],
        signs: |at, _| vec![Sign::Row("task_events", at, CONTENT)],
    },
    Kind {
        class: Class::Altered,
        what: "the policy tag of a task's fact is altered",
        topic: Topic::Task,
        kind: "",
        needs: Needs::Inner,
        tables: &[("task_events", Some(OTHER_TAG))],
        signs: |at, event| {
            let task = Sign::Task("conflicting_tag", event.key.clone());
            vec![Sign::Row("task_events", at, CONTENT), task]
        },
    },
    Kind {
        class: Class::Altered,
        what: "the state version of a task's fact is altered",
        topic: Topic::Task,
        kind: "",
        needs: Needs::Inner,
        tables: &[("task_events", Some("state_version = state_version + 100"))],
        signs: |at, event| {
            let task = Sign::Task("broken_chain", event.key.clone());
            vec![Sign::Row("task_events", at, CONTENT), task]
        },
    },
    Kind {
        class: Class::Altered,
        what: "the amount of a movement of money is altered by one micro",
        topic: Topic::Credit,
        kind: "",
        needs: Needs::Money,
        tables: &[("credit_events", Some("amount_micros = amount_micros + 1"))],
        signs: |at, event| vec![Sign::Row("credit_events", at, CONTENT), Sign::Wallet(event.key.clone())],
    },
    Kind {
        class: Class::Altered,
        what: "the last balance of a wallet is altered by one micro",
        topic: Topic::Credit,
        kind: "",
        needs: Needs::LastStatement,
        tables: &[("credit_events", Some("balance_after_micros = assumeNotNull(balance_after_micros) - 1"))],
        signs: |at, event| vec![Sign::Row("credit_events", at, CONTENT), Sign::Wallet(event.key.clone())],
    },
    Kind {
        class: Class::Altered,
        what: "the licensee of a licence's fact is altered",
        topic: Topic::License,
        kind: "",
        needs: Needs::Nothing,
        tables: &[("license_events", Some("user_id = concat(user_id, '-else')"))],
        signs: |at, _| vec![Sign::Row("license_events", at, CONTENT)],
    },
    Kind {
        class: Class::Altered,
        what: "the moderator of a case's fact is altered",
        topic: Topic::Moderation,
        kind: "",
        needs: Needs::Nothing,
        tables: &[("moderation_events", Some("actor_id = concat(actor_id, '-else')"))],
        signs: |at, _| vec![Sign::Row("moderation_events", at, CONTENT)],
    },
    Kind {
        class: Class::Altered,
        what: "the actor of a receipt is altered",
        topic: Topic::Credit,
        kind: "",
        needs: Needs::Nothing,
        tables: &[(AUDIT_LOG, Some("actor_id = concat(actor_id, '-else')"))],
        signs: |at, _| vec![Sign::Row(AUDIT_LOG, at, "was altered")],
    },
    Kind {
        class: Class::Altered,
        what: "the policy tag of a receipt is altered",
        topic: Topic::Task,
        kind: "",
        needs: Needs::Nothing,
        tables: &[(AUDIT_LOG, Some(OTHER_TAG))],
        signs: |at, _| vec![Sign::Row(AUDIT_LOG, at, "was altered")],
    },
    Kind {
        class: Class::Altered,
        what: "the digest of the bytes in a receipt is altered",
        topic: Topic::License,
        kind: "",
        needs: Needs::Nothing,
        tables: &[(AUDIT_LOG, Some("raw_sha256 = reverse(raw_sha256)"))],
        signs: |at, _| vec![Sign::Row(AUDIT_LOG, at, "was altered")],
    },
];

const OTHER_TAG: &str = "policy_tag = if(policy_tag = 'FRAUD', 'MEDICAL', 'FRAUD')";

/// What is done to dead letters.
const LETTERS: [(Class, &str, Option<&str>, &str); 3] = [
    (Class::Loss, "a dead letter is deleted", None, "was deleted"),
    (Class::Altered, "the sentence of a dead letter is altered", Some("sentence = 'nothing'"), "was altered"),
    (
        Class::Altered,
        "the bytes of a dead letter are altered",
        Some("value = concat(assumeNotNull(value), '!')"),
        "was altered",
    ),
];

fn lost_fact(at: usize, table: &'static str) -> Vec<Sign> {
    vec![Sign::At("accepted_without_fact", vec![at]), Sign::Row(table, at, DELETED)]
}

fn lost_receipt(at: usize, table: &'static str) -> Vec<Sign> {
    vec![
        Sign::Hole(at),
        Sign::At("fact_without_receipt", vec![at]),
        Sign::SealedHole(at),
        Sign::Row(table, at, "has no receipt: it was inserted"),
    ]
}

/// Draws every harm of the classes asked for that is done in the store.
pub(super) fn draw(
    plan: &mut Plan,
    draw: &mut Draw<'_>,
    ground: &mut Ground,
    classes: &[Class],
) -> anyhow::Result<Vec<Harm>> {
    let history = draw.history;
    let mut harms = Vec::new();
    let kinds = LOSSES.iter().chain(&ALTERATIONS).filter(|kind| classes.contains(&kind.class));
    for kind in kinds {
        for _ in 0..EACH {
            let fits = |at: usize, event: &Event| {
                let needed = match kind.needs {
                    Needs::Nothing => true,
                    Needs::Inner => matches!(history.neighbours(at), (1.., 1..)),
                    Needs::Last => matches!(history.neighbours(at), (1.., 0)),
                    Needs::Money => moves_money(event) && history.is_stated_later(at),
                    Needs::LastStatement => history.states_last(at),
                };
                let named = kind.kind.is_empty() || event.text("kind") == kind.kind;
                event.topic == kind.topic && named && needed && ground.is_free(plan, at)
            };
            let record = draw.event(kind.what, fits)?;
            ground.harm(plan, record)?;
            harms.extend(kind.tables.iter().map(|(table, update)| Harm { table, update: *update, record }));
            let event = &history.events[record];
            plan.inject(kind.class, kind.what, event.id.to_string(), (kind.signs)(record, event));
        }
    }
    let mut letters = plan.letters.clone();
    for (class, what, update, found) in LETTERS.into_iter().filter(|(class, ..)| classes.contains(class)) {
        for _ in 0..EACH {
            letters.retain(|letter| ground.is_free(plan, *letter));
            anyhow::ensure!(!letters.is_empty(), "no dead letter is left for this harm: {what}");
            let record = letters.swap_remove(usize::try_from(draw.below(letters.len() as u64))?);
            ground.harm(plan, record)?;
            harms.push(Harm { table: "dead_letters", update, record });
            let mut signs = vec![Sign::Row("dead_letters", record, found)];
            if update.is_none() {
                signs.push(Sign::At("dead_without_letter", vec![record]));
            }
            plan.inject(class, what, plan.records[record].key.clone(), signs);
        }
    }
    Ok(harms)
}
