//! A buyer's tasks, live: what happens is heard over the feed, verified, and shown as it comes; what was stands below, from the store.

use super::Pages;
use super::asset::address;
use super::figure::figure;
use super::guard::Visitor;
use super::live::Ground;
use super::piece::section;
use super::sheet::Sheet;
use super::view::View;
use super::{shell, tasks};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

/// `GET /my`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let (sheet, latest) =
        tokio::join!(Sheet::ask(&pages.api, &visitor, "my"), tasks::latest(&pages.api, &visitor));
    let sheet = match sheet {
        Ok(sheet) => sheet,
        Err(problem) => return visitor.refused(&problem),
    };
    let figure = |id: &str| sheet.panel(id).map(|(panel, answer)| figure(view, panel, answer));
    let body = html! {
        (live(view, &visitor))
        (section("credits", lang.say("Credits", "积分"), "", &html! { div class="grid one" { @for id in ["my-wallet", "my-spending"] { @if let Some(figure) = figure(id) { (figure) } } } }))
        (section("asked", lang.say("What I was asked", "询问记录"), lang.say("Each supplement prompt and acceleration banner, and what became of it.", "每个补充积分提示与加速横幅及其结果。"), &html! { div class="grid one" { @if let Some(figure) = figure("my-prompts") { (figure) } } }))
        (section("all", lang.say("All tasks of this time", "该时段的全部任务"), "", &tasks::rows(&visitor, "part-all", &latest)))
    };
    let title = lang.say("My tasks", "我的任务");
    shell::page(&visitor, title, Ground::Range(sheet.window), (&sheet.notices(view), &body))
}

/// What the script fills: prompts, open tasks, finished ones.
fn live(view: &View, visitor: &Visitor) -> Markup {
    let lang = view.lang;
    let heading = |id: &str, title: &str| html! { h2 id={ (id) "-title" } { (title) " " span class="count" id={ (id) "-count" } {} } };
    html! {
        div id="my" data-own data-subject=(visitor.principal.subject) data-role=(visitor.principal.role.name()) {
            script type="module" src=(address("my.js")) {}
            p id="state" class="connecting" role="status" { span id="lamp" aria-hidden="true" {} span id="state-text" { (lang.say("connecting", "连接中")) } }
            p id="withheld" class="notice bad" role="alert" hidden {}
            section class="group" id="prompts-part" aria-labelledby="prompts-title" hidden {
                (heading("prompts", lang.say("Waiting for you", "等待您的决定")))
                ul id="prompts" class="prompts" {}
            }
            section class="group" aria-labelledby="open-title" {
                (heading("open", lang.say("Open", "进行中")))
                ul id="open" class="tasks" {}
                p id="open-none" class="empty" { (lang.say("Not known yet.", "尚未得知。")) }
            }
            section class="group" aria-labelledby="done-title" {
                (heading("done", lang.say("Finished", "已结束")))
                ul id="done" class="tasks" {}
                p id="done-none" class="empty" { (lang.say("Not known yet.", "尚未得知。")) }
            }
            p id="news" class="said" aria-live="polite" {}
            noscript { p class="notice warn" { (lang.say("What happens live needs JavaScript: it verifies each event's signature before it is shown. What was stands below.", "实时内容需要 JavaScript：每个事件在显示前都会验证签名。历史内容见下方。")) } }
        }
    }
}
