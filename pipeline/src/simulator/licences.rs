//! Licences: granted, checked, used up, raised, revoked, expired.

use super::calls::{self, Reply};
use super::event::{Event, Field};
use super::life::{Fate, Life, Next, Stage, by_service};
use super::world::{CREDIT, Licence, SECOND, Standing};
use super::{Action, Simulator};
use std::sync::Arc;
use tally_schemas::Topic;

const HOUR: i64 = 3_600 * SECOND;

impl Simulator {
    /// The creator grants a licence to the visitor, unless another visit of theirs got one meanwhile.
    pub(super) fn grant(&mut self, life: &mut Life) -> Next {
        let delay = self.rng.between(SECOND, 5 * SECOND);
        if let Some(found) = self.world.licences[life.place].as_ref()
            && found.standing == Standing::Active
        {
            (life.template, life.licence) = (found.template, Some(Arc::clone(&found.id)));
            return Life::then(Stage::Estimate, delay);
        }
        let hours = if self.rng.chance(300) { self.rng.between(1, 8) } else { self.rng.between(168, 1_440) };
        let licence = Licence {
            id: self.id("l-"),
            template: life.template,
            standing: Standing::Active,
            quota: self.rng.between(20, 200) * CREDIT,
            expires_at: self.now + hours * HOUR,
        };
        life.licence = Some(Arc::clone(&licence.id));
        let mut event = self.by_creator(life, "GRANTED");
        event
            .set(Field::GranteeId, &self.world.wallets[life.wallet].user)
            .set(Field::Quota, licence.quota)
            .set(Field::ExpiresAt, licence.expires_at);
        self.at(hours * HOUR, Action::Expire { place: life.place, at: licence.expires_at });
        self.world.licences[life.place] = Some(licence);
        self.accept(event);
        Life::then(Stage::Estimate, delay)
    }

    /// Is the visitor allowed to? Before a task exists.
    pub(super) fn check(&mut self, life: &mut Life) -> Next {
        match self.call(life, calls::CHECK) {
            Reply::Again(delay) => Life::then(Stage::Check, delay),
            Reply::GivenUp => None,
            Reply::Answered(answer) => match self.checked(life, &answer) {
                "ALLOWED" => Life::then(Stage::Submit, self.rng.between(SECOND, 10 * SECOND)),
                "QUOTA_EXHAUSTED" if self.rng.chance(700) => {
                    Life::then(Stage::RaiseQuota, self.rng.between(30 * SECOND, 900 * SECOND))
                }
                _ => None,
            },
        }
    }

    /// Is it still allowed when the task is about to start?
    pub(super) fn check_again(&mut self, life: &mut Life) -> Next {
        match self.call(life, calls::CHECK) {
            Reply::Again(delay) => return Life::then(Stage::CheckAgain, delay),
            Reply::GivenUp => life.fate = Fate::Fail("license_check_unavailable"),
            Reply::Answered(answer) => match self.checked(life, &answer) {
                "ALLOWED" => return Life::then(Stage::Start, self.span(1, 3)),
                _ => life.fate = Fate::Fail("license_denied"),
            },
        }
        Life::then(Stage::End, SECOND)
    }

