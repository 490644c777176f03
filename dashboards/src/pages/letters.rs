//! What was refused: a list by reason and topic.

use super::Pages;
use super::compliance::table_of_letters;
use super::figure::{figure, trouble};
use super::guard::Visitor;
use super::live::Ground;
use super::piece::{list, onward, section};
use super::sheet::Sheet;
use super::shell;
use super::symbols::symbol;
use super::view::View;
use crate::api::{Moment, answers};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;

/// Letters of one list.
const LETTERS_SHOWN: u32 = 100;

/// `GET /dead`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let (from, to) = view.range_us();
    let mut filters = json!({ "from": Moment(from).text(), "to": Moment(to).text(), "limit": LETTERS_SHOWN });
    for name in ["reason", "topic", "cursor"] {
        if let Some(value) = view.filter(name) {
            filters[name] = value.into();
        }
    }
    let (sheet, letters) = tokio::join!(
        Sheet::ask(&pages.api, &visitor, "dead"),
        answers::dead_letters(&pages.api, &visitor.principal, filters)
    );
    let sheet = match sheet {
        Ok(sheet) => sheet,
        Err(problem) => return visitor.refused(&problem),
    };
    let figure = |id: &str| sheet.panel(id).map(|(panel, answer)| figure(view, panel, answer));
    let kept = ["reason", "topic"]
        .into_iter()
        .filter_map(|name| Some((name, view.filter(name)?)))
        .collect::<Vec<_>>();
    let shown = match &letters {
        Err(problem) => trouble(view, problem),
        Ok(letters) => html! {
            (table_of_letters(view, ("part-letters", list(letters, "items"))))
            (onward(view, ("/dead", &kept), letters["next"].as_str(), lang.say("Earlier ones", "更早的死信")))
        },
    };
    let body = html! {
        div class="grid" { @for id in ["dead-reasons", "dead-over-time"] { @if let Some(figure) = figure(id) { (figure) } } }
        (section("letters", lang.say("Letters", "死信列表"), "", &html! { (chosen(view, &sheet)) (shown) }))
    };
    shell::page(
        &visitor,
        lang.say("Dead letters", "死信"),
        Ground::Range(sheet.window),
        (&sheet.notices(view), &body),
    )
}

/// The reasons of this time, one of which may be chosen.
fn chosen(view: &View, sheet: &Sheet) -> Markup {
    let reasons: Vec<&str> = sheet
        .answer("dead-reasons")
        .map(|answer| answer.values("reason").flatten().collect())
        .unwrap_or_default();
    let chosen = view.filter("reason");
    html! {
        ul class="switch chips" aria-label=(view.lang.say("Reason", "原因")) {
            li { a href=(view.link("/dead")) aria-current=[chosen.is_none().then_some("true")] { (view.lang.say("All", "全部")) } }
            @for reason in reasons {
                li { a href=(view.link_with("/dead", &[("reason", reason)])) aria-current=[(chosen == Some(reason)).then_some("true")] title=(reason) { (symbol(reason, view.lang)) } }
            }
        }
    }
}
