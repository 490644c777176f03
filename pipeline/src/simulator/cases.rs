//! Moderation: a case from the report to its closing, against the SLA of its policy tag.

use super::event::{Event, Field, Value};
use super::life::Life;
use super::world::{LICENCES_PER_WALLET, SECOND};
use super::{Action, Simulator};
use std::sync::Arc;
use tally_schemas::{PolicyTag, Topic, policy_tags};

const RISKS: [&str; 4] = ["LOW", "MEDIUM", "HIGH", "CRITICAL"];
const MODERATORS: [&str; 4] = ["m-chen", "m-okafor", "m-ruiz", "m-tanaka"];

#[derive(Clone, Copy, Debug)]
enum Stage {
    Report,
    Queue,
    Review,
    Decide,
    Revoke,
    Appeal,
    Escalate,
    DecideAgain,
    Close,
}

/// What a case is about: a task, or a wallet with what it runs.
#[derive(Debug)]
struct Subject {
    task: Option<Arc<str>>,
    wallet: usize,
    template: usize,
    place: usize,
    licence: Option<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct Case {
    id: Arc<str>,
    tag: &'static PolicyTag,
    subject: Subject,
    risk: usize,
    reported_at: i64,
    moderator: &'static str,
    stage: Stage,
}

impl Case {
    fn due_at(&self) -> i64 {
        self.reported_at + self.sla()
    }

    fn sla(&self) -> i64 {
        i64::from(self.tag.review_sla_minutes) * 60 * SECOND
    }
}

impl Simulator {
    /// Somebody reports a running task; the case has the tag of the task.
    pub(super) fn report_task(&mut self, life: &Life) {
        let subject = Subject {
            task: life.task.clone(),
            wallet: life.wallet,
            template: life.template,
            place: life.place,
            licence: life.licence.clone(),
        };
        let tag = self.world.templates[life.template].tag;
        self.open(subject, tag);
    }

    /// A complaint about a user, of any tag and no task.
    pub(super) fn report_wallet(&mut self, wallet: usize) {
        let tags = policy_tags();
        let tag = &tags[self.any(tags.len())];
        let places = LICENCES_PER_WALLET as usize;
        let place = wallet * places + self.any(places);
        let licence = self.world.licences[place].as_ref();
        let (template, licence) = licence.map_or((0, None), |l| (l.template, Some(Arc::clone(&l.id))));
        self.open(Subject { task: None, wallet, template, place, licence }, tag);
    }

    fn open(&mut self, subject: Subject, tag: &'static PolicyTag) {
        let risk = RISKS.iter().position(|risk| *risk == tag.default_risk).unwrap_or(0);
        let moderator = self.rng.pick(MODERATORS);
        let id = self.id("k-");
        let case = Case { id, tag, subject, risk, reported_at: 0, moderator, stage: Stage::Report };
        let place = self.cases.add(case);
        let delay = self.pace(5 * SECOND, 120 * SECOND);
        self.at(delay, Action::Handle(place));
    }

    /// Takes the next step of the case at `place`.
    pub(super) fn handle(&mut self, place: usize) {
        let Some(mut case) = self.cases.take(place) else { return };
        match self.step_case(&mut case) {
            Some((stage, delay)) => {
                case.stage = stage;
                self.cases.put_back(place, case);
                self.at(delay, Action::Handle(place));
            }
            None => self.cases.release(place),
        }
    }

