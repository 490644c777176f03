//! `RIGHTS.md`, made from the tables.

use super::class::EventClass;
use super::event::{Relation, Sight, may_act, sight};
use super::mask::kept_fields;
use super::page::{Page, panel_scope};
use super::route::{Access, Route, access};
use crate::identity::Role;
use crate::panel::panels;
use std::fmt::Write;

const HEAD: &str = "# Rights

Made from the tables in `dashboards/src/rights`; a test holds this file to them. To write it anew:
`TALLY_WRITE_RIGHTS=1 cargo test --workspace --lib rights`.

A token's subject is the `user_id` of a buyer's events, the `creator_id` of a creator's, and the `actor_id` of a moderator's
reviews. A case is in work for the moderator who started its review, until it is decided, escalated or closed.
";

/// The document, as it must stand in `dashboards/RIGHTS.md`.
pub fn document() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\n## Events, live or replayed\n\n| event |");
    row_of_roles(&mut text);
    for class in EventClass::ALL {
        let _ = write!(text, "| {} |", class.title()); // writing to a String cannot fail
        for role in Role::ALL {
            let _ = write!(text, " {} |", cell(role, class));
        }
        text.push('\n');
    }
    text.push_str("\nOf a masked event these fields are left, all others are absent:\n\n");
    for class in EventClass::ALL {
        let masked = Role::ALL.into_iter().any(|role| cell(role, class).contains("masked"));
        if masked {
            let _ = writeln!(text, "- {}: `{}`", class.title(), kept_fields(class).join("`, `"));
        }
    }
    text.push_str("\n## Routes\n\n| route |");
    row_of_roles(&mut text);
    for route in Route::ALL {
        let _ = write!(text, "| `{} {}` |", route.method(), route.path());
        for role in Role::ALL {
            let _ = write!(text, " {} |", access(role, *route).title());
        }
        text.push('\n');
    }
    text.push_str("\n## Pages\n\n| page |");
    row_of_roles(&mut text);
    for page in Page::ALL {
        let _ = write!(text, "| `{}` |", page.path());
        for role in Role::ALL {
            let _ = write!(text, " {} |", if page.is_of(role) { "yes" } else { Access::None.title() });
        }
        text.push('\n');
    }
    text.push_str("\n## Panels, by the page that they stand on\n\n| panel |");
    row_of_roles(&mut text);
    for panel in panels() {
        let _ = write!(text, "| {} / `{}` |", panel.page, panel.id);
        for role in Role::ALL {
            let access = if panel.roles.contains(&role) { panel_scope(role) } else { Access::None };
            let _ = write!(text, " {} |", access.title());
        }
        text.push('\n');
    }
    text.push_str(
        "\nA row that is not theirs is answered like one that does not exist: 404. A route that is not theirs: 403.\n\
         Wherever an answer holds events, each is held against the first table.\n",
    );
    text
}

fn row_of_roles(text: &mut String) {
    for role in Role::ALL {
        let _ = write!(text, " {role} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(Role::ALL.len()));
    text.push('\n');
}

/// What a role sees of a class, in words: the first relation that shows it, and how.
fn cell(role: Role, class: EventClass) -> String {
    let none = Relation::default();
    let relations = [
        (none, "all"),
        (Relation { own: true, ..none }, "own"),
        (Relation { own_template: true, ..none }, "of own templates"),
        (Relation { own_grantee: true, ..none }, "of own grantees"),
        (Relation { case_in_work: true, ..none }, "of cases in work"),
    ];
    let seen = relations.into_iter().find_map(|(relation, name)| match sight(role, class, relation) {
        Sight::Hidden => None,
        Sight::Full => Some(name.to_owned()),
        Sight::Masked => Some(format!("{name}, masked")),
    });
    match seen {
        None => Access::None.title().to_owned(),
        Some(seen) if may_act(role, class) => format!("{seen}, may act"),
        Some(seen) => seen,
    }
}