    /// Publishes the result of a check, and returns it.
    fn checked(&mut self, life: &Life, answer: &calls::Answer) -> &'static str {
        let result = self.standing(life);
        let mut event = self.event(life, Topic::License, "CHECKED");
        event.set(Field::CheckResult, result);
        if let Some(licence) = self.own(life) {
            event.set(Field::Quota, licence.quota).set(Field::ExpiresAt, licence.expires_at);
        }
        match result {
            "ALLOWED" => answer.ok(&mut event),
            "EXPIRED" => answer.rejected(&mut event, 403, "license_expired"),
            "QUOTA_EXHAUSTED" => answer.rejected(&mut event, 403, "license_quota_exhausted"),
            _ => answer.rejected(&mut event, 403, "license_denied"),
        }
        self.accept(event);
        result
    }

    fn standing(&mut self, life: &Life) -> &'static str {
        let denied = self.rng.chance(8);
        match self.own(life) {
            Some(l) if l.standing == Standing::Expired || l.expires_at <= self.now => "EXPIRED",
            Some(l) if l.standing == Standing::Revoked || denied => "DENIED",
            Some(l) if l.quota < life.account.estimate => "QUOTA_EXHAUSTED",
            Some(_) => "ALLOWED",
            None => "DENIED",
        }
    }

    /// The creator raises an exhausted quota.
    pub(super) fn raise_quota(&mut self, life: &mut Life) -> Next {
        let more = self.rng.between(50, 200) * CREDIT;
        if self.change_quota(life, more) {
            return Life::then(Stage::Check, self.rng.between(SECOND, 60 * SECOND));
        }
        None
    }

    /// What a settled task cost is taken from the quota of its licence.
    pub(super) fn use_quota(&mut self, life: &mut Life) -> Next {
        self.change_quota(life, -life.account.settled());
        let goodwill = self.rng.chance(12);
        if goodwill { Life::then(Stage::Goodwill, self.span(600, 36_000)) } else { None }
    }

    /// Publishes a change of the quota of an active licence; `false` where there is none any more.
    fn change_quota(&mut self, life: &Life, by: i64) -> bool {
        let Some(licence) = self.world.licences[life.place].as_mut() else { return false };
        if licence.standing != Standing::Active || Some(&licence.id) != life.licence.as_ref() {
            return false;
        }
        licence.quota = (licence.quota + by).max(0);
        let quota = licence.quota;
        let mut event = self.by_creator(life, "QUOTA_CHANGED");
        if by < 0 {
            by_service(&mut event, "svc-licensing");
        }
        event.set(Field::Quota, quota);
        self.accept(event);
        true
    }

    /// A licence comes to its end, unless it was revoked or another took its place.
    pub(super) fn expire(&mut self, place: usize, at: i64) {
        let found = self.world.licences[place].as_mut();
        let Some(licence) = found.filter(|l| l.expires_at == at && l.standing == Standing::Active) else {
            return;
        };
        licence.standing = Standing::Expired;
        let mut event = self.licence_event(place, "EXPIRED");
        event.set(Field::ExpiresAt, at);
        by_service(&mut event, "svc-licensing");
        self.accept(event);
    }

    /// A licence is revoked by decision of a moderator; `false` where it is not active any more.
    pub(super) fn revoke(&mut self, place: usize, moderator: &'static str) -> bool {
        let found = self.world.licences[place].as_mut();
        let Some(licence) = found.filter(|l| l.standing == Standing::Active) else { return false };
        licence.standing = Standing::Revoked;
        let mut event = self.licence_event(place, "REVOKED");
        event.set(Field::ActorId, moderator).set(Field::ActorRole, "MODERATOR");
        self.accept(event);
        true
    }

    fn own(&self, life: &Life) -> Option<&Licence> {
        self.world.licences[life.place].as_ref().filter(|l| Some(&l.id) == life.licence.as_ref())
    }

    fn by_creator(&self, life: &Life, kind: &'static str) -> Event {
        let mut event = self.event(life, Topic::License, kind);
        let creator = &self.world.templates[life.template].creator;
        event.set(Field::ActorId, creator).set(Field::ActorRole, "CREATOR");
        event
    }

    /// An event about the licence at `place`, outside any life.
    fn licence_event(&self, place: usize, kind: &'static str) -> Event {
        let mut event = Event::new(Topic::License, kind);
        event.set(Field::Source, "licensing");
        if let Some(licence) = &self.world.licences[place] {
            let template = &self.world.templates[licence.template];
            let wallet = &self.world.wallets[place / super::world::LICENCES_PER_WALLET as usize];
            event
                .set(Field::PolicyTag, template.tag.symbol.as_str())
                .set(Field::WalletId, &wallet.id)
                .set(Field::UserId, &wallet.user)
                .set(Field::CreatorId, &template.creator)
                .set(Field::LicenseId, &licence.id)
                .set(Field::TemplateId, &template.id);
        }
        event
    }
}
