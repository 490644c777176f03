//! `tally verify`: is everything that was sealed still there, as it was?
//!
//! | what happened | class (exit code) | how it is seen |
//! | --- | --- | --- |
//! | nothing | verified (0) | |
//! | a column of `audit_log`, `dead_letters` or `gaps` was altered | tampered (1) | its leaf; the row is named |
//! | a content column of a fact was altered | tampered (1) | its content no longer gives its digest |
//! | coordinates, append time or rank of a fact were altered | tampered (1) | they are not those of its earliest receipt |
//! | a sealed row or its fact was deleted | tampered (1) | a leaf without row; a receipt without fact |
//! | a row was inserted among sealed ones, or a fact | tampered (1) | a row without leaf; a fact without receipt |
//! | a fact was inserted beyond the sealed ones | tampered (1) | no receipt, and Kafka never came so far, or its topic has ended or never was (`orphans`) |
//! | a fact has no receipt, or a receipt no fact, for more than a minute | incomplete (2) | its block never ended, or the other was deleted |
//! | rows name a topic that Kafka does not allow | tampered (1) | nor does the sealer take them up |
//! | the log was rolled back (truncated tip) | tampered (1) | `seals`, or a checkpoint kept elsewhere, has more leaves |
//! | the log was begun anew, or went on from an old copy, over altered rows | tampered (1) | it does not continue a row of `seals`; nor does the sealer go on |
//! | a tile, a list of heads or a checkpoint was altered | tampered (1) | root, signature; of the numbered ones the last 1,000 are read |
//! | the file `checkpoint` is neither the newest nor, after a crash, the one before | tampered (1) | it is held against the numbered ones |
//! | the map `first/` was altered | tampered (1), to `Sample`, `Since` and `prove` could not check (3) | it is computed again; where it leads astray the whole partition is looked at |
//! | a tile is missing | could not check (3) | the rows may still give the signed root; proofs cannot be made |
//! | the checkpoint bears no known key's signature | could not check (3) | |
//! | raw_sha256 of a receipt or dead letter was altered before it was sealed, or the row invented or left out | tampered (1) | the bytes in Kafka, where a witness is given |
//! | Kafka does not answer, though it was asked | could not check (3) | |
//! | Kafka has none of the records any more | incomplete (2) | what has expired is counted; where some are left it is no finding |
//! | store or ClickHouse do not answer; the log is gone and `seals` is not empty | could not check (3) | |
//! | nothing is sealed, or nothing lies in the scope asked for | incomplete (2) | an empty log is never verified |
//! | rows wait for their seal longer than `max_age`; offsets without row | incomplete (2) | |
//! | the newest sealed record is older than `max_age`, where that is asked for | incomplete (2) | |
//!
//! Of several the worst counts: tampered, then could not check, then incomplete. The whole scope asks all of this;
//! `Since` and `Sample` ask of their stretch whether rows are those that were sealed and whether facts give their
//! digests, but not whether facts were inserted.

use super::check::{self, Checked};
use super::checkpoint::{self, Checkpoint, leaves};
use super::facts::{self, Facts, Which, Wrong};
use super::history::Remembered;
use super::keys::Keys;
use super::leaf::{Key, Kind};
use super::log::Log;
use super::numbered;
use super::orphans::orphans;
use super::report::{Class, Finding, Report};
use super::sealer::{LANES_MAX, newest};
use super::witness::{self, Looked, Witness};
use super::{Head, Lane, SealError, cores, history};
use crate::QueryError;
use clickhouse::{Client, Row};
use futures::stream::{self, StreamExt};
use rand::{Rng, SeedableRng};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::time::Instant;
use tally_schemas::Topic;
use uuid::Uuid;

/// How much is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every leaf and every fact.
    All,
    /// Of each partition what follows the first record appended at or after this, milliseconds since 1970 UTC.
    Since(i64),
    /// So many leaves drawn by this seed, each with its tile of 256 and its inclusion proof.
    Sample(u32, u64),
}

/// What is asked of a verification.
#[derive(Clone, Debug)]
pub struct Request {
    /// How much.
    pub scope: Scope,
    /// Now, milliseconds since 1970 UTC.
    pub now_ms: i64,
    /// How long a row may wait for its seal, milliseconds.
    pub max_age_ms: i64,
    /// Whether the newest sealed record, too, may be no older than that.
    pub fresh: bool,
    /// A signed checkpoint that somebody kept, and its list of heads.
    pub expect: Option<(Vec<u8>, Vec<u8>)>,
}

