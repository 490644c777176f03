//! Tasks, each with its version and queue, and the licences they run under. Pure state; the time is handed in.

use super::super::code::{Code, Problem};
use super::super::contract::{About, Audience, LicenseCheck, LicenseCheckRequest, Queue};
use super::super::platform::{
    Revocation, RevokeRequest, RunningTask, TaskStep, Transition, TransitionRequest,
};
use super::ledger::{Ledger, rfc3339};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A licence that is granted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewLicense {
    /// The licence.
    pub license_id: String,
    /// To whom it is granted.
    pub user_id: String,
    /// The template it is granted for; without it, every one.
    #[serde(default)]
    pub template_id: Option<String>,
    /// Compute quota, micros; not negative. Charges and supplements under the licence use it up, refunds give it back.
    pub quota_micros: i64,
    /// Until when it stands, RFC 3339.
    pub expires_at: String,
}

/// A licence as it stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct License {
    /// What was granted.
    #[serde(flatten)]
    pub granted: NewLicense,
    /// Quota that is used up, micros.
    pub used_micros: i64,
    /// Whether it was revoked.
    pub revoked: bool,
    #[serde(skip)]
    expires_us: i64,
}

/// A task as it stands.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Task {
    /// The step it took last.
    pub step: TaskStep,
    /// How many steps it took.
    pub state_version: i64,
    /// The queue it is in.
    pub queue: Queue,
    /// The wallet that pays for it.
    pub wallet_id: String,
    /// The licence it runs under.
    pub license_id: Option<String>,
    /// Whether it stands still.
    pub paused: bool,
    /// Whether the buyer is asked for a supplement.
    pub asks_supplement: bool,
    #[serde(skip)]
    accepted: Queue,
    #[serde(skip)]
    user_id: Option<String>,
    #[serde(skip)]
    audience: Audience,
    #[serde(skip)]
    policy_tag: String,
}

/// Tasks and licences.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    tasks: BTreeMap<String, Task>,
    licenses: BTreeMap<String, License>,
}

impl Task {
    fn new(ask: &TransitionRequest) -> Task {
        let queue = ask.queue.unwrap_or_default();
        Task {
            step: TaskStep::Submitted,
            state_version: 0,
            queue,
            wallet_id: ask.about.wallet_id.clone(),
            license_id: ask.about.license_id.clone(),
            paused: false,
            asks_supplement: false,
            accepted: queue,
            user_id: ask.about.user_id.clone(),
            audience: ask.about.audience,
            policy_tag: ask.about.policy_tag.clone(),
        }
    }

    fn has_ended(&self) -> bool {
        matches!(
            self.step,
            TaskStep::Succeeded | TaskStep::Failed | TaskStep::Cancelled | TaskStep::RolledBack
        )
    }

    /// Why a task that is there cannot take the step.
    fn refuses(&self, step: TaskStep) -> Option<&'static str> {
        match step {
            _ if self.has_ended() => Some("the task has ended"),
            TaskStep::Submitted if self.state_version > 0 => Some("the task is submitted already"),
            TaskStep::Resumed if !self.paused => Some("the task is not paused"),
            TaskStep::SupplementSettled if !self.asks_supplement => Some("no supplement is asked for"),
            TaskStep::Accelerated if self.queue == Queue::Accelerated => {
                Some("the task is accelerated already")
            }
            _ => None,
        }
    }

    fn take(&mut self, step: TaskStep) {
        self.step = step;
        self.state_version += 1;
        match step {
            TaskStep::Paused => self.paused = true,
            TaskStep::Resumed => self.paused = false,
            TaskStep::SupplementRequired => self.asks_supplement = true,
            TaskStep::SupplementSettled => self.asks_supplement = false,
            TaskStep::Accelerated => self.queue = Queue::Accelerated,
            _ => {}
        }
    }
}

impl Tasks {
    /// Grants a licence, or grants one anew: it is not revoked then, and what is used of its quota stays used.
    ///
    /// # Errors
    /// `invalid_request` where the time is none or the quota is negative.
    pub(super) fn license(&mut self, granted: NewLicense) -> Result<(), Problem> {
        let expires = DateTime::parse_from_rfc3339(&granted.expires_at);
        let expires = expires.map_err(|_| Problem::because(Code::InvalidRequest, "expires_at is no time"))?;
        if granted.quota_micros < 0 {
            return Err(Problem::because(Code::InvalidRequest, "quota_micros must not be negative"));
        }
        let used_micros = self.licenses.get(&granted.license_id).map_or(0, |license| license.used_micros);
        let expires_us = expires.timestamp_micros();
        let id = granted.license_id.clone();
        self.licenses.insert(id, License { granted, used_micros, revoked: false, expires_us });
        Ok(())
    }

    /// Uses up so much of a licence's quota, or gives it back. A charge names a licence for this alone: whether it may run is
    /// asked by a check.
    pub(super) fn use_quota(&mut self, license: Option<&str>, micros: i64) {
        if let Some(license) = license.and_then(|id| self.licenses.get_mut(id)) {
            license.used_micros = (license.used_micros + micros).max(0);
        }
    }

