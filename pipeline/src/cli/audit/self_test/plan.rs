//! What is to be done to the clean history, where, and what an audit must say of it.
//!
//! Places are drawn from a seed; no two harms share a task, a wallet or a Kafka key. What must be found is stated here, from
//! what is done; nothing in this folder reads the texts of the jobs.

use super::class::Class;
use super::history::{Event, History};
use anyhow::bail;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};
use std::collections::HashSet;
use tally_schemas::Topic;

/// When a record is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// In the order of these numbers.
    InTurn(u64),
    /// After the first results.
    Late,
    /// It is lost on its way to Kafka.
    Never,
}

/// One record for Kafka.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) topic: Topic,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// Its append time, milliseconds since 1970 UTC.
    pub(super) at_ms: i64,
    pub(super) when: When,
}

/// What must be found, before it is known where records come to lie. Records are places in [`Plan::records`].
#[derive(Clone, Debug)]
pub(super) enum Sign {
    /// An offender of the offsets job at a record, or at one of several.
    At(&'static str, Vec<usize>),
    /// A hole of one offset.
    Hole(usize),
    /// A task that is not complete.
    Task(&'static str, String),
    /// A wallet that does not add up.
    Wallet(String),
    /// A row of this table, named by `verify`.
    Row(&'static str, usize, &'static str),
    /// A sealed row that is gone, named by `verify` by its offset.
    SealedHole(usize),
}

/// One harm.
#[derive(Clone, Debug)]
pub(super) struct Injection {
    pub(super) class: Class,
    pub(super) what: &'static str,
    pub(super) subject: String,
    pub(super) signs: Vec<Sign>,
}

/// A figure of a job that must come out exactly after the last record has come.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) class: Class,
    pub(super) job: &'static str,
    pub(super) counter: &'static str,
    pub(super) expected: i64,
    /// See [`Count`](super::compare::Count).
    pub(super) injections: bool,
}

/// Chance, and what it has taken already.
pub(super) struct Draw<'h> {
    pub(super) history: &'h History,
    rng: Pcg64Mcg,
    used: HashSet<String>,
}

impl<'h> Draw<'h> {
    pub(super) fn new(history: &'h History, seed: u64) -> Draw<'h> {
        // not the stream that the platform is made from
        Draw { history, rng: Pcg64Mcg::seed_from_u64(seed ^ 0x5e1f_7e57), used: HashSet::new() }
    }

    /// A number in 0..n; 0 for n = 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        let high = (u128::from(self.rng.next_u64()) * u128::from(n)) >> 64;
        u64::try_from(high).unwrap_or(0)
    }

    /// The place of an event that fits and whose subjects nobody has taken; takes them.
    pub(super) fn event(
        &mut self,
        what: &str,
        fits: impl Fn(usize, &Event) -> bool,
    ) -> anyhow::Result<usize> {
        let free = |event: &Event| subjects(event).iter().all(|subject| !self.used.contains(subject));
        let all = self.history.events.iter().enumerate();
        let fitting: Vec<usize> =
            all.filter(|(at, event)| free(event) && fits(*at, event)).map(|(at, _)| at).collect();
        if fitting.is_empty() {
            bail!("no event is left for this harm: {what}; give more --events");
        }
        let chosen = fitting[usize::try_from(self.below(fitting.len() as u64))?];
        self.used.extend(subjects(&self.history.events[chosen]));
        Ok(chosen)
    }
}

/// What an event is about: its key, its task and its wallet.
fn subjects(event: &Event) -> Vec<String> {
    let named = [event.key.as_str(), event.text("task_id"), event.text("wallet_id")];
    named.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The records to publish, and what must be found of what was done to them.
pub(super) struct Plan {
    /// Of the history first, in its order; then what was added.
    pub(super) records: Vec<Record>,
    pub(super) injections: Vec<Injection>,
    pub(super) figures: Vec<Figure>,
    /// Added records that are dead letters on purpose and break no rule: something to lose and to alter.
    pub(super) letters: Vec<usize>,
    /// Added records that repeat an earlier one.
    pub(super) duplicates: Vec<usize>,
    /// Tasks whose chain is broken until their late event comes.
    pub(super) late_tasks: Vec<String>,
}

/// Room between two records of the history in the order of publication.
const STEP: u64 = 1 << 16;

impl Plan {
    /// The history as it is.
    pub(super) fn clean(history: &History) -> Plan {
        let record = |(place, event): (u64, &Event)| Record {
            topic: event.topic,
            key: event.key.clone(),
            value: event.value.clone(),
            at_ms: event.at_us / 1_000,
            when: When::InTurn(place * STEP),
        };
        Plan {
            records: (0..).zip(&history.events).map(record).collect(),
            injections: Vec::new(),
            figures: Vec::new(),
            letters: Vec::new(),
            duplicates: Vec::new(),
            late_tasks: Vec::new(),
        }
    }

    /// Places of the records that are published in turn, in that order.
    pub(super) fn in_turn(&self) -> Vec<usize> {
        let turn = |(place, record): (usize, &Record)| match record.when {
            When::InTurn(turn) => Some((turn, place)),
            When::Late | When::Never => None,
        };
        let mut all: Vec<(u64, usize)> = self.records.iter().enumerate().filter_map(turn).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, place)| place).collect()
    }

    /// Places of the records that come late.
    pub(super) fn late(&self) -> Vec<usize> {
        let all = self.records.iter().enumerate();
        all.filter(|(_, record)| record.when == When::Late).map(|(place, _)| place).collect()
    }

    /// Adds a record somewhere after the one at `after`; gives its place.
    pub(super) fn add(&mut self, draw: &mut Draw<'_>, after: usize, record: Record) -> usize {
        let (first, last) = (after as u64 * STEP, draw.history.events.len() as u64 * STEP);
        let turn = first + 1 + draw.below(last.saturating_sub(first + 1));
        self.records.push(Record { when: When::InTurn(turn), ..record });
        self.records.len() - 1
    }

    pub(super) fn inject(&mut self, class: Class, what: &'static str, subject: String, signs: Vec<Sign>) {
        self.injections.push(Injection { class, what, subject, signs });
    }

    pub(super) fn count(
        &mut self,
        class: Class,
        (job, counter): (&'static str, &'static str),
        expected: i64,
        injections: bool,
    ) {
        self.figures.push(Figure { class, job, counter, expected, injections });
    }
}
