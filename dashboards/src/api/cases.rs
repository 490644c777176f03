//! The moderation queue: cases with the clock of their SLA.

use super::answer::{self, Page};
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::{Moment, Range};
use super::query::{Asked, Named, Part, filter, id};
use super::store::Api;
use super::tasks::Personal;
use super::timeline::{self, About, Event};
use crate::problem::{Code, Problem};
use crate::rights::{EventClass, Ids, Sight, sight};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::service::CASES;
use utoipa::{IntoParams, ToSchema};

/// How a case stands to its due time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Clock {
    /// Decided before it was due.
    InTime,
    /// Decided after.
    Late,
    /// Not decided, and due.
    Overdue,
    /// Not decided, and not due yet.
    Running,
    /// Nothing says when it is due.
    WithoutDue,
}

/// A moderation case. What a mask hides is null.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Case {
    /// Its id.
    case_id: String,
    /// The policy tag that was first stated.
    policy_tag: String,
    /// The task it is about; empty where there is none.
    task_id: String,
    /// The template; empty where there is none.
    template_id: String,
    /// The licence; empty where there is none.
    license_id: String,
    /// Kind of its latest event, such as `REVIEW_STARTED`.
    state: Option<String>,
    /// The risk that was first stated.
    risk_level: Option<String>,
    /// When it came up.
    opened_at: Option<Moment>,
    /// When its latest event happened.
    changed_at: Option<Moment>,
    /// When a decision is due, as first stated.
    due_at: Option<Moment>,
    /// How it stands to that.
    clock: Option<Clock>,
    /// Seconds until it is due, below 0 since it was; null once decided.
    due_in_s: Option<i64>,
    /// When it was first decided.
    decided_at: Option<Moment>,
    /// The latest decision; empty while there is none.
    decision: String,
    /// Who reviews it, or did last; empty while nobody has.
    reviewer_id: Option<String>,
    /// The buyer.
    user_id: Option<String>,
    /// Who owns the template.
    creator_id: Option<String>,
}

#[derive(Debug, Deserialize, Row)]
struct CaseRow {
    case_id: String,
    state: String,
    opened_at: Moment,
    changed_at: Moment,
    due_at: Option<Moment>,
    place_us: i64,
    risk_level: String,
    policy_tag: String,
    decisions: u64,
    decided_at: Option<Moment>,
    decision: String,
    reviewer_id: String,
    task_id: String,
    template_id: String,
    license_id: String,
    user_id: Personal,
    creator_id: Personal,
}

/// One case, and what happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CaseTimeline {
    /// As its events leave it.
    case: Case,
    /// Events about it, the earliest first, as far as the caller may see them.
    events: Vec<Event>,
    /// Give it as `cursor` for the events that follow; null at the end.
    next: Option<String>,
}

/// Which cases.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Opened at or after, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Opened before, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Only those that are not decided or closed.
    open: Option<bool>,
    /// Of this risk.
    #[param(min_length = 1, max_length = 256)]
    risk_level: Option<String>,
    /// Under this policy tag.
    #[param(min_length = 1, max_length = 256)]
    policy_tag: Option<String>,
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

struct Sought {
    range: Range,
    case_id: String,
    open: bool,
    risk_level: String,
    policy_tag: String,
    after: (i64, String),
    limit: u32,
}

/// Moderation cases, those due first before the others
#[utoipa::path(get, path = "/api/v1/moderation/cases", params(Wanted), responses((status = 200, body = Page<Case>)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let portion = Portion::asked("cases", (wanted.cursor, wanted.limit), (i64::MIN, String::new()))?;
    let sought = Sought {
        range: Range::read(wanted.from.as_deref(), wanted.to.as_deref())?,
        case_id: String::new(),
        open: wanted.open.unwrap_or(false),
        risk_level: filter("risk_level", wanted.risk_level)?,
        policy_tag: filter("policy_tag", wanted.policy_tag)?,
        after: portion.after.clone(),
        limit: portion.rows(),
    };
    let rows = find(&api, &caller, sought).await?;
    let page = portion.cut(rows, |row| (row.place_us, row.case_id.clone()));
    let cases = page.items.into_iter().filter_map(|row| seen(&caller, row)).collect();
    answer::page(&headers, &Page { items: cases, next: page.next })
}

