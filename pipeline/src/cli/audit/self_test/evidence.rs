//! From plan and places to what must be found, and from audits to what was found.

use super::compare::{Expected, Finding, Injected};
use super::plan::{Injection, Plan, Sign};
use super::scratch::Scratch;
use super::tamper::Place;
use anyhow::Context;
use std::collections::HashMap;
use tally_queries::audit::result::{JobResult, Verdict, Window};
use tally_queries::audit::{Auditor, JobName, Limits, Settings, Source};
use tally_queries::catalog::Snapshot;
use tally_queries::seal::Report;
use tally_schemas::Topic;
use uuid::Uuid;

/// The jobs whose offenders are compared.
pub(super) const JOBS: [JobName; 3] = [JobName::Offsets, JobName::Completeness, JobName::Balances];

/// Where records lie: which topic that is in Kafka, and its identity.
pub(super) struct Atlas<'a> {
    pub(super) plan: &'a Plan,
    pub(super) places: &'a HashMap<usize, Place>,
    pub(super) identities: &'a HashMap<Topic, Uuid>,
    pub(super) prefix: &'a str,
}

impl Atlas<'_> {
    /// Identity, partition and offset of a record.
    pub(super) fn at(&self, record: usize) -> anyhow::Result<(Uuid, Place)> {
        let identity = self.identities.get(&self.plan.records[record].topic).context("an unknown topic")?;
        Ok((*identity, *self.places.get(&record).context("a record that was not published")?))
    }

    fn lane(&self, record: usize) -> anyhow::Result<(String, i64)> {
        let (_, (partition, offset)) = self.at(record)?;
        Ok((format!("{}{}/{partition}", self.prefix, self.plan.records[record].topic), offset))
    }

    /// What must be found of an injection.
    pub(super) fn expected(&self, injection: &Injection) -> anyhow::Result<Injected> {
        let expected = injection.signs.iter().map(|sign| self.sign(sign)).collect::<anyhow::Result<_>>()?;
        let Injection { class, what, subject, .. } = injection;
        Ok(Injected { class: *class, what, subject: subject.clone(), expected })
    }

    fn sign(&self, sign: &Sign) -> anyhow::Result<Expected> {
        let one = |job, why: &str, id: String| Expected { job, why: why.to_owned(), ids: vec![id] };
        Ok(match sign {
            Sign::At(why, records) => {
                let id = |record: &usize| {
                    let (topic_id, (partition, offset)) = self.at(*record)?;
                    anyhow::Ok(format!("{topic_id}/{partition}/{offset}"))
                };
                let ids = records.iter().map(id).collect::<anyhow::Result<_>>()?;
                Expected { job: "offsets", why: (*why).to_owned(), ids }
            }
            Sign::Hole(record) => {
                let (topic_id, (partition, offset)) = self.at(*record)?;
                one("offsets", "holes", format!("{topic_id}/{partition}/{offset}-{}", offset + 1))
            }
            Sign::Task(why, task) => one("completeness", why, task.clone()),
            Sign::Wallet(wallet) => one("balances", "differing", wallet.clone()),
            Sign::Row(table, record, what) => {
                let (lane, offset) = self.lane(*record)?;
                one("verify", what, format!("{table} {lane}/{offset}"))
            }
            Sign::SealedHole(record) => {
                let (lane, offset) = self.lane(*record)?;
                let what = format!("1 sealed rows were deleted from offset {offset} to offset {offset}");
                one("verify", &what, format!("audit_log, dead_letters, gaps {lane}"))
            }
        })
    }
}

/// An audit of a scratch database: results of jobs, and every offender.
pub(super) struct Audit {
    auditor: Auditor,
    pub(super) window: Window,
    pub(super) results: Vec<JobResult>,
    pub(super) findings: Vec<Finding>,
}

impl Audit {
    /// Runs jobs over what is stored now, over this window or over everything.
    pub(super) async fn of(
        scratch: &Scratch,
        jobs: &[JobName],
        window: Option<Window>,
    ) -> anyhow::Result<Audit> {
        let client = scratch.opened.store.client().clone();
        let snapshot = Snapshot::take(&client, Vec::new()).await?;
        let task_topic = scratch.sections.kafka.topic(Topic::Task);
        let settings = Settings { task_topic, ..Settings::default() };
        let auditor = Auditor::new(Source::ClickHouse(client), snapshot, settings, &Limits::default())?;
        let bounds = window.map(|window| (window.from_us, window.to_us)).unzip();
        let window = auditor.window(bounds.0, bounds.1);
        let mut audit = Audit { auditor, window, results: Vec::new(), findings: Vec::new() };
        for job in jobs {
            let result = audit.auditor.run(*job, window).await;
            // a job that cannot say, or whose second opinion differs, is an alarm of its own
            if result.verdict == Verdict::Error {
                let differ = result.cross_check.differences.iter();
                let differ: Vec<String> =
                    differ.map(|d| format!("{} {} against {}", d.figure, d.before, d.after)).collect();
                let id = format!("{} {}", result.sentence, differ.join(", "));
                audit.findings.push(Finding { job: job.name(), why: "ERROR".to_owned(), id });
            }
            audit.results.push(result);
            if JOBS.contains(job) {
                let offenders = audit.auditor.offenders(*job, window).await?;
                let finding = |one: tally_queries::audit::result::Offender| Finding {
                    job: job.name(),
                    why: one.why,
                    id: one.id,
                };
                // a bucket sums up what is named event by event; in a clean world one that differs is no PASS
                let named = offenders.into_iter().filter(|one| one.why != "buckets_differing");
                audit.findings.extend(named.map(finding));
            }
        }
        Ok(audit)
    }

    /// A counter of a job, summed over its groups.
    pub(super) fn counter(&self, job: &str, name: &str) -> i64 {
        let results = self.results.iter().filter(|result| result.job == job);
        let counters = results.flat_map(|result| &result.counters);
        counters.filter(|(key, _)| key.rsplit('/').next() == Some(name)).map(|(_, value)| *value).sum()
    }
}

/// What `verify` found, as findings. More than it lists cannot be compared.
pub(super) fn verified(report: &Report) -> anyhow::Result<Vec<Finding>> {
    anyhow::ensure!(report.more == 0, "verify found more than it lists: {} findings more", report.more);
    let finding = |found: &tally_queries::seal::Finding| Finding {
        job: "verify",
        why: found.what.clone(),
        id: format!("{} {}", found.table, found.at),
    };
    Ok(report.findings.iter().map(finding).collect())
}
