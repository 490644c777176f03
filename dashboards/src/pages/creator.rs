//! What a creator granted, what is left of it, what grantees run, and which licences misbehave.

use super::Pages;
use super::figure::figure;
use super::guard::Visitor;
use super::live::Ground;
use super::piece::section;
use super::sheet::Sheet;
use super::{shell, tasks};
use axum::extract::State;
use axum::response::Response;
use maud::html;

/// `GET /creator`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let (sheet, latest) =
        tokio::join!(Sheet::ask(&pages.api, &visitor, "creator"), tasks::latest(&pages.api, &visitor));
    let sheet = match sheet {
        Ok(sheet) => sheet,
        Err(problem) => return visitor.refused(&problem),
    };
    let figure = |id: &str| sheet.panel(id).map(|(panel, answer)| figure(view, panel, answer));
    let grid = |ids: &[&str], class: &str| html! { div class={ "grid " (class) } { @for id in ids { @if let Some(figure) = figure(id) { (figure) } } } };
    let body = html! {
        (section("anomalies", lang.say("What is unusual", "异常"), "", &grid(&["refused-checks", "licence-events"], "one")))
        (section("grants", lang.say("Grants", "授权"), "", &grid(&["licences"], "one")))
        (section("tasks", lang.say("Grantees' tasks", "被授权人的任务"), "", &html! { (grid(&["grantee-tasks"], "one")) (tasks::rows(&visitor, "part-tasks", &latest)) }))
    };
    let title = lang.say("Creator", "创作者");
    shell::page(&visitor, title, Ground::Range(sheet.window), (&sheet.notices(view), &body))
}
