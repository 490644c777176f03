//! What a launch did, and how good estimates are.

use super::Pages;
use super::door::Visitor;
use super::sheet::Sheet;
use super::shell;
use axum::extract::State;
use axum::response::Response;
use maud::html;

/// `GET /product`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let sheet = match Sheet::ask(&pages.api, &visitor, "product").await {
        Ok(sheet) => sheet,
        Err(problem) => {
            return shell::problem(view, Some((&visitor.principal, visitor.may_choose)), &problem);
        }
    };
    let body = html! {};
    shell::page(&visitor, lang.say("Product", "产品"), Some(sheet.window), (&sheet.notices(view), &body))
}
