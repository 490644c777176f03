//! Events about one thing, from all four topics: each held against the table of rights, masked where it says so.

use super::answer;
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::Moment;
use super::store::Api;
use crate::identity::Role;
use crate::problem::{Code, Problem};
use crate::rights::{EventClass, Ids, Sight, kept_fields, may_act, sight};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;
use tally_queries::service::{TIMELINE, WORK};
use tally_schemas::Topic;
use utoipa::ToSchema;

/// Cases that one moderator has in work at once.
const WORK_CASES_MAX: u32 = 1_000;
/// Rows of one question at least, so that hidden ones do not make many.
const ROWS_AT_ONCE_MIN: u32 = 256;

/// Where a page ends: time in microseconds, contract, event id.
type Place = (i64, String, String);

/// One event, as far as the caller may see it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Event {
    /// The contract: `task-events`, …
    topic: String,
    /// Its kind, such as `SUBMITTED`.
    kind: String,
    /// When it happened.
    occurred_at: Moment,
    /// Whether fields are left out because of who asks.
    masked: bool,
    /// Whether the caller may answer it.
    may_act: bool,
    /// The contract's fields that are not absent; 64-bit numbers are texts.
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
}

#[derive(Debug, Deserialize, Row)]
struct EventRow {
    contract: String,
    kind: String,
    occurred_us: i64,
    event_id: String,
    user_id: String,
    grantee_id: String,
    creator_id: String,
    license_id: String,
    task_id: String,
    case_id: String,
    fields: String,
}

/// What a moderator has in work; empty for everybody else.
#[derive(Debug, Default)]
pub(super) struct Work {
    cases: HashSet<String>,
    tasks: HashSet<String>,
    licences: HashSet<String>,
}

#[derive(Deserialize, Row)]
struct WorkRow {
    case_id: String,
    task_id: String,
    license_id: String,
}

impl Work {
    /// Asks for it, where the caller is a moderator.
    pub(super) async fn of(api: &Api, caller: &Caller) -> Result<Work, Problem> {
        let mut work = Work::default();
        if caller.principal.role != Role::Moderator {
            return Ok(work);
        }
        let query = api.ask(WORK).param("subject", &caller.principal.subject).param("limit", WORK_CASES_MAX);
        for row in api.rows::<WorkRow>(WORK, query).await? {
            work.cases.insert(row.case_id);
            work.tasks.insert(row.task_id);
            work.licences.insert(row.license_id);
        }
        work.tasks.remove("");
        work.licences.remove("");
        Ok(work)
    }

    /// The tasks of those cases.
    pub(super) fn tasks(&self) -> Vec<&str> {
        self.tasks.iter().map(String::as_str).collect()
    }

    /// The licences of those cases.
    pub(super) fn licences(&self) -> Vec<&str> {
        self.licences.iter().map(String::as_str).collect()
    }

    /// Whether an event of that class belongs to one: by its case, its task, or, if it is about a licence, by that.
    pub(super) fn holds(&self, class: EventClass, task_id: &str, license_id: &str, case_id: &str) -> bool {
        let about = match class {
            EventClass::Licence => self.licences.contains(license_id),
            _ => self.tasks.contains(task_id),
        };
        about || self.cases.contains(case_id)
    }
}

/// Which column of the facts names the thing.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    Task,
    Wallet,
    License,
    Case,
}

impl About {
    fn column(self) -> &'static str {
        match self {
            About::Task => "task_id",
            About::Wallet => "wallet_id",
            About::License => "license_id",
            About::Case => "case_id",
        }
    }
}

/// A page of the events about one thing, the earliest first. Events that the caller may not see are passed over, and neither
/// a cursor nor its absence says that there are any: a page ends at an event of the page, and only if another follows.
pub(super) async fn page(
    api: &Api,
    caller: &Caller,
    (about, id): (About, &str),
    part: super::query::Part,
) -> Result<answer::Page<Event>, Problem> {
    let start = (i64::MIN, String::new(), String::new());
    let portion: Portion<Place> = Portion::asked(about.column(), (part.cursor, part.limit), start)?;
    let mut after = portion.after.clone();
    let work = Work::of(api, caller).await?;
    // what is nobody's to see is rare behind the scope of the SQL: one question is enough, nearly always
    let asked = portion.rows().max(ROWS_AT_ONCE_MIN);
    let mut seen = Vec::new();
    loop {
        let rows = ask(api, caller, (about, id), &after, asked).await?;
        let more = rows.len() == asked as usize;
        for row in rows {
            after = (row.occurred_us, row.contract.clone(), row.event_id.clone());
            seen.extend(see(caller, &work, row)?.map(|event| (after.clone(), event)));
        }
        if !more || seen.len() >= portion.rows() as usize {
            let page = portion.cut(seen, |(place, _): &(Place, Event)| place.clone());
            return Ok(answer::Page {
                items: page.items.into_iter().map(|(_, event)| event).collect(),
                next: page.next,
            });
        }
    }
}

/// The rows behind a place, seen or not.
async fn ask(
    api: &Api,
    caller: &Caller,
    (about, id): (About, &str),
    (us, contract, event): &Place,
    rows: u32,
) -> Result<Vec<EventRow>, Problem> {
    // whoever is concerned by their own only is named by the event; a moderator's work is not in it
    let scope = match caller.principal.role {
        Role::Buyer | Role::Creator => "own",
        Role::Moderator | Role::Admin | Role::Service => "all",
    };
    let query = api.ask(TIMELINE).param("by", about.column()).param("id", id).param("after_us", us);
    let query = query.param("after_contract", contract).param("after_id", event).param("limit", rows);
    api.rows(TIMELINE, query.param("scope", scope).param("subject", &caller.principal.subject)).await
}

/// The event as the caller sees it; `None` where there is nothing to see.
fn see(caller: &Caller, work: &Work, row: EventRow) -> Result<Option<Event>, Problem> {
    let topic = Topic::ALL.into_iter().find(|topic| topic.name() == row.contract);
    let class = topic.map_or(EventClass::Call, |topic| EventClass::of(topic, &row.kind));
    let ids = Ids {
        user_id: &row.user_id,
        grantee_id: &row.grantee_id,
        creator_id: &row.creator_id,
        license_id: &row.license_id,
    };
    let in_work = work.holds(class, &row.task_id, &row.license_id, &row.case_id);
    let role = caller.principal.role;
    let seen = sight(role, class, caller.relation(ids, in_work));
    if seen == Sight::Hidden {
        return Ok(None);
    }
    let mut fields: Map<String, Value> =
        serde_json::from_str(&row.fields).map_err(|_| Problem::new(Code::Internal))?;
    fields.retain(|name, value| {
        let kept = seen == Sight::Full || kept_fields(class).contains(&name.as_str());
        kept && !value.is_null() && value != ""
    });
    Ok(Some(Event {
        topic: row.contract,
        kind: row.kind,
        occurred_at: Moment(row.occurred_us),
        masked: seen == Sight::Masked,
        may_act: may_act(role, class),
        fields,
    }))
}