/// One case with its events
#[utoipa::path(get, path = "/api/v1/moderation/cases/{case_id}", params(("case_id" = String, Path), Part),
    responses((status = 200, body = CaseTimeline)))]
pub(super) async fn one(
    State(api): State<Api>,
    caller: Caller,
    Named(case_id): Named<String>,
    Asked(part): Asked<Part>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let case_id = id(case_id)?;
    let sought = Sought {
        range: Range::read(None, None)?,
        case_id: case_id.clone(),
        open: false,
        risk_level: String::new(),
        policy_tag: String::new(),
        after: (i64::MIN, String::new()),
        limit: 1,
    };
    let case = find(&api, &caller, sought).await?.pop().and_then(|row| seen(&caller, row));
    let case = case.ok_or_else(|| Problem::new(Code::NotFound))?;
    let events = timeline::page(&api, &caller, (About::Case, &case_id), part).await?;
    answer::one(&headers, &CaseTimeline { case, events: events.items, next: events.next })
}

async fn find(api: &Api, caller: &Caller, sought: Sought) -> Result<Vec<CaseRow>, Problem> {
    // whoever sees no notices hears of a case by its decision only
    let notice = sight(caller.principal.role, EventClass::ModerationNotice, everything());
    let query = api.ask(CASES).param("scope", caller.scope()).param("subject", &caller.principal.subject);
    let query = query.param("case_id", sought.case_id).param("decided", notice == Sight::Hidden);
    let query = query.param("from_us", sought.range.from.0).param("to_us", sought.range.to.0);
    let query = query.param("risk_level", sought.risk_level).param("policy_tag", sought.policy_tag);
    let query = query.param("open", sought.open).param("after_us", sought.after.0);
    api.rows(CASES, query.param("after_id", sought.after.1).param("limit", sought.limit)).await
}

/// Every relation at once: what the role could see at most.
fn everything() -> crate::rights::Relation {
    crate::rights::Relation { own: true, own_template: true, own_grantee: true, case_in_work: true }
}

/// The case as the caller sees it: notices and decisions each by their own right.
fn seen(caller: &Caller, row: CaseRow) -> Option<Case> {
    let ids = Ids {
        user_id: row.user_id.id(),
        grantee_id: "",
        creator_id: row.creator_id.id(),
        license_id: &row.license_id,
    };
    let relation = caller.relation(ids, false);
    let role = caller.principal.role;
    let notice = sight(role, EventClass::ModerationNotice, relation);
    let outcome = sight(role, EventClass::ModerationOutcome, relation);
    if notice == Sight::Hidden && (outcome == Sight::Hidden || row.decisions == 0) {
        return None;
    }
    let (noticed, named) = (notice != Sight::Hidden, notice == Sight::Full && outcome == Sight::Full);
    let now = Moment::now();
    Some(Case {
        clock: noticed.then(|| clock(row.due_at, row.decided_at, now)),
        due_in_s: row
            .due_at
            .filter(|_| noticed && row.decided_at.is_none())
            .map(|due| due.0.saturating_sub(now.0).div_euclid(1_000_000)),
        case_id: row.case_id,
        policy_tag: row.policy_tag,
        task_id: row.task_id,
        template_id: row.template_id,
        license_id: row.license_id,
        state: noticed.then_some(row.state),
        risk_level: noticed.then_some(row.risk_level),
        opened_at: noticed.then_some(row.opened_at),
        changed_at: noticed.then_some(row.changed_at),
        due_at: row.due_at.filter(|_| noticed),
        decided_at: row.decided_at,
        decision: row.decision,
        reviewer_id: named.then_some(row.reviewer_id),
        user_id: named.then(|| row.user_id.id().to_owned()),
        creator_id: named.then(|| row.creator_id.id().to_owned()),
    })
}

fn clock(due: Option<Moment>, decided: Option<Moment>, now: Moment) -> Clock {
    match (due, decided) {
        (None, _) => Clock::WithoutDue,
        (Some(due), Some(decided)) if decided < due => Clock::InTime,
        (Some(_), Some(_)) => Clock::Late,
        (Some(due), None) if due <= now => Clock::Overdue,
        (Some(_), None) => Clock::Running,
    }
}