    /// May this user run this template? Uses nothing up.
    ///
    /// # Errors
    /// `license_unknown`, `license_denied`, `license_revoked`, `license_expired`, `license_quota_exhausted`; the first of them.
    pub(super) fn check(&self, ask: &LicenseCheckRequest, now_us: i64) -> Result<LicenseCheck, Problem> {
        let about = &ask.about;
        let id = about.license_id.clone().unwrap_or_default();
        let license = self.licenses.get(&id).ok_or_else(|| Problem::new(Code::LicenseUnknown))?;
        let granted = &license.granted;
        let remaining = (granted.quota_micros - license.used_micros).max(0);
        let other_template = granted.template_id.is_some() && granted.template_id != about.template_id;
        let refused = match () {
            () if about.user_id.as_ref() != Some(&granted.user_id) || other_template => Code::LicenseDenied,
            () if license.revoked => Code::LicenseRevoked,
            () if license.expires_us <= now_us => Code::LicenseExpired,
            () if remaining < ask.needed_micros => Code::LicenseQuotaExhausted,
            () => {
                let expires_at = rfc3339(license.expires_us);
                return Ok(LicenseCheck { license_id: id, quota_remaining_micros: remaining, expires_at });
            }
        };
        Err(Problem::new(refused))
    }

    /// Every task.
    pub(super) fn tasks(&self) -> &BTreeMap<String, Task> {
        &self.tasks
    }

    /// Every licence.
    pub(super) fn licenses(&self) -> &BTreeMap<String, License> {
        &self.licenses
    }
}

impl Ledger {
    /// Takes one step with a task: `SUBMITTED` makes it, at version 1, and nothing follows its end.
    ///
    /// # Errors
    /// `invalid_request` without a task, `wallet_unknown`, `not_found` where that wallet has no such task, `flow_conflict`
    /// where it cannot take the step.
    pub(super) fn transition(&mut self, ask: &TransitionRequest) -> Result<Transition, Problem> {
        let task_id = required("about.task_id", ask.about.task_id.as_ref())?;
        self.wallet(&ask.about.wallet_id)?;
        let tasks = &mut self.tasks.tasks;
        let task = match (tasks.get_mut(&task_id), ask.step) {
            (Some(task), _) => task,
            (None, TaskStep::Submitted) => tasks.entry(task_id.clone()).or_insert_with(|| Task::new(ask)),
            (None, _) => return Err(Problem::because(Code::NotFound, "no such task of that wallet")),
        };
        if task.wallet_id != ask.about.wallet_id {
            return Err(Problem::because(Code::NotFound, "no such task of that wallet"));
        }
        if let Some(why) = task.refuses(ask.step) {
            return Err(Problem::because(Code::FlowConflict, why));
        }
        task.take(ask.step);
        Ok(Transition { task_id, step: ask.step, state_version: task.state_version, queue: task.queue })
    }

    /// Revokes a licence; the tasks under it that have not ended are told with what was paid for them. One that is revoked already
    /// stays so, and its tasks are told again.
    ///
    /// # Errors
    /// `invalid_request` without a licence or a case, `license_unknown`.
    pub(super) fn revoke(&mut self, ask: &RevokeRequest) -> Result<Revocation, Problem> {
        let license_id = required("about.license_id", ask.about.license_id.as_ref())?;
        required("about.case_id", ask.about.case_id.as_ref())?;
        let license = self.tasks.licenses.get_mut(&license_id);
        let license = license.ok_or_else(|| Problem::new(Code::LicenseUnknown))?;
        license.revoked = true;
        let holder = license.granted.user_id.clone();
        let under = |task: &Task| task.license_id.as_ref() == Some(&license_id) && !task.has_ended();
        let running = self.tasks.tasks.iter().filter(|(_, task)| under(task));
        let tasks = running.map(|(task_id, task)| {
            let wallet = self.wallets().get(&task.wallet_id);
            let account = wallet.map(|wallet| wallet.account(Some(task_id))).unwrap_or_default();
            RunningTask {
                task_id: task_id.clone(),
                wallet_id: task.wallet_id.clone(),
                user_id: task.user_id.clone().unwrap_or_else(|| holder.clone()),
                audience: task.audience,
                policy_tag: task.policy_tag.clone(),
                queue: task.accepted,
                held_micros: account.held,
                charged_micros: account.charged,
            }
        });
        let tasks = tasks.collect();
        Ok(Revocation { license_id, tasks })
    }
}

/// What the contract requires of the two calls beyond what [`About::check`] holds.
fn required(path: &str, value: Option<&String>) -> Result<String, Problem> {
    value.cloned().ok_or_else(|| Problem::because(Code::InvalidRequest, format!("{path} is required here")))
}

/// Holds what a transition names against its bounds.
///
/// # Errors
/// `invalid_request`.
pub(super) fn read_transition(ask: &TransitionRequest) -> Result<(), Problem> {
    checked(&ask.about)?;
    required("about.task_id", ask.about.task_id.as_ref()).map(drop)
}

/// Holds what a revocation names against its bounds.
///
/// # Errors
/// `invalid_request`.
pub(super) fn read_revoke(ask: &RevokeRequest) -> Result<(), Problem> {
    checked(&ask.about)?;
    // The moderator's id has the bounds of every id: those that a user's has.
    let moderator = About { user_id: Some(ask.moderator_id.clone()), ..ask.about.clone() };
    checked(&moderator).map_err(|_| Problem::because(Code::InvalidRequest, "moderator_id is no id"))?;
    required("about.license_id", ask.about.license_id.as_ref())?;
    required("about.case_id", ask.about.case_id.as_ref()).map(drop)
}

fn checked(about: &About) -> Result<(), Problem> {
    about.check().map_err(|wrong| Problem::because(wrong.code, wrong.detail))
}