    fn step_case(&mut self, case: &mut Case) -> Option<(Stage, i64)> {
        match case.stage {
            Stage::Report => {
                // The time that `accept` is about to give.
                case.reported_at = self.now + 1;
                let event = self.case_event(case, "REPORTED");
                self.accept(event);
                Some((Stage::Queue, self.pace(SECOND, 30 * SECOND)))
            }
            Stage::Queue => {
                let mut event = self.case_event(case, "QUEUED");
                event.set(Field::SlaDueAt, case.due_at());
                self.accept(event);
                Some((Stage::Review, self.share(case, 1, 20)))
            }
            Stage::Review => {
                let event = self.case_event(case, "REVIEW_STARTED");
                self.accept(event);
                let late = self.rng.chance(60);
                let delay = if late { self.share(case, 101, 140) } else { self.share(case, 2, 40) };
                Some((Stage::Decide, delay))
            }
            Stage::Decide => Some(self.decide(case)),
            Stage::Revoke => {
                let own = self.world.licences[case.subject.place].as_ref().map(|l| &l.id);
                if case.subject.licence.is_some() && own == case.subject.licence.as_ref() {
                    self.revoke(case.subject.place, case.moderator);
                }
                Some((Stage::Close, self.share(case, 1, 10)))
            }
            Stage::Appeal => {
                let event = self.case_event(case, "APPEALED");
                self.accept(event);
                Some((Stage::Escalate, self.share(case, 1, 10)))
            }
            Stage::Escalate => {
                case.risk = (case.risk + 1).min(RISKS.len() - 1);
                let event = self.case_event(case, "ESCALATED");
                self.accept(event);
                Some((Stage::DecideAgain, self.share(case, 2, 20)))
            }
            Stage::DecideAgain => {
                let mut event = self.case_event(case, "DECIDED");
                event.set(Field::Decision, self.rng.pick(["APPROVED", "RESTRICTED", "REMOVED"]));
                self.accept(event);
                Some((Stage::Close, self.share(case, 1, 10)))
            }
            Stage::Close => {
                let event = self.case_event(case, "CLOSED");
                self.accept(event);
                None
            }
        }
    }

    /// The first decision, the one that the SLA is about.
    fn decide(&mut self, case: &Case) -> (Stage, i64) {
        let decision =
            self.rng.pick(["APPROVED", "DISMISSED", "DISMISSED", "RESTRICTED", "REMOVED", "LICENSE_REVOKED"]);
        let mut event = self.case_event(case, "DECIDED");
        event.set(Field::Decision, decision);
        self.accept(event);
        self.tally.decided(&case.tag.symbol, self.now < case.due_at());
        let stage = match decision {
            "LICENSE_REVOKED" => Stage::Revoke,
            "REMOVED" | "RESTRICTED" if self.rng.chance(400) => Stage::Appeal,
            _ => Stage::Close,
        };
        (stage, self.share(case, 1, 10))
    }

    /// A time between two, at the moderators' pace.
    fn pace(&mut self, low: i64, high: i64) -> i64 {
        self.rng.between(low, high) * i64::from(self.config.case_permille) / 1000
    }

    /// A share of the case's SLA, drawn between two percentages, at the moderators' pace.
    fn share(&mut self, case: &Case, low_percent: i64, high_percent: i64) -> i64 {
        let percent_millis = self.rng.between(low_percent * 1000, high_percent * 1000);
        case.sla() / 100_000 * percent_millis / 1000 * i64::from(self.config.case_permille)
    }

    fn case_event(&self, case: &Case, kind: &'static str) -> Event {
        let wallet = &self.world.wallets[case.subject.wallet];
        let mut event = Event::new(Topic::Moderation, kind);
        event
            .set(Field::Source, "moderation")
            .set(Field::PolicyTag, case.tag.symbol.as_str())
            .set(Field::TaskId, case.subject.task.as_ref())
            .set(Field::WalletId, &wallet.id)
            .set(Field::UserId, &wallet.user)
            .set(Field::CaseId, &case.id)
            .set(Field::RiskLevel, RISKS[case.risk]);
        if let Some(licence) = &case.subject.licence {
            let template = &self.world.templates[case.subject.template];
            event
                .set(Field::LicenseId, licence)
                .set(Field::CreatorId, &template.creator)
                .set(Field::TemplateId, &template.id);
        }
        let (actor, role): (Value, _) = match kind {
            "REPORTED" => ((&self.world.templates[case.subject.template].creator).into(), "CREATOR"),
            "APPEALED" => ((&wallet.user).into(), "BUYER"),
            "QUEUED" | "ESCALATED" => ("svc-moderation".into(), "SERVICE"),
            _ => (case.moderator.into(), "MODERATOR"),
        };
        event.set(Field::ActorId, actor).set(Field::ActorRole, role);
        event
    }
}