/// Verifies. Whatever goes wrong is a finding; the report's exit code is 0 only where all was checked and sound. With a witness
/// the receipts of the scope are also held against the bytes that it still has.
pub async fn verify(
    client: &Client,
    log: &Log,
    keys: &Keys,
    request: &Request,
    witness: Option<&dyn Witness>,
) -> Report {
    let mut report = Report::default();
    let Some((number, checkpoint)) = signed(client, log, keys, &mut report).await else { return report };
    report.checkpoint = String::from_utf8_lossy(&checkpoint.note).into_owned();
    report.signers.clone_from(&checkpoint.signers);
    if let Some((note, heads)) = &request.expect {
        match checkpoint::checkpoint(note, heads, keys) {
            Ok(kept) => {
                let all =
                    check::extends(log, &checkpoint.heads, &kept.heads, "the checkpoint expected").await;
                report.add_all(all);
            }
            Err(error) => report.add(error.into()),
        }
    }
    if request.scope == Scope::All {
        report.add_all(numbered::altered(log, keys, number).await);
    }
    let looked = match request.scope {
        Scope::All => everything(client, log, &checkpoint, request, &mut report).await,
        Scope::Since(since) => stretches(client, log, &checkpoint, since, &mut report).await,
        Scope::Sample(count, seed) => samples(client, log, &checkpoint, (count, seed), &mut report).await,
    };
    if let Some(witness) = witness {
        witness::hold(client, witness, looked, &mut report).await;
    }
    if let Err(error) = unsealed(client, &checkpoint, request, &mut report).await {
        report.add(error.into());
    }
    let appended = checkpoint.heads.iter().map(|head| head.appended_at_ms).max().unwrap_or(0);
    if request.fresh && appended < request.now_ms - request.max_age_ms {
        report
            .add(Finding::log(Class::Incomplete, "stale: the newest sealed record is older than --max-age"));
    }
    if report.leaves == 0 && report.findings.is_empty() {
        report.add(Finding::log(Class::Incomplete, "nothing was found to verify"));
    }
    report
}

/// The newest checkpoint of the log, held against the one that ClickHouse remembers.
async fn signed(client: &Client, log: &Log, keys: &Keys, report: &mut Report) -> Option<(u64, Checkpoint)> {
    let found = newest(log, keys).await;
    let remembered = match history::remembered(client, keys.origin()).await {
        Ok(remembered) => remembered,
        Err(error) => {
            report.add(error.into());
            Vec::new()
        }
    };
    let (number, checkpoint) = match found {
        Ok(Some(found)) => found,
        Ok(None) => {
            report.add(match remembered.is_empty() {
                false => Finding::log(
                    Class::Unchecked,
                    "the log holds no checkpoint, though ClickHouse remembers one",
                ),
                true => Finding::log(Class::Incomplete, "nothing was sealed"),
            });
            return None;
        }
        Err(error) => {
            report.add(error.into());
            return None;
        }
    };
    report.add_all(continues(log, &checkpoint.heads, &remembered, keys).await);
    Some((number, checkpoint))
}

/// Whether a log with these heads continues every checkpoint that ClickHouse remembers. A log that was begun anew over altered rows does
/// not, however well it is signed. Earlier rows whose key was not given are passed over: the newest must be readable.
pub(super) async fn continues(
    log: &Log,
    heads: &[Head],
    remembered: &[Remembered],
    keys: &Keys,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, row) in remembered.iter().enumerate() {
        match checkpoint::checkpoint(row.checkpoint.as_bytes(), row.heads.as_bytes(), keys) {
            Ok(kept) if row.leaves == leaves(&kept.heads) => {
                findings.extend(check::extends(log, heads, &kept.heads, "the table seals").await);
            }
            Ok(_) => findings.push(Finding::row("seals", String::new(), Uuid::nil(), "a row was altered")),
            Err(SealError::UnknownKey(_)) if place > 0 => {}
            Err(SealError::UnknownKey(_)) => {
                let text = "the newest row is signed by a key that was not given";
                findings.push(Finding { table: "seals".to_owned(), ..Finding::log(Class::Unchecked, text) });
            }
            Err(error) => findings.push(error.into()),
        }
    }
    findings
}

