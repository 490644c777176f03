//! How the platform does: money, tasks, queues, interfaces, the ledger.

use super::Pages;
use super::door::Visitor;
use super::figure::figure;
use super::sheet::Sheet;
use super::shell;
use axum::extract::State;
use axum::response::Response;
use maud::html;

/// `GET /overview`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let sheet = match Sheet::ask(&pages.api, &visitor, "overview").await {
        Ok(sheet) => sheet,
        Err(problem) => {
            return shell::problem(view, Some((&visitor.principal, visitor.may_choose)), &problem);
        }
    };
    let figure = |id: &str| sheet.panel(id).map(|(panel, answer)| figure(view, panel, answer));
    let group = |title: &str, ids: &[&str]| {
        html! {
            section class="group" {
                h2 { (title) }
                div class="grid" { @for id in ids { @if let Some(figure) = figure(id) { (figure) } } }
            }
        }
    };
    let body = html! {
        (group(lang.say("Money", "资金"), &["revenue-over-time", "credits-over-time", "revenue", "credits"]))
        (group(lang.say("Interfaces", "接口"), &["endpoint-errors-over-time", "endpoint-errors"]))
        (group(lang.say("Tasks", "任务"), &["task-success-over-time", "task-success"]))
        (group(lang.say("Queues", "队列"), &["queue-depth", "queue-wait", "queues"]))
        (group(lang.say("Ledger", "账本"), &["events-over-time", "ingest-lag", "ledger"]))
    };
    shell::page(&visitor, lang.say("Overview", "总览"), Some(sheet.window), (&sheet.notices(view), &body))
}
