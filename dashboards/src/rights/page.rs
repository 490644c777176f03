//! The table of pages: which role opens which, and whose rows its panels hold.

use super::route::Access;
use crate::identity::Role;

macro_rules! pages {
    ($($(#[doc = $doc:literal])* $name:ident = $path:literal [$($role:ident)*],)*) => {
        /// Every page for which one has to be signed in.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Page {
            $($(#[doc = $doc])* $name,)*
        }

        impl Page {
            /// All of them, in the order of the navigation.
            pub const ALL: &[Page] = &[$(Page::$name),*];

            /// Its path, parameters in braces.
            pub const fn path(self) -> &'static str {
                match self { $(Page::$name => $path),* }
            }

            const fn roles(self) -> &'static [Role] {
                match self { $(Page::$name => &[$(Role::$role),*]),* }
            }
        }
    };
}

pages! {
    /// How the platform does: money, tasks, queues, interfaces, the ledger.
    Overview = "/overview" [Admin],
    /// What a launch did, and how good estimates are.
    Product = "/product" [Admin],
    /// What the audit says, what it rests on, and who broke a rule.
    Compliance = "/compliance" [Moderator Admin],
    /// One result of a job with its offenders.
    Verdict = "/verdict/{result_id}" [Moderator Admin],
    /// Cases by risk and by the clock of their SLA.
    Moderation = "/moderation" [Moderator Admin],
    /// One case with everything that happened to it.
    Case = "/case/{case_id}" [Moderator Admin],
    /// What was refused, by reason.
    DeadLetters = "/dead" [Moderator Admin Service],
    /// One dead letter: its field, its bytes, its replay.
    DeadLetter = "/dead/{topic}/{partition}/{offset}" [Moderator Admin Service],
    /// Publishing one again.
    DeadLetterReplay = "/dead/{topic}/{partition}/{offset}/replay" [Admin],
    /// Grants, what is left of them, and what grantees run.
    Creator = "/creator" [Creator],
    /// My tasks, live.
    My = "/my" [Buyer],
    /// One task over all topics.
    Task = "/task/{task_id}" [Creator Buyer Moderator Admin],
}

impl Page {
    /// Whether the role opens it.
    pub fn is_of(self, role: Role) -> bool {
        self.roles().contains(&role)
    }

    /// Where the role begins: its first page without parameters.
    pub fn home(role: Role) -> Option<Page> {
        Page::ALL.iter().copied().find(|page| page.is_of(role) && !page.path().contains('{'))
    }
}

/// Which rows of a panel's answer a role gets, where the panel is theirs at all.
pub const fn panel_scope(role: Role) -> Access {
    match role {
        Role::Admin | Role::Service => Access::All,
        Role::Moderator => Access::All, // panels of moderators are about cases, which they see all
        Role::Creator => Access::OwnTemplates,
        Role::Buyer => Access::Own,
    }
}
