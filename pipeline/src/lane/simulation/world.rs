//! What all simulated processes share: the log, the group, the store, and the rules that hold at every moment.

use super::messages::{Fate, Message, messages, name};
use super::scheduler::{Chance, Clock, Orders, Owner, lock};
use super::store::{Place, Rows, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tally_sinks::StoreError;
use uuid::Uuid;

/// How long a member may be silent.
const SESSION: Duration = Duration::from_millis(1500);

/// A partition of one identity of the topic; offsets are places.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    pub(super) low: i64,
    entries: Vec<Option<Entry>>,
}

/// A record; what is absent of the log was aborted, or is a transaction's marker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    message: usize,
    pub(super) at_ms: i64,
}

impl Entry {
    pub(super) fn message(self) -> &'static Message {
        &messages()[self.message]
    }
}

impl Log {
    pub(super) fn high(&self) -> i64 {
        i64::try_from(self.entries.len()).expect("a short log")
    }

    pub(super) fn entry(&self, offset: i64) -> Option<Entry> {
        self.entries.get(usize::try_from(offset).ok()?).copied().flatten()
    }

    pub(super) fn push(&mut self, message: Option<(usize, i64)>) {
        self.entries.push(message.map(|(message, at_ms)| Entry { message, at_ms }));
    }
}

#[derive(Debug)]
pub(super) struct Member {
    /// Rises with each time it joins.
    pub(super) generation: u64,
    heard: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Kafka {
    /// The identity that the topic's name has now.
    pub(super) topic_id: Uuid,
    pub(super) logs: BTreeMap<(Uuid, i32), Log>,
    pub(super) partitions: i32,
    pub(super) committed: BTreeMap<i32, (i64, Option<Uuid>)>,
    /// What the dead-letter topic was told: at least once.
    pub(super) dead: BTreeSet<Place>,
    pub(super) members: BTreeMap<Owner, Member>,
    pub(super) holders: BTreeMap<i32, Owner>,
    /// Who gets which partition changes with it.
    pub(super) turn: u64,
    pub(super) generations: u64,
    /// What was gone when a lane started and nothing was committed: below it nobody need have been.
    pub(super) before_us: BTreeMap<(Uuid, i32), i64>,
    pub(super) down: bool,
}

impl Kafka {
    pub(super) fn log(&mut self, partition: i32) -> &mut Log {
        self.logs.entry((self.topic_id, partition)).or_default()
    }

    pub(super) fn join(&mut self, who: Owner, now: Duration) -> u64 {
        self.generations += 1;
        self.members.insert(who, Member { generation: self.generations, heard: now });
        self.generations
    }

    pub(super) fn leave(&mut self, who: Owner) {
        self.members.remove(&who);
        self.holders.retain(|_, holder| *holder != who);
    }

    /// Keeps a membership alive; false where the group has given it up.
    pub(super) fn beat(&mut self, who: Owner, generation: u64, now: Duration) -> bool {
        match self.members.get_mut(&who) {
            Some(member) if member.generation == generation => member.heard = now,
            _ => return false,
        }
        let silent = |member: &Member| now.saturating_sub(member.heard) > SESSION;
        let gone: Vec<Owner> =
            self.members.iter().filter(|(_, member)| silent(member)).map(|(who, _)| *who).collect();
        gone.into_iter().for_each(|who| self.leave(who));
        true
    }

    pub(super) fn is_meant_for(&self, partition: i32, who: Owner) -> bool {
        let members = self.members.len() as u64;
        let place = (u64::from(partition.unsigned_abs()) + self.turn).checked_rem(members);
        place.and_then(|place| self.members.keys().nth(usize::try_from(place).ok()?)) == Some(&who)
    }

    /// Takes a partition that nobody holds.
    pub(super) fn hold(&mut self, partition: i32, who: Owner) -> bool {
        self.is_meant_for(partition, who) && *self.holders.entry(partition).or_insert(who) == who
    }

