//! The table of rights over events: role × class × relation → what is seen.

use super::class::EventClass;
use crate::identity::Role;

/// How much of an event somebody sees.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Sight {
    /// All of it.
    Full,
    /// The fields of [`super::kept_fields`] only.
    Masked,
    /// Nothing, not even that it exists.
    Hidden,
}

/// The ids of an event that rights are about; absent ones are empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids<'a> {
    /// The buyer.
    pub user_id: &'a str,
    /// Who a licence is for; on licence events only.
    pub grantee_id: &'a str,
    /// Who owns the template.
    pub creator_id: &'a str,
    /// Under which licence a task runs.
    pub license_id: &'a str,
}

/// How somebody stands to an event.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Relation {
    /// The buyer's own: the event's user, or the one a licence is for.
    pub own: bool,
    /// It is about a template, or a licence to one, that the creator owns.
    pub own_template: bool,
    /// A grantee of the creator runs it: on the creator's template, under a licence.
    pub own_grantee: bool,
    /// It belongs to a case that the moderator has in work: reviews, and has not decided, escalated or closed.
    pub case_in_work: bool,
}

impl Relation {
    /// How `subject` stands to an event with these ids. Which cases a moderator has in work is not in the event.
    pub fn of(subject: &str, ids: Ids<'_>, case_in_work: bool) -> Relation {
        let is = |id: &str| !subject.is_empty() && id == subject;
        // a licence's event may name its grantee apart from its user: then it is the grantee's
        let owner = if ids.grantee_id.is_empty() { ids.user_id } else { ids.grantee_id };
        let own_template = is(ids.creator_id);
        let own_grantee = own_template && !ids.license_id.is_empty();
        Relation { own: is(owner), own_template, own_grantee, case_in_work }
    }

    /// Every combination.
    #[cfg(test)]
    pub(super) fn all() -> impl Iterator<Item = Relation> {
        (0..16).map(|bits| Relation {
            own: bits & 1 != 0,
            own_template: bits & 2 != 0,
            own_grantee: bits & 4 != 0,
            case_in_work: bits & 8 != 0,
        })
    }
}

/// How much of an event of that class the role sees, live or replayed.
pub const fn sight(role: Role, class: EventClass, relation: Relation) -> Sight {
    use EventClass as C;
    match (role, class) {
        (Role::Admin, _) => Sight::Full,
        (Role::Service, _) => Sight::Hidden,
        (Role::Creator, C::TaskState) => when(relation.own_grantee, Sight::Full),
        // who reported and who decided is nobody's business but the moderators'
        (Role::Creator, C::ModerationNotice | C::ModerationOutcome) => {
            when(relation.own_template, Sight::Masked)
        }
        (Role::Creator, C::Licence) => when(relation.own_template, Sight::Full),
        (Role::Creator, C::Supplement | C::Acceleration | C::Money | C::Call) => Sight::Hidden,
        (Role::Buyer, C::TaskState | C::Supplement | C::Acceleration | C::Licence | C::Money) => {
            when(relation.own, Sight::Full)
        }
        (Role::Buyer, C::ModerationOutcome) => when(relation.own, Sight::Masked),
        (Role::Buyer, C::ModerationNotice | C::Call) => Sight::Hidden,
        (Role::Moderator, C::ModerationNotice | C::ModerationOutcome) => Sight::Full,
        (Role::Moderator, C::TaskState) => when(relation.case_in_work, Sight::Masked),
        (Role::Moderator, C::Licence) => when(relation.case_in_work, Sight::Full),
        (Role::Moderator, C::Supplement) => Sight::Masked,
        (Role::Moderator, C::Acceleration | C::Money | C::Call) => Sight::Hidden,
    }
}

const fn when(related: bool, sight: Sight) -> Sight {
    if related { sight } else { Sight::Hidden }
}

/// Whether whoever sees the event in this role may answer it: accept, decline, decide.
pub const fn may_act(role: Role, class: EventClass) -> bool {
    use EventClass as C;
    matches!(
        (role, class),
        (Role::Buyer, C::Supplement | C::Acceleration)
            | (Role::Moderator, C::ModerationNotice | C::ModerationOutcome)
    )
}
