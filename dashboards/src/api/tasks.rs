//! Tasks: a list, and one with everything that happened to it.

use super::answer::{self, Page};
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::{Moment, Range};
use super::query::{Asked, Named, Part, filter, id};
use super::store::Api;
use super::timeline::{self, About, Event, Work};
use crate::problem::{Code, Problem};
use crate::rights::{EventClass, Ids, Sight, sight};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::service::TASKS;
use utoipa::{IntoParams, ToSchema};

/// A task as its latest event leaves it. What a mask hides is null.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(super) struct Task {
    /// Its id.
    task_id: String,
    /// Kind of its latest event, such as `PROGRESSED`.
    state: String,
    /// When it was submitted.
    opened_at: Moment,
    /// When its latest event happened.
    changed_at: Moment,
    /// `NORMAL` or `ACCELERATED`.
    queue: String,
    /// Thousandths that are done, where a task says so.
    progress_permille: Option<i32>,
    /// Rises by one with each event.
    state_version: i64,
    /// Its policy tag.
    policy_tag: String,
    /// Why it failed; empty where it did not.
    error_code: String,
    /// `CUSTOMER`, `TEST`, `STAFF` or `CANARY`.
    audience: String,
    /// The template; empty where there is none.
    template_id: String,
    /// The licence; empty where there is none.
    license_id: String,
    /// The buyer.
    user_id: Personal,
    /// Who owns the template.
    creator_id: Personal,
    /// The wallet that pays.
    wallet_id: Personal,
}

/// An id of somebody: null where a mask hides it.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(from = "String")]
#[schema(value_type = Option<String>)]
pub(super) struct Personal(Option<String>);

impl From<String> for Personal {
    fn from(text: String) -> Personal {
        Personal(Some(text))
    }
}

impl Personal {
    /// Hides it.
    pub(super) fn hide(&mut self) {
        self.0 = None;
    }

    /// The id; empty where it is hidden.
    pub(super) fn id(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

/// One task, and what happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskTimeline {
    /// As its latest event leaves it; null where its submission is not known, or not the caller's to see.
    task: Option<Task>,
    /// Events of all topics that are about it, the earliest first, as far as the caller may see them.
    events: Vec<Event>,
    /// Give it as `cursor` for the events that follow; null at the end.
    next: Option<String>,
}

/// Which tasks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Submitted at or after, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Submitted before, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Of this template.
    #[param(min_length = 1, max_length = 256)]
    template_id: Option<String>,
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

/// Tasks, those submitted last first
#[utoipa::path(get, path = "/api/v1/tasks", params(Wanted), responses((status = 200, body = Page<Task>)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::read(wanted.from.as_deref(), wanted.to.as_deref())?;
    let portion = Portion::asked("tasks", (wanted.cursor, wanted.limit), (i64::MAX, String::new()))?;
    let sought = Sought {
        range,
        template_id: filter("template_id", wanted.template_id)?,
        policy_tag: filter("policy_tag", wanted.policy_tag)?,
        before: portion.after.clone(),
        limit: portion.rows(),
        task_id: String::new(),
    };
    let tasks = find(&api, &caller, sought).await?;
    portion.answer(&headers, tasks, |task| (task.opened_at.0, task.task_id.clone()))
}

/// One task with its timeline over the four topics
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}", params(("task_id" = String, Path), Part),
    responses((status = 200, body = TaskTimeline)))]
pub(super) async fn one(
    State(api): State<Api>,
    caller: Caller,
    Named(task_id): Named<String>,
    Asked(part): Asked<Part>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let task_id = id(task_id)?;
    let events = timeline::page(&api, &caller, (About::Task, &task_id), part).await?;
    let everything = Sought { task_id, ..Sought::one()? };
    let task = find(&api, &caller, everything).await?.pop();
    // whatever the cursor: a page of nothing must not tell a hidden task from none
    if task.is_none() && events.items.is_empty() {
        return Err(Problem::new(Code::NotFound));
    }
    answer::one(&headers, &TaskTimeline { task, events: events.items, next: events.next })
}

struct Sought {
    range: Range,
    task_id: String,
    template_id: String,
    policy_tag: String,
    before: (i64, String),
    limit: u32,
}

impl Sought {
    fn one() -> Result<Sought, Problem> {
        let (task_id, template_id, policy_tag) = Default::default();
        let before = (i64::MAX, String::new());
        Ok(Sought { range: Range::read(None, None)?, task_id, template_id, policy_tag, before, limit: 1 })
    }
}

async fn find(api: &Api, caller: &Caller, sought: Sought) -> Result<Vec<Task>, Problem> {
    let work = Work::of(api, caller).await?;
    let query = api.ask(TASKS).param("scope", caller.scope()).param("subject", &caller.principal.subject);
    let query = query.param("work", work.tasks()).param("task_id", sought.task_id);
    let query = query.param("from_us", sought.range.from.0).param("to_us", sought.range.to.0);
    let query = query.param("template_id", sought.template_id).param("policy_tag", sought.policy_tag);
    let query = query.param("before_us", sought.before.0).param("before_id", sought.before.1);
    let tasks = api.rows::<Task>(TASKS, query.param("limit", sought.limit)).await?;
    Ok(tasks.into_iter().filter_map(|task| masked(caller, &work, task)).collect())
}

/// The task as the caller sees it: as they see its states.
fn masked(caller: &Caller, work: &Work, mut task: Task) -> Option<Task> {
    let class = EventClass::TaskState;
    let ids = Ids {
        user_id: task.user_id.id(),
        grantee_id: "",
        creator_id: task.creator_id.id(),
        license_id: &task.license_id,
    };
    let in_work = work.holds(class, &task.task_id, &task.license_id, "");
    match sight(caller.principal.role, class, caller.relation(ids, in_work)) {
        Sight::Hidden => return None,
        Sight::Full => {}
        Sight::Masked => {
            for person in [&mut task.user_id, &mut task.creator_id, &mut task.wallet_id] {
                person.hide();
            }
        }
    }
    Some(task)
}
