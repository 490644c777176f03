//! One partition's range: read it, hold it against the ledger, fill in what is missing.

use super::{ReplayError, Survey};
use crate::config::Bounds;
use crate::judge::{Block, Known, judge};
use crate::slab::{Budget, Slab};
use crate::source::{Next, Partition, Source};
use crate::write::{Sinks, Step};
use crate::writers::{Book, named_in};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Duration;
use tally_schemas::{Fault, Reader, Reason, Topic, Writers};
use tally_sinks::rows::Origin;
use tally_sinks::{Inherited, Receipts, Refused, Retry, Standing};
use tokio::sync::mpsc;
use uuid::Uuid;

/// How often a step is tried, and how long it rests between.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
/// What restoring takes: its receipts stand, and its dead-letter topic was told.
const RESTORE: [Step; 2] = [Step::Facts, Step::DeadLetters];

/// What all partitions of a replay share.
pub(super) struct Stretch {
    pub(super) source: Source,
    pub(super) sinks: Sinks,
    pub(super) book: Book,
    pub(super) contract: Topic,
    pub(super) topic_id: Uuid,
    pub(super) bounds: Bounds,
    /// This replay, if it writes.
    pub(super) run: Option<Uuid>,
}

/// What is known of a partition before it is read.
struct Before {
    origin: Origin,
    receipts: Receipts,
    /// Below this offset lanes have passed: what has no receipt there is a hole, and no lane will come for it.
    passed: i64,
}

impl Stretch {
    /// Takes the offsets of one partition.
    pub(super) async fn take(&self, at: &Partition, offsets: Range<i64>) -> Result<Survey, ReplayError> {
        let (source, partition) = (self.source.clone(), at.clone());
        let committed = tokio::task::spawn_blocking(move || source.committed(&partition)).await??;
        let committed = committed.filter(|(_, id)| *id == Some(self.topic_id)).map(|(offset, _)| offset);
        let origin = Origin {
            contract: self.contract,
            topic: at.topic.clone(),
            topic_id: self.topic_id,
            partition: at.number,
        };
        let receipts = self
            .sinks
            .store
            .receipts(self.contract.table(), (self.topic_id, at.number), offsets.start)
            .await?;
        let before = Before { origin, receipts, passed: committed.unwrap_or(0) };
        let mut survey =
            Survey { partition: at.number, from: offsets.start, to: offsets.end, ..Survey::default() };
        let (sender, mut slabs) = mpsc::channel(1);
        let (source, partition, bounds) = (self.source.clone(), at.clone(), self.bounds.clone());
        let reading =
            tokio::task::spawn_blocking(move || read(&source, &partition, offsets, &bounds, &sender));
        while let Some(slab) = slabs.recv().await {
            self.slab(&before, slab, &mut survey).await?;
        }
        reading.await??;
        Ok(survey)
    }

    async fn slab(&self, before: &Before, slab: Slab, survey: &mut Survey) -> Result<(), ReplayError> {
        let Before { origin, receipts, passed } = before;
        self.confirm(origin).await?;
        let standing = self.sinks.store.standing(
            self.contract.table(),
            (origin.topic_id, origin.partition),
            slab.first()..slab.next(),
        );
        let standing: HashMap<i64, Standing> =
            standing.await?.into_iter().map(|one| (one.offset, one)).collect();
        count(survey, &slab, &standing);
        let writers = self.book.resolve(named_in(&slab)).await?;
        let today = self.judge_dead(origin, &slab, &standing, &writers)?;
        survey.now_acceptable += today.now_acceptable;

        let mut settled = receipts.done.clone();
        settled.push((*passed, i64::MAX));
        let known = Known { writers: &writers, settled: &settled, inherited: &receipts.inherited };
        let mut holes = self.judge(origin, slab.part(|_| true), known)?;
        let missing = (holes.accepted.digests.len() + holes.letters.len()) as u64;
        survey.holes += missing;
        survey.not_taken += unsettled(&slab, &receipts.done).saturating_sub(missing);
        let absent: u64 = holes.gaps.iter().map(|gap| gap.next.abs_diff(gap.first)).sum();
        survey.unrecorded_gap_offsets += absent;

        let is_lost = |offset: i64| standing.get(&offset).is_some_and(|one| !one.kept);
        let known = Known { writers: &writers, settled: &[], inherited: &today.faults };
        let mut lost = self.judge(origin, slab.part(is_lost), known)?;
        // an accepted record that would be refused today, or that says something else today, keeps its receipt
        let astray = lost.retain(|offset, digest| {
            standing.get(&offset).is_some_and(|one| match digest {
                Some(digest) => one.accepted && one.digest == *digest,
                None => !one.accepted,
            })
        })?;
        survey.not_restorable += astray as u64;
        let Some(run) = self.run else { return Ok(()) };
        if missing + absent > 0 {
            if let Some(why) = holes.contradiction(&receipts.stored) {
                return Err(ReplayError::Contradiction(format!(
                    "{}/{}: {why}",
                    origin.topic, origin.partition
                )));
            }
            if absent > 0 {
                let at = Partition { topic: origin.topic.clone(), number: origin.partition };
                let again = self.source.read_again(&at, &holes.gaps).await;
                again.map_err(|error| ReplayError::Read(format!("{at}: {error}")))?;
                self.confirm(origin).await?; // what was read again may be of a topic created anew
            }
            let token = format!("replay/{run}/holes/{}", holes.token());
            for step in Step::ALL {
                let refused = self.until_done(step, &holes, &token).await?;
                if !refused.is_empty() {
                    let refused = self.never_stored(&holes, refused).await?;
                    holes.refuse(&refused)?;
                }
            }
            survey.filled += missing;
        }
        let token = format!("replay/{run}/lost/{}", lost.token());
        for step in RESTORE {
            let refused = self.until_done(step, &lost, &token).await?.len();
            survey.not_restorable += refused as u64;
            survey.restored += match step {
                Step::Facts => lost.accepted.digests.len() - refused,
                _ => lost.letters.len(),
            } as u64;
        }
        Ok(())
    }