    pub(super) fn release(&mut self, partition: i32, who: Owner) {
        if self.holders.get(&partition) == Some(&who) {
            self.holders.remove(&partition);
        }
    }
}

/// What happened, as a number, and in words where somebody wants to read it.
#[derive(Debug)]
pub(super) struct History {
    pub(super) number: u64,
    pub(super) lines: Option<Vec<String>>,
}

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) clock: Arc<Clock>,
    pub(super) orders: Arc<Mutex<Orders>>,
    pub(super) history: History,
    pub(super) kafka: Kafka,
    pub(super) store: Store,
    /// Whether anything may still go wrong.
    pub(super) troubled: bool,
    /// A process dies at a point so many times out of a thousand.
    pub(super) deaths_permille: u64,
    /// Of inserts and calls so many out of a thousand fail.
    pub(super) failures_permille: u64,
    /// The bound under which processes are started now.
    pub(super) value_bytes_max: usize,
    /// So many commits do not arrive.
    pub(super) commits_to_lose: u64,
    /// Processes that died and were not replaced yet.
    pub(super) dead: Vec<Owner>,
    /// The first rule that was broken.
    pub(super) broken: Option<String>,
}

impl World {
    pub(super) fn note(&mut self, what: &'static str, numbers: [i64; 3]) {
        let now = i64::try_from(self.clock.elapsed().as_micros()).unwrap_or(i64::MAX);
        let bytes = what.bytes().map(u64::from);
        for part in bytes.chain(numbers.iter().chain([&now]).map(|n| n.cast_unsigned())) {
            self.history.number = (self.history.number ^ part).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.history.lines {
            lines.push(format!("{:>9.3} ms  {what} {numbers:?}", self.clock.elapsed().as_secs_f64() * 1e3));
        }
    }

    /// A process ends at once.
    pub(super) fn kill(&mut self, who: Owner) {
        let mut orders = lock(&self.orders);
        orders.kill.insert(who);
        orders.frozen.remove(&who);
        self.dead.push(who);
    }

    /// A rule that does not hold ends the run.
    pub(super) fn rule(&mut self, holds: bool, said: impl FnOnce() -> String) {
        if !holds && self.broken.is_none() {
            self.broken = Some(said());
        }
    }

    pub(super) fn fails(&mut self) -> bool {
        self.troubled && self.chance.permille(self.failures_permille)
    }

    pub(super) fn told(&mut self, at: Place) {
        self.kafka.dead.insert(at);
        self.not_both(at);
    }

    /// An INSERT as the server does it, and the rules for what comes in.
    pub(super) fn apply(&mut self, table: &'static str, token: &str, rows: &Rows) -> Result<(), StoreError> {
        let done = self.store.insert(table, token, rows);
        let code = match &done {
            Ok(new) => i64::from(*new),
            Err(_) => -1,
        };
        let first = match rows {
            Rows::Facts(facts) => facts.first().map(|fact| fact.at.2),
            Rows::Letters(letters) => letters.first().map(|letter| letter.at.2),
            Rows::Gaps(gaps) => gaps.first().map(|gap| gap.first),
            Rows::Receipts(receipts) => receipts.first().map(|receipt| receipt.at.2),
        };
        self.note(table, [code, first.unwrap_or(-1), token.len() as i64]);
        if !done? {
            return Ok(());
        }
        match rows {
            Rows::Facts(facts) => facts.iter().for_each(|fact| self.not_both(fact.at)),
            Rows::Letters(letters) => letters.iter().for_each(|letter| self.not_both(letter.at)),
            Rows::Gaps(gaps) => {
                for gap in gaps.iter().filter(|gap| !gap.expired) {
                    let log = self.kafka.logs.get(&(gap.topic_id, gap.partition));
                    let found = log.and_then(|log| (gap.first..gap.next).find(|at| log.entry(*at).is_some()));
                    self.rule(found.is_none(), || format!("a gap where a record stands: {gap:?}"));
                }
            }
            Rows::Receipts(receipts) => {
                for receipt in receipts {
                    let kept = match receipt.accepted {
                        true => self.store.facts.iter().any(|fact| fact.key == receipt.key),
                        false => {
                            self.store.letters.iter().any(|letter| letter.at == receipt.at)
                                && self.kafka.dead.contains(&receipt.at)
                        }
                    };
                    self.rule(kept, || format!("a receipt before what it attests: {receipt:?}"));
                    let other = self.store.receipts.iter().find(|o| o.at == receipt.at && *o != receipt);
                    let other = other.cloned();
                    self.rule(other.is_none(), || format!("two receipts differ: {receipt:?} and {other:?}"));
                }
            }
        }
        Ok(())
    }

    fn not_both(&mut self, at: Place) {
        let is_fact = self.store.facts.iter().any(|fact| fact.at == at);
        let is_dead =
            self.store.letters.iter().any(|letter| letter.at == at) || self.kafka.dead.contains(&at);
        self.rule(!(is_fact && is_dead), || format!("row and dead letter of {at:?}"));
    }

    /// A commit as the broker takes it: everything from the first settled offset on must be settled.
    pub(super) fn commit(&mut self, partition: i32, next: i64, topic_id: Uuid) {
        self.note("committed", [partition.into(), next, 0]);
        self.kafka.committed.insert(partition, (next, Some(topic_id)));
        let hole = self.hole((topic_id, partition), next);
        self.rule(hole.is_none(), || format!("{partition}: committed {next}, but {hole:?} is not settled"));
    }

    /// The first offset below `next` that is not settled. What retention took while nothing was committed does not count.
    fn hole(&self, (topic_id, partition): (Uuid, i32), next: i64) -> Option<i64> {
        let low = self.kafka.before_us.get(&(topic_id, partition)).copied().unwrap_or(0);
        let settled = |offset: &i64| self.store.is_settled((topic_id, partition, *offset));
        (low..next).find(|offset| !settled(offset))
    }

    /// Whether everything that can be read is settled and committed.
    pub(super) fn is_caught_up(&self) -> bool {
        (0..self.kafka.partitions).all(|partition| {
            let high = self.kafka.logs.get(&(self.kafka.topic_id, partition)).map_or(0, Log::high);
            let committed = self.kafka.committed.get(&partition);
            high == 0 || committed == Some(&(high, Some(self.kafka.topic_id)))
        })
    }

    /// The balance at the end, offset by offset and content by content.
    pub(super) fn balance(&mut self) {
        self.store.merge();
        let (mut said, mut valid) = (Vec::new(), BTreeSet::new());
        for ((topic_id, partition), log) in &self.kafka.logs {
            let ends = *topic_id == self.kafka.topic_id; // what was not taken of a deleted topic is lost
            if let Some(hole) = self.hole((*topic_id, *partition), log.high()).filter(|_| ends) {
                said.push(format!("{partition}: offset {hole} of {topic_id} has no disposition"));
            }
            for offset in 0..log.high() {
                let at = (*topic_id, *partition, offset);
                let receipt = self.store.receipts.iter().find(|receipt| receipt.at == at);
                let holes = self.store.holes(at).collect::<Vec<_>>();
                let absent = holes.iter().any(|hole| !hole.expired);
                if receipt.is_some() && absent {
                    said.push(format!("{at:?} has a receipt and is absent"));
                }
                let Some(receipt) = receipt else { continue };
                let fate = log.entry(offset).map(|entry| entry.message().fate);
                let right = match fate {
                    Some(Fate::Fact(_)) => receipt.accepted,
                    Some(Fate::Dead(reason)) => !receipt.accepted && receipt.reason == reason,
                    Some(Fate::Poison(_)) => receipt.accepted || receipt.reason == "rejected_by_store",
                    Some(Fate::Large(_)) => receipt.accepted || receipt.reason == "oversize",
                    None => false,
                };
                if !right {
                    said.push(format!("{at:?} is {fate:?}, its receipt is {receipt:?}"));
                }
                if receipt.accepted {
                    valid.extend(match fate {
                        Some(Fate::Fact(it) | Fate::Poison(it) | Fate::Large(it)) => Some(name(it)),
                        _ => None,
                    });
                }
            }
        }
        let mut facts: BTreeMap<&str, u64> = BTreeMap::new();
        self.store.facts.iter().for_each(|fact| *facts.entry(&fact.content).or_default() += 1);
        for content in &valid {
            if facts.get(content.as_str()) != Some(&1) {
                said.push(format!("{content} was accepted and has {:?} facts", facts.get(content.as_str())));
            }
        }
        for fact in &self.store.facts {
            // a fact whose receipt never came: its topic was deleted, or retention took the record before
            let log = self.kafka.logs.get(&(fact.at.0, fact.at.1));
            let gone = fact.at.0 != self.kafka.topic_id || log.is_some_and(|log| fact.at.2 < log.low);
            if !valid.contains(&fact.content) && !gone {
                said.push(format!("a fact without a receipt: {fact:?}"));
            }
        }
        let said = said.into_iter().next();
        self.rule(said.is_none(), || said.unwrap_or_default());
    }

    pub(super) fn spawn(&self, owner: Owner, work: impl Future<Output = ()> + Send + 'static) {
        lock(&self.orders).spawn.push((owner, Box::pin(work)));
    }
}
