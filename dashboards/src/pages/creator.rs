//! What a creator granted, what is left of it, what grantees run, and which licences misbehave.

use super::Pages;
use super::door::Visitor;
use super::figure::{figure, trouble};
use super::piece::{list, moment, or_dash, section, table, task_link, text};
use super::sheet::Sheet;
use super::shell;
use super::view::View;
use crate::api::{Moment, answers};
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

/// Tasks that are shown, the latest first.
const TASKS_SHOWN: u32 = 50;

/// `GET /creator`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let (from, to) = view.range_us();
    let range = (Moment(from).text(), Moment(to).text());
    let (sheet, tasks) = tokio::join!(
        Sheet::ask(&pages.api, &visitor, "creator"),
        answers::tasks(&pages.api, &visitor.principal, range, TASKS_SHOWN)
    );
    let sheet = match sheet {
        Ok(sheet) => sheet,
        Err(problem) => {
            return shell::problem(view, Some((&visitor.principal, visitor.may_choose)), &problem);
        }
    };
    let figure = |id: &str| sheet.panel(id).map(|(panel, answer)| figure(view, panel, answer));
    let grid = |ids: &[&str], class: &str| html! { div class={ "grid " (class) } { @for id in ids { @if let Some(figure) = figure(id) { (figure) } } } };
    let body = html! {
        (section("grants", lang.say("Grants", "授权"), "", &grid(&["licences"], "one")))
        (section("anomalies", lang.say("What is unusual", "异常"), "", &grid(&["refused-checks", "licence-events"], "one")))
        (section("tasks", lang.say("Grantees' tasks", "被授权人的任务"), "", &html! { (grid(&["grantee-tasks"], "one")) (tasks_table(view, "part-tasks", &tasks)) }))
    };
    let title = lang.say("Creator", "创作者");
    shell::page(&visitor, title, Some(sheet.window), (&sheet.notices(view), &body))
}

/// Tasks of a list, each with its page.
pub(super) fn tasks_table(view: &View, id: &str, tasks: &Result<Value, Problem>) -> Markup {
    let lang = view.lang;
    let tasks = match tasks {
        Ok(tasks) => list(tasks, "items"),
        Err(problem) => return trouble(view, problem),
    };
    let row = |task: &Value| {
        vec![
            task_link(view, text(task, "task_id")),
            html! { strong { (text(task, "state")) } @if !text(task, "error_code").is_empty() { " " code { (text(task, "error_code")) } } },
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
    table((id, &[2], lang.say("No task in this time.", "该时段没有任务。")), &heads, &rows)
}
