//! The tables, held against FEED's once more, written down by hand.

use super::{Access, EventClass, Ids, Relation, Route, Sight, access, document, kept_fields, may_act, sight};
use crate::identity::Role;
use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use tally_schemas::{Kind, Topic, columns};

/// One row a class: what the cell of creator, buyer, moderator, admin, service says.
/// `F` full, `M` masked, `-` nothing; then to which relation it is bound: `o` own, `t` own template, `g` own grantee,
/// `w` case in work, `*` none; `!` may act.
const TABLE: [(EventClass, [&str; 5]); 8] = [
    (EventClass::TaskState, ["Fg", "Fo", "Mw", "F*", "-"]),
    (EventClass::Supplement, ["-", "Fo!", "M*", "F*", "-"]),
    (EventClass::Acceleration, ["-", "Fo!", "-", "F*", "-"]),
    (EventClass::ModerationNotice, ["Mt", "-", "F*!", "F*", "-"]),
    (EventClass::ModerationOutcome, ["Mt", "Mo", "F*!", "F*", "-"]),
    (EventClass::Licence, ["Ft", "Fo", "Fw", "F*", "-"]),
    (EventClass::Money, ["-", "Fo", "-", "F*", "-"]),
    (EventClass::Call, ["-", "-", "-", "F*", "-"]),
];

fn expected(cell: &str, relation: Relation) -> Sight {
    let mut letters = cell.chars();
    let sight = match letters.next() {
        Some('F') => Sight::Full,
        Some('M') => Sight::Masked,
        _ => return Sight::Hidden,
    };
    let related = match letters.next() {
        Some('o') => relation.own,
        Some('t') => relation.own_template,
        Some('g') => relation.own_grantee,
        Some('w') => relation.case_in_work,
        Some('*') => true,
        other => panic!("{other:?}"),
    };
    if related { sight } else { Sight::Hidden }
}

/// Scenario: every role, every class, every combination of relations.
/// Guarantees: what is seen and who may act is what the table above says.
#[test]
fn every_cell_says_what_the_contract_says() {
    assert_eq!(TABLE.map(|(class, _)| class), EventClass::ALL);
    for (class, cells) in TABLE {
        for (role, cell) in Role::ALL.into_iter().zip(cells) {
            assert_eq!(may_act(role, class), cell.ends_with('!'), "{role} {class:?}");
            for relation in Relation::all() {
                assert_eq!(
                    sight(role, class, relation),
                    expected(cell, relation),
                    "{role} {class:?} {relation:?}"
                );
            }
        }
    }
}

/// Scenario: every kind of every contract, and one that nobody knows.
/// Guarantees: each has the class that it has here; an unknown one has the class that only an admin sees.
#[test]
fn every_kind_of_event_has_its_class() {
    let class_of = |topic, kind: &str| match (topic, kind) {
        (Topic::Moderation, "DECIDED" | "CLOSED") => EventClass::ModerationOutcome,
        (Topic::Moderation, _) => EventClass::ModerationNotice,
        (_, kind) if kind.starts_with("SUPPLEMENT_") => EventClass::Supplement,
        (Topic::Task, kind) if kind.starts_with("ACCELERAT") => EventClass::Acceleration,
        (Topic::Task, _) => EventClass::TaskState,
        (Topic::Credit | Topic::License, "ATTEMPTED") | (Topic::License, "CHECKED") => EventClass::Call,
        (Topic::Credit, _) => EventClass::Money,
        (Topic::License, _) => EventClass::Licence,
    };
    for topic in Topic::ALL {
        let kinds = columns(topic).iter().find_map(|column| match &column.kind {
            Kind::Enum(symbols) if column.name == "kind" => Some(symbols.clone()),
            _ => None,
        });
        let kinds = kinds.expect("every contract has kinds");
        assert!(kinds.len() > 5, "{topic}");
        for kind in kinds {
            assert_eq!(EventClass::of(topic, &kind), class_of(topic, &kind), "{topic} {kind}");
        }
        let unknown = EventClass::of(topic, "TELEPORTED");
        let blind = [Role::Creator, Role::Buyer, Role::Moderator, Role::Service];
        for relation in Relation::all() {
            assert!(blind.iter().all(|role| sight(*role, unknown, relation) == Sight::Hidden), "{topic}");
        }
    }
}