    /// What would become today of the letters that stand, and what to write of those that are lost.
    fn judge_dead(
        &self,
        origin: &Origin,
        slab: &Slab,
        standing: &HashMap<i64, Standing>,
        writers: &Writers,
    ) -> Result<Today, ReplayError> {
        let is_dead = |offset: i64| standing.get(&offset).is_some_and(|one| !one.accepted);
        let none = BTreeMap::new();
        let known = Known { writers, settled: &[], inherited: &none };
        let block = self.judge(origin, slab.part(is_dead), known)?;
        let said: HashMap<i64, &Fault> = block.letters.iter().map(|l| (l.offset, &l.fault)).collect();
        let dead = standing.values().filter(|one| !one.accepted);
        let fault = |one: &Standing| match said.get(&one.offset) {
            Some(fault) if fault.reason.name() == one.reason => (*fault).clone(),
            _ => Fault {
                reason: Reason::from_name(&one.reason).unwrap_or(Reason::RejectedByStore),
                path: String::new(),
                sentence:
                    "restored from its receipt, which keeps no sentence; today it would be judged otherwise"
                        .to_owned(),
            },
        };
        let faults = dead.map(|one| (one.offset, fault(one))).collect();
        Ok(Today { faults, now_acceptable: block.accepted.digests.len() as u64 })
    }

    fn judge(&self, origin: &Origin, slab: Slab, known: Known<'_>) -> Result<Block, ReplayError> {
        let mut reader = Reader::new(self.contract, self.bounds.event.value_bytes_max as usize);
        Ok(tokio::task::block_in_place(|| judge(origin.clone(), slab, &mut reader, known))?)
    }

    /// Holds the topic's identity against the one of the replay: asked after records came, so that none of a topic created anew
    /// gets the old one's name.
    async fn confirm(&self, origin: &Origin) -> Result<(), ReplayError> {
        match self.source.identity(&origin.topic).await? == origin.topic_id {
            true => Ok(()),
            false => Err(ReplayError::Recreated(origin.topic.clone())),
        }
    }

    /// Of the rows that the store refuses, those that it never took. Asked now, since a try without an answer may have stored
    /// some.
    async fn never_stored(&self, block: &Block, refused: Vec<Refused>) -> Result<Vec<Refused>, ReplayError> {
        let place = (block.origin.topic_id, block.origin.partition);
        let now = self.sinks.store.receipts(self.contract.table(), place, block.first()).await?;
        Ok(block.never_stored(refused, &now.stored))
    }

    async fn until_done(&self, step: Step, block: &Block, token: &str) -> Result<Vec<Refused>, ReplayError> {
        let mut pauses = PAUSES.iter();
        loop {
            let error = match step.take(&self.sinks, block, token).await {
                Ok(refused) => return Ok(refused),
                Err(error) => error,
            };
            match (error.retry().0, pauses.next()) {
                (Retry::Stop, _) | (_, None) => return Err(ReplayError::step(step.name(), error)),
                (_, Some(pause)) => tokio::time::sleep(*pause).await,
            }
        }
    }
}

/// Today's judgement of standing dead letters.
struct Today {
    faults: Inherited,
    now_acceptable: u64,
}

fn count(survey: &mut Survey, slab: &Slab, standing: &HashMap<i64, Standing>) {
    survey.records += slab.rows() as u64;
    for one in slab.offsets().filter_map(|offset| standing.get(&offset)) {
        let lost = u64::from(!one.kept);
        let (all, missing) = match one.accepted {
            true => (&mut survey.accepted, &mut survey.facts_lost),
            false => (&mut survey.dead, &mut survey.letters_lost),
        };
        *all += 1;
        *missing += lost;
    }
}

/// Records at offsets that are not settled.
fn unsettled(slab: &Slab, settled: &[(i64, i64)]) -> u64 {
    let is_settled = |offset: i64| settled.iter().any(|(first, next)| (*first..*next).contains(&offset));
    slab.offsets().filter(|offset| !is_settled(*offset)).count() as u64
}

/// Reads the range slab by slab; blocks. Ends early where nobody wants more.
fn read(
    source: &Source,
    at: &Partition,
    offsets: Range<i64>,
    bounds: &Bounds,
    slabs: &mpsc::Sender<Slab>,
) -> Result<(), ReplayError> {
    let reader = source.read_from(at, offsets.start)?;
    let budget = Budget::default();
    let mut slab = Slab::new(offsets.start, &budget);
    let taken = reader.read(|next| {
        match next {
            Next::Record(record) if record.offset < offsets.end => slab.push(record),
            Next::Record(_) => slab.end(offsets.end),
            Next::End(offset) => slab.end(offset.min(offsets.end)),
        }
        let ended = slab.next() >= offsets.end;
        let full =
            slab.rows() >= bounds.block_rows_max as usize || slab.bytes() >= bounds.block_bytes_max as usize;
        if !full && !ended {
            return true;
        }
        let fresh = Slab::new(slab.next(), &budget);
        slabs.blocking_send(std::mem::replace(&mut slab, fresh)).is_ok() && !ended
    });
    taken.map_err(ReplayError::Read)
}
