//! The moderation queue by risk and by the clock of its SLA.

use super::Pages;
use super::case::{clock, risk};
use super::figure::{figure, trouble};
use super::guard::Visitor;
use super::live::Ground;
use super::piece::{list, moment, onward, or_dash, section, table, task_link, text};
use super::sheet::Sheet;
use super::shell;
use super::symbols::{kind, symbol, tag_meaning};
use super::view::View;
use crate::api::{answers, segment};
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};

/// Open cases that are shown, those due first before the others.
const CASES_SHOWN: u32 = 200;
/// The levels, the worst first.
const RISKS: [&str; 4] = ["CRITICAL", "HIGH", "MEDIUM", "LOW"];

/// `GET /moderation`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let mut filters = json!({ "open": true, "limit": CASES_SHOWN });
    for (name, filter) in [("risk_level", "risk"), ("policy_tag", "tag"), ("cursor", "cursor")] {
        if let Some(value) = view.filter(filter) {
            filters[name] = value.into();
        }
    }
    let (sheet, cases) = tokio::join!(
        Sheet::ask(&pages.api, &visitor, "moderation"),
        answers::open_cases(&pages.api, &visitor.principal, filters)
    );
    let sheet = match sheet {
        Ok(sheet) => sheet,
        Err(problem) => return visitor.refused(&problem),
    };
    let figure = |id: &str| sheet.panel(id).map(|(panel, answer)| figure(view, panel, answer));
    let note = lang.say(
        "Every open case, whenever it came up: those due first before the others.",
        "全部未结案例，按应裁定时间排序。",
    );
    let body = html! {
        (section("queue", lang.say("The queue", "队列"), note, &html! { (chosen(view)) (queue(view, &cases)) }))
        (section("sla", lang.say("The clock", "时限"), "", &html! {
            div class="grid" { @for id in ["cases-by-risk", "cases-over-time"] { @if let Some(figure) = figure(id) { (figure) } } }
            div class="grid one" { @if let Some(figure) = figure("cases-by-tag") { (figure) } }
        }))
    };
    let title = lang.say("Moderation", "审核");
    shell::page(&visitor, title, Ground::Range(sheet.window), (&sheet.notices(view), &body))
}

fn chosen(view: &View) -> Markup {
    let (now, tag) = (view.filter("risk"), view.filter("tag"));
    let link = |level: Option<&str>| {
        let filters = [level.map(|level| ("risk", level)), tag.map(|tag| ("tag", tag))];
        view.link_with("/moderation", &filters.into_iter().flatten().collect::<Vec<_>>())
    };
    html! {
        ul class="switch chips" aria-label=(view.lang.say("Risk", "风险")) {
            li { a href=(link(None)) aria-current=[now.is_none().then_some("true")] { (view.lang.say("All", "全部")) } }
            @for level in RISKS { li { a href=(link(Some(level))) aria-current=[(now == Some(level)).then_some("true")] { (symbol(level, view.lang)) } } }
        }
    }
}

fn queue(view: &View, cases: &Result<Value, Problem>) -> Markup {
    let lang = view.lang;
    let (cases, next) = match cases {
        Ok(cases) => (list(cases, "items"), cases["next"].as_str()),
        Err(problem) => return trouble(view, problem),
    };
    let row = |case: &Value| {
        let id = text(case, "case_id");
        vec![
            html! { a href=(view.link(&format!("/case/{}", segment(id)))) { code { (id) } } },
            risk(text(case, "risk_level"), lang),
            clock(view, case),
            moment(view, text(case, "due_at"), false),
            html! { code title=[tag_meaning(text(case, "policy_tag"), lang)] { (text(case, "policy_tag")) } },
            html! { (kind(text(case, "state"), lang)) },
            html! { (or_dash(text(case, "reviewer_id"))) },
            task_link(view, text(case, "task_id")),
        ]
    };
    let rows: Vec<Vec<Markup>> = cases.iter().map(row).collect();
    let heads = [
        lang.say("Case", "案例"),
        lang.say("Risk", "风险"),
        lang.say("Clock", "时限"),
        lang.say("Due", "应裁定于"),
        lang.say("Policy tag", "政策标签"),
        lang.say("State", "状态"),
        lang.say("Reviewer", "审核人"),
        lang.say("Task", "任务"),
    ];
    let kept =
        ["risk", "tag"].into_iter().filter_map(|name| Some((name, view.filter(name)?))).collect::<Vec<_>>();
    html! {
        (table(("part-queue", &[], lang.say("No case is open.", "没有未结案例。")), &heads, &rows))
        (onward(view, ("/moderation", &kept), next, lang.say("Those due later", "稍后到期的案例")))
    }
}