fn take(report: &mut Report, head: &Head, checked: Result<Checked, SealError>) -> Option<Checked> {
    match checked {
        Ok(mut checked) => {
            report.leaves += checked.leaves;
            report.add_all(std::mem::take(&mut checked.findings));
            report.add_all(std::mem::take(&mut checked.map));
            Some(checked)
        }
        Err(error) => {
            let finding = Finding::from(error);
            report.add(Finding { at: head.lane.to_string(), ..finding });
            None
        }
    }
}

async fn everything(
    client: &Client,
    log: &Log,
    checkpoint: &Checkpoint,
    request: &Request,
    report: &mut Report,
) -> Looked {
    let begun = Instant::now();
    let one = |head: &Head| {
        let (client, log, head) = (client.clone(), log.clone(), head.clone());
        cores::end(cores::begin(async move { check::lane(&client, &log, &head, 0, false).await }))
    };
    let lanes = stream::iter(&checkpoint.heads).map(one).buffered(LANES_MAX).collect::<Vec<_>>();
    let contracts = async {
        let mut all = Vec::new();
        for contract in Topic::ALL {
            all.push((contract, facts::all_wrong(client, contract).await));
        }
        (all, orphans(client, checkpoint, (request.now_ms, begun)).await)
    };
    let (lanes, (contracts, orphans)) = futures::join!(lanes, contracts);
    for (head, checked) in checkpoint.heads.iter().zip(lanes) {
        take(report, head, checked);
    }
    for head in checkpoint.heads.iter().filter(|head| facts::contract(&head.lane.topic).is_none()) {
        let text = "no contract for this topic: its facts cannot be checked";
        report.add(Finding::lane(Class::Unchecked, &head.lane, text));
    }
    for (contract, wrong) in contracts {
        match wrong {
            Ok((count, wrong)) => {
                report.facts += count;
                wrong.into_iter().for_each(|fact| altered(contract, fact, report));
            }
            Err(error) => report.add(error.into()),
        }
    }
    match orphans {
        Ok(orphans) => orphans.tell(report),
        Err(error) => report.add(error.into()),
    }
    checkpoint.heads.iter().map(|head| (head.lane.clone(), 0..head.next)).collect()
}

fn altered(contract: Topic, fact: Wrong, report: &mut Report) {
    let at = format!("{}/{}/{}", fact.topic, fact.partition, fact.offset);
    report.add(Finding::row(contract.table(), at, fact.event_id, fact.what));
}

/// Digests facts of a stretch again; the receipts that were checked must have theirs among them.
async fn content(
    client: &Client,
    contract: Topic,
    which: &Which,
    report: &mut Report,
    (head, checked): (&Head, &Checked),
) -> Result<(), SealError> {
    let (mut wrong, mut seen, mut count) = (Vec::new(), HashSet::new(), 0);
    let mut facts = Facts::open(client, contract, which)?;
    while let Some(batch) = facts.next().await? {
        count += batch.rows() as u64;
        wrong.extend(batch.wrong());
        seen.extend(batch.digests());
    }
    report.facts += count;
    wrong.into_iter().for_each(|fact| altered(contract, fact, report));
    for receipt in checked.accepted.iter().filter(|receipt| !seen.contains(&receipt.digest)) {
        let at = format!("{}/{}", head.lane, receipt.offset);
        let what = "has its receipt and no fact: it was deleted, or its key was altered";
        report.add(Finding::row(contract.table(), at, receipt.event_id, what));
    }
    Ok(())
}

/// The facts of what was checked of a partition.
async fn facts_of(client: &Client, head: &Head, checked: &Checked, report: &mut Report) {
    let Some(contract) = facts::contract(&head.lane.topic) else {
        let text = "no contract for this topic: its facts cannot be checked";
        return report.add(Finding::lane(Class::Unchecked, &head.lane, text));
    };
    let which = Which::Receipts { lane: head.lane.clone(), from: checked.from, next: checked.next };
    if let Err(error) = content(client, contract, &which, report, (head, checked)).await {
        report.add(error.into());
    }
}

