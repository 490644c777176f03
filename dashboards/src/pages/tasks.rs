//! The tasks of whoever looks, as a creator and a buyer are shown them.

use super::figure::trouble;
use super::guard::Visitor;
use super::piece::{list, moment, onward, or_dash, table, task_link, text};
use crate::api::{Api, Moment, answers};
use crate::problem::Problem;
use maud::{Markup, html};
use serde_json::{Value, json};

/// Tasks that are shown, the latest first.
const TASKS_SHOWN: u32 = 50;

/// The latest tasks of the time that is shown.
pub(super) async fn latest(api: &Api, visitor: &Visitor) -> Result<Value, Problem> {
    let (from, to) = visitor.view.range_us();
    let mut filters = json!({ "from": Moment(from).text(), "to": Moment(to).text(), "limit": TASKS_SHOWN });
    if let Some(cursor) = visitor.view.filter("cursor") {
        filters["cursor"] = cursor.into();
    }
    answers::tasks(api, &visitor.principal, filters).await
}

/// Tasks of a list, each with its page.
pub(super) fn rows(visitor: &Visitor, id: &str, tasks: &Result<Value, Problem>) -> Markup {
    let view = &visitor.view;
    let lang = view.lang;
    let (tasks, next) = match tasks {
        Ok(tasks) => (list(tasks, "items"), tasks["next"].as_str()),
        Err(problem) => return trouble(view, problem),
    };
    let row = |task: &Value| {
        vec![
            task_link(view, text(task, "task_id")),
            html! { strong title=(text(task, "state")) { (super::symbols::kind(text(task, "state"), lang)) } @if !text(task, "error_code").is_empty() { " " code { (text(task, "error_code")) } } },
            html! { @if let Some(permille) = task["progress_permille"].as_i64() { (permille / 10) "." (permille % 10) " %" } @else { "–" } },
            html! { (super::number::symbol(text(task, "queue"), lang)) },
            html! { (or_dash(text(task, "template_id"))) },
            html! { (or_dash(text(task, "license_id"))) },
            moment(view, text(task, "opened_at"), false),
            moment(view, text(task, "changed_at"), false),
        ]
    };
    let rows: Vec<Vec<Markup>> = tasks.iter().map(row).collect();
    let heads = [
        lang.say("Task", "任务"),
        lang.say("State", "状态"),
        lang.say("Progress", "进度"),
        lang.say("Queue", "队列"),
        lang.say("Template", "模板"),
        lang.say("Licence", "授权"),
        lang.say("Submitted", "提交于"),
        lang.say("Last event", "最近事件"),
    ];
    html! {
        (table((id, &[2], lang.say("No task in this time.", "该时段没有任务。")), &heads, &rows))
        (onward(view, (&view.path, &[]), next, lang.say("Earlier ones", "更早的任务")))
    }
}