/// Scenario: the fields that masks keep.
/// Guarantees: each is a field of a contract; none names a person, a wallet, a line of requests or an amount.
#[test]
fn masks_keep_nothing_that_names_somebody() {
    let known: BTreeSet<String> =
        Topic::ALL.into_iter().flat_map(|topic| columns(topic).iter().map(|c| c.name.clone())).collect();
    let personal =
        ["user", "wallet", "creator", "actor", "grantee", "trace", "order", "estimate", "idempotency"];
    let money = ["amount", "price", "balance", "quota", "currency"];
    for class in EventClass::ALL {
        for field in kept_fields(class) {
            assert!(known.contains(*field), "{field}");
            assert!(
                !personal.iter().chain(&money).any(|word| field.contains(word)),
                "{class:?} keeps {field}"
            );
        }
    }
}

/// Scenario: ids of an event and a subject, the empty one too.
/// Guarantees: absent ids are nobody's; a licence's event is its grantee's; a task without licence is no grantee's.
#[test]
fn relations_follow_the_ids() {
    let ids = Ids { user_id: "u", grantee_id: "", creator_id: "c", license_id: "l" };
    assert!(Relation::of("u", ids, false).own);
    assert!(!Relation::of("c", ids, false).own);
    let granted = Ids { grantee_id: "g", ..ids };
    assert!(Relation::of("g", granted, false).own && !Relation::of("u", granted, false).own);
    let creator = Relation::of("c", ids, false);
    assert!(creator.own_template && creator.own_grantee);
    let unlicensed = Relation::of("c", Ids { license_id: "", ..ids }, false);
    assert!(unlicensed.own_template && !unlicensed.own_grantee);
    assert_eq!(Relation::of("", Ids::default(), false), Relation::default());
    assert_eq!(Relation::of("m", ids, true), Relation { case_in_work: true, ..Relation::default() });
}

/// Scenario: every role at every route.
/// Guarantees: each gets what is written down here; whatever is not written down is nothing.
#[test]
fn every_route_is_for_those_it_is_for() {
    use Access as A;
    use Role::{Admin, Buyer, Creator, Moderator, Service};
    let expected = |role: Role, route: Route| {
        let Some(tail) = route.path().strip_prefix("/api/v1/") else {
            return match (role, route.path()) {
                (_, "/.well-known/jwks.json") => A::Open,
                (Service, _) => A::None,
                (Creator, "/feed/snapshot") => A::OwnGrantees,
                (Buyer, "/feed/snapshot") => A::Own,
                (Moderator, "/feed/snapshot") => A::InWork,
                (Admin, "/feed/snapshot") => A::All,
                (_, path) if path.starts_with("/feed/") => A::ByEvent,
                _ => A::None,
            };
        };
        let part = tail.split('/').next().unwrap_or_default();
        match (role, part, tail) {
            (_, "me" | "schemas" | "policy-tags", _) => A::All,
            (_, "panels", _) => A::ByPanel,
            (Admin, ..) => A::All,
            (Moderator, "tasks", tail) if tail.ends_with("/evidence") => A::All,
            (_, "tasks", tail) if tail.ends_with("/evidence") => A::None,
            (Creator, "tasks", _) => A::OwnGrantees,
            (Creator, "licenses" | "proofs", _) | (Creator, _, "figures/quotas") => A::OwnTemplates,
            (Creator, "moderation", _) => A::OwnTemplates,
            (Buyer, "tasks" | "wallets" | "licenses" | "moderation" | "proofs", _) => A::Own,
            (Moderator, "tasks" | "licenses", _) => A::InWork,
            (Moderator, "moderation" | "audit" | "deliveries" | "seals" | "live" | "proofs", _) => A::All,
            (Moderator, _, "figures/moderation") => A::All,
            // the bytes, in whatever form, and publishing them are the admin's
            (_, "dead-letters", tail)
                if ["raw", "decoded", "replay"].iter().any(|end| tail.ends_with(end)) =>
            {
                A::None
            }
            (Service, "dead-letters", tail) if tail.ends_with("replays") => A::None,
            (Moderator | Service, "dead-letters", _) => A::All,
            _ => A::None,
        }
    };
    for role in Role::ALL {
        for route in Route::ALL {
            assert_eq!(
                access(role, *route),
                expected(role, *route),
                "{role} {} {}",
                route.method(),
                route.path()
            );
        }
    }
    let places: HashSet<_> = Route::ALL.iter().map(|route| (route.method(), route.path())).collect();
    assert_eq!(places.len(), Route::ALL.len());
}

/// Scenario: the tables change and the document is forgotten.
/// Guarantees: `RIGHTS.md` is what the tables say.
#[test]
fn the_document_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("RIGHTS.md");
    if std::env::var_os("TALLY_WRITE_RIGHTS").is_some() {
        std::fs::write(&path, document()).expect("RIGHTS.md can be written");
    }
    let stands = std::fs::read_to_string(&path).expect("RIGHTS.md can be read");
    assert!(stands == document(), "RIGHTS.md is not what the tables say: see its head");
}