async fn stretches(
    client: &Client,
    log: &Log,
    checkpoint: &Checkpoint,
    since: i64,
    report: &mut Report,
) -> Looked {
    let mut looked = Looked::new();
    for head in &checkpoint.heads {
        if head.appended_at_ms < since {
            continue; // the signed head says that nothing of it was appended since
        }
        let checked = async {
            let key = Key { offset: last_before(client, head, since).await?, kind: Kind::Record, next: 0 };
            let (tile, _) = log.of(head).tile_of(key).await?;
            Box::pin(check::lane(client, log, head, tile, true)).await
        };
        let checked = checked.await;
        if let Some(checked) = take(report, head, checked) {
            looked.push((head.lane.clone(), checked.from..head.next.min(checked.next)));
            facts_of(client, head, &checked, report).await;
        }
    }
    looked
}

/// The last offset before the first record since a time; 0 where there is none before it.
async fn last_before(client: &Client, head: &Head, since: i64) -> Result<i64, SealError> {
    let question = client.query(include_str!("../../sql/seal_since.sql"));
    let question = question.param("topic_id", head.lane.topic_id.to_string()).param("since", since);
    let answer = question
        .param("partition", head.lane.partition)
        .param("next", head.next)
        .fetch_one::<Option<i64>>()
        .await;
    let answer = answer.map_err(|source| SealError::Query(QueryError::new("offsets since", source)))?;
    Ok(answer.unwrap_or(0))
}

async fn samples(
    client: &Client,
    log: &Log,
    checkpoint: &Checkpoint,
    (count, seed): (u32, u64),
    report: &mut Report,
) -> Looked {
    let mut looked = Looked::new();
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let all = leaves(&checkpoint.heads);
    let mut done = HashSet::new();
    for _ in 0..count {
        let mut index = random.gen_range(0..all.max(1));
        let head = checkpoint.heads.iter().find(|head| {
            let here = index < head.size;
            index -= if here { 0 } else { head.size };
            here
        });
        let Some(head) = head else { return looked };
        if !done.insert((head.lane.clone(), index / 256)) {
            continue; // that tile was looked at
        }
        let checked = Box::pin(check::sample(client, log, head, index)).await;
        if let Some(checked) = take(report, head, checked) {
            looked.push((head.lane.clone(), checked.from..head.next.min(checked.next)));
            facts_of(client, head, &checked, report).await;
        }
    }
    looked
}

#[derive(Row, Deserialize)]
struct Beyond {
    rows: u64,
    first_record: Option<i64>,
    first_gap: Option<i64>,
    oldest_ms: Option<i64>,
}

/// What lies beyond the checkpoint, and whether it has waited too long or cannot be sealed.
async fn unsealed(
    client: &Client,
    checkpoint: &Checkpoint,
    request: &Request,
    report: &mut Report,
) -> Result<(), SealError> {
    let heads: HashMap<_, _> =
        checkpoint.heads.iter().map(|head| ((head.lane.topic_id, head.lane.partition), head.next)).collect();
    for lane in history::lanes(client).await? {
        let head = heads.get(&(lane.topic_id, lane.partition)).copied();
        if head.is_none() && !lane.is_of_kafka() {
            let text = "Kafka allows no topic of that name: its rows were inserted";
            report.add(Finding::lane(Class::Tampered, &lane, text));
        }
        let beyond = beyond(client, &lane, head.unwrap_or(0)).await?;
        report.unsealed += beyond.rows;
        if beyond.oldest_ms.is_some_and(|oldest| oldest < request.now_ms - request.max_age_ms) {
            let text = format!("{} rows wait for their seal longer than --max-age", beyond.rows);
            report.add(Finding::lane(Class::Incomplete, &lane, text));
        }
        let (Some(next), Some(record)) = (head, beyond.first_record) else { continue };
        if record > next && beyond.first_gap.is_none_or(|gap| gap > next) {
            let text = format!(
                "no row for offsets {next} to {}",
                record.min(beyond.first_gap.unwrap_or(record)) - 1
            );
            report.add(Finding::lane(Class::Incomplete, &lane, text));
        }
    }
    Ok(())
}

async fn beyond(client: &Client, lane: &Lane, next: i64) -> Result<Beyond, SealError> {
    let question = client.query(include_str!("../../sql/seal_unsealed.sql"));
    let question = question.param("topic_id", lane.topic_id.to_string()).param("partition", lane.partition);
    let answer = question.param("next", next).fetch_one().await;
    answer.map_err(|source| SealError::Query(QueryError::new("rows beyond the checkpoint", source)))
}
