//! One moderation case: its clock, its tag, and everything that happened to it.

use super::Pages;
use super::controls::when;
use super::guard::Visitor;
use super::live::Ground;
use super::piece::{facts, list, moment, or_dash, section, table, task_link, text};
use super::shell;
use super::symbols::{kind, symbol, tag_meaning};
use super::task::told;
use super::view::{Lang, View};
use crate::api::{answers, segment};
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;

/// `GET /case/{case_id}`.
pub(super) async fn page(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(case_id): Path<String>,
) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let found = match answers::case(&pages.api, &visitor.principal, &case_id).await {
        Ok(found) => found,
        Err(problem) => return visitor.refused(&problem),
    };
    let case = &found["case"];
    let rows = [
        (
            lang.say("State", "状态"),
            html! { strong { (kind(text(case, "state"), lang)) } @if !text(case, "decision").is_empty() { ", " (lang.say("decided", "裁定")) " " strong { (symbol(text(case, "decision"), lang)) } } },
        ),
        (lang.say("Clock", "时限"), clock(view, case)),
        (lang.say("Due", "应裁定于"), moment(view, text(case, "due_at"), false)),
        (lang.say("Decided", "裁定于"), moment(view, text(case, "decided_at"), false)),
        (lang.say("Risk", "风险"), html! { (risk(text(case, "risk_level"), lang)) }),
        (
            lang.say("Policy tag", "政策标签"),
            html! { code { (text(case, "policy_tag")) } " " (meaning(view, text(case, "policy_tag"))) },
        ),
        (lang.say("Reviewer", "审核人"), or_dash(text(case, "reviewer_id"))),
        (lang.say("Task", "任务"), task_link(view, text(case, "task_id"))),
        (lang.say("Template", "模板"), or_dash(text(case, "template_id"))),
        (lang.say("Licence", "授权"), or_dash(text(case, "license_id"))),
    ];
    let event = |event: &Value| {
        let fields = &event["fields"];
        vec![
            moment(view, text(event, "occurred_at"), false),
            html! { strong title=(text(event, "kind")) { (kind(text(event, "kind"), lang)) } },
            html! { div class="told" { (told(view, fields)) } },
            html! { code title=[tag_meaning(text(fields, "policy_tag"), lang)] { (text(fields, "policy_tag")) } },
            html! { (symbol(text(fields, "actor_role"), lang)) },
        ]
    };
    let events: Vec<Vec<Markup>> = list(&found, "events").iter().map(event).collect();
    let heads = [
        &when(view),
        lang.say("Step", "步骤"),
        lang.say("What it says", "内容"),
        lang.say("Policy tag", "政策标签"),
        lang.say("By", "操作角色"),
    ];
    let body = html! {
        div class="card" { (facts(&rows)) }
        (section("timeline", lang.say("What happened", "时间线"), "", &table(("part-timeline", &[], lang.say("Nothing that you may see.", "没有您可见的事件。")), &heads, &events)))
        p class="more" {
            a href=(view.link("/moderation")) { (lang.say("Back to the queue", "返回队列")) } " · "
            a href={ "/api/v1/moderation/cases/" (segment(&case_id)) } { "JSON" }
        }
    };
    shell::page(&visitor, &case_id, Ground::Case(&case_id), (&[], &body))
}

/// How a case stands to its due time: a word, a shape, and how long.
pub(super) fn clock(view: &View, case: &Value) -> Markup {
    let lang = view.lang;
    let (class, word) = match text(case, "clock") {
        "in_time" => ("pass", lang.say("decided in time", "按时裁定")),
        "late" => ("fail", lang.say("decided late", "逾期裁定")),
        "overdue" => ("fail", lang.say("overdue", "已超时")),
        "running" => ("open", lang.say("running", "计时中")),
        _ => ("warn", lang.say("no due time", "无时限")),
    };
    let left = case["due_in_s"]
        .as_i64()
        .map(|seconds| super::number::duration(seconds.saturating_mul(1_000_000), lang));
    html! { span class={ "verdict " (class) } { (word) } @if let Some(left) = left { " " span class="left" { (left) } } }
}

/// A risk level: how many of four bars are filled says the same as its colour.
pub(super) fn risk(level: &str, lang: Lang) -> Markup {
    let filled = match level {
        "LOW" => 1,
        "MEDIUM" => 2,
        "HIGH" => 3,
        "CRITICAL" => 4,
        _ => 0,
    };
    html! {
        span class={ "risk risk" (filled) } {
            svg viewBox="0 0 22 12" aria-hidden="true" focusable="false" {
                @for bar in 0..4 { rect x=(bar * 6) y=(9 - bar * 3) width="4" height=(3 + bar * 3) class=[(bar >= filled).then_some("off")] {} }
            }
            " " (symbol(level, lang))
        }
    }
}

/// What a policy tag means, in the reader's language, by the dictionary.
fn meaning(view: &View, tag: &str) -> Markup {
    html! { @if let Some(meaning) = tag_meaning(tag, view.lang) { span class="soft" { (meaning) } } }
}
