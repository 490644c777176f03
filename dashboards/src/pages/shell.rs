//! What stands around every page: head, navigation by role, controls of the view, how far the data has come, and notices.

use super::asset::address;
use super::controls::{controls, zone_name};
use super::guard::Visitor;
use super::live::{Ground, Live, lamp};
use super::view::{Lang, Theme, View, Zone};
use crate::identity::{Principal, Role};
use crate::panel::Window;
use crate::problem::{Code, Problem};
use crate::rights::Page;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

/// A page may load its own parts, ask its own origin and send forms to it, and nothing else. Nothing stands in the markup
/// itself that runs or styles.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// On an answer that is a page although its status is an error: what went wrong, for who counts.
#[derive(Clone, Debug)]
pub(crate) struct Rendered;

/// How loud a notice is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tone {
    /// Good to know.
    Plain,
    /// To be looked at.
    Warn,
    /// Something is broken.
    Bad,
}

impl Tone {
    /// Its class in the style.
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Tone::Plain => "plain",
            Tone::Warn => "warn",
            Tone::Bad => "bad",
        }
    }
}

/// A sentence above a page.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// How loud.
    pub(crate) tone: Tone,
    /// The sentence.
    pub(crate) text: String,
}

/// Age of data from which it is called old: the route looks at its partitions every 10 s.
const STALE_US: i64 = 60_000_000;

/// A role, for people.
pub(crate) fn role_title(role: Role, lang: Lang) -> &'static str {
    match role {
        Role::Creator => lang.say("Creator", "创作者"),
        Role::Buyer => lang.say("Buyer", "买家"),
        Role::Moderator => lang.say("Compliance and moderation", "合规与审核"),
        Role::Admin => lang.say("Admin", "管理员"),
        Role::Service => lang.say("Service developer", "服务开发者"),
    }
}

/// A page's name in the navigation; `None` where one comes to it from another page only.
fn page_title(page: Page, lang: Lang) -> Option<&'static str> {
    Some(match page {
        Page::Overview => lang.say("Overview", "总览"),
        Page::Product => lang.say("Product", "产品"),
        Page::Compliance => lang.say("Compliance", "合规"),
        Page::Moderation => lang.say("Moderation", "审核"),
        Page::DeadLetters => lang.say("Dead letters", "死信"),
        Page::Creator => lang.say("Creator", "创作者"),
        Page::My => lang.say("My tasks", "我的任务"),
        Page::Verdict | Page::Case | Page::DeadLetter | Page::DeadLetterReplay | Page::Task => return None,
    })
}

/// A whole page for a visitor, and what it rests on.
pub(crate) fn page(
    visitor: &Visitor,
    title: &str,
    ground: Ground<'_>,
    (notices, body): (&[Notice], &Markup),
) -> Response {
    let view = &visitor.view;
    let main = html! {
        div class="head" {
            h1 { (title) }
            (controls(view, ground.window().is_some()))
        }
        @for notice in notices { (said(notice)) }
        (body)
    };
    let principal = Some((&visitor.principal, visitor.may_choose));
    let whole = document(view, title, (principal, Some(visitor)), (ground, &main));
    respond(StatusCode::OK, &whole)
}

/// A page without anybody, such as the form to sign in with; `why` gives its status.
pub(super) fn alone(
    view: &View,
    title: &str,
    notice: Option<Notice>,
    body: &Markup,
    why: &Problem,
) -> Response {
    let main = html! {
        @if let Some(notice) = &notice { (said(notice)) }
        (body)
    };
    failed(respond(why.code().status(), &document(view, title, (None, None), (Ground::Past, &main))), why)
}

/// What went wrong, as a page.
pub(crate) fn problem(view: &View, principal: Option<(&Principal, bool)>, problem: &Problem) -> Response {
    let lang = view.lang;
    let (title, advice) = match problem.code() {
        Code::Forbidden => (
            lang.say("This page is not for your role", "您的角色无权查看此页"),
            lang.say("Sign in as somebody who may see it.", "请以有权限的身份登录。"),
        ),
        Code::NotFound => (
            lang.say("There is no such thing here", "此处没有该内容"),
            lang.say("It may be somebody else's, or it may never have been.", "它可能属于他人，或从未存在。"),
        ),
        Code::StoreUnavailable
        | Code::IdentityUnavailable
        | Code::Overloaded
        | Code::Timeout
        | Code::LogUnavailable
        | Code::StreamEnded => (
            lang.say("The data cannot be had just now", "目前无法取得数据"),
            lang.say("Nothing is lost. Load the page again in a moment.", "数据没有丢失，请稍后重新加载。"),
        ),
        Code::TooExpensive => (
            lang.say("That is too much at once", "一次查询过多"),
            lang.say("Choose a shorter time.", "请选择较短的时间范围。"),
        ),
        Code::RateLimited => (
            lang.say("Too many requests", "请求过于频繁"),
            lang.say("Wait a moment, then load the page again.", "请稍候再重新加载。"),
        ),
        Code::Internal => (
            lang.say("Something went wrong here", "服务内部出错"),
            lang.say(
                "It is no fault of yours. Load the page again; if it stays so, tell whoever runs this service.",
                "这不是您的操作造成的。请重新加载；如仍出现，请告知服务运营方。",
            ),
        ),
        _ => (
            lang.say("This address cannot be understood", "无法理解该地址"),
            lang.say("Begin again from the first page.", "请从首页重新开始。"),
        ),
    };
    let status = problem.code().status();
    let next = if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        (view.here(), lang.say("Load the page again", "重新加载页面"))
    } else {
        (view.link("/"), lang.say("To the first page", "返回首页"))
    };
    refusal(view, principal, (title, advice), problem, (&next.0, next.1))
}

/// A form that is not one that this session was shown, and the page that has one that is.
pub(super) fn not_ours(view: &View, who: (&Principal, bool), page: &str, problem: &Problem) -> Response {
    let lang = view.lang;
    let title = lang.say("This form is not of your session", "该表单不属于当前会话");
    let advice = lang.say(
        "Nothing was done. You have signed in anew since the page was loaded: load it again, then send it.",
        "未执行任何操作。页面加载后您已重新登录：请重新加载页面后再提交。",
    );
    refusal(
        view,
        Some(who),
        (title, advice),
        problem,
        (page, lang.say("Load the page again", "重新加载页面")),
    )
}

/// A letter that was not published, or of which nobody knows whether it was; and its page.
pub(super) fn not_done(view: &View, who: (&Principal, bool), page: &str, of: &Problem) -> Response {
    let lang = view.lang;
    let said = match of.code() {
        Code::Conflict => (
            lang.say("It was not published", "未发布"),
            lang.say("As things are there is a reason not to. Nothing was sent to Kafka.", "目前有理由不发布。未向 Kafka 发送任何内容。"),
        ),
        Code::LogUnavailable => (
            lang.say("It is not known to be published", "尚不确定是否已发布"),
            lang.say(
                "Kafka, or whoever a letter is held against, has not answered. What was asked for stands in the list of the letter's replays: look there before you ask once more.",
                "Kafka 或校验所需的服务没有应答。请求记录在该死信的重放列表中：再次操作前请先查看。",
            ),
        ),
        _ => return problem(view, Some(who), of),
    };
    refusal(view, Some(who), said, of, (page, lang.say("To the letter", "返回该死信")))
}

fn refusal(
    view: &View,
    principal: Option<(&Principal, bool)>,
    (title, advice): (&str, &str),
    problem: &Problem,
    (to, next): (&str, &str),
) -> Response {
    let body = html! {
        div class="trouble" {
            h1 { (title) }
            p { (advice) }
            @if let Some(detail) = super::piece::trouble_detail(problem, view.lang) { p class="soft" { code { (detail) } } }
            p { a href=(to) { (next) } }
        }
    };
    failed(
        respond(problem.code().status(), &document(view, title, (principal, None), (Ground::Past, &body))),
        problem,
    )
}

fn failed(mut response: Response, problem: &Problem) -> Response {
    response.extensions_mut().insert(problem.clone());
    response.extensions_mut().insert(Rendered);
    for (name, value) in problem.headers() {
        response.headers_mut().insert(name, value);
    }
    response
}

fn respond(status: StatusCode, whole: &Markup) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::VARY, "cookie, authorization, accept-language"),
        // under `no-referrer` a browser says of our own forms that they come from nowhere
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (status, headers, whole.0.clone()).into_response()
}

fn said(notice: &Notice) -> Markup {
    html! { p class={ "notice " (notice.tone.class()) } role=[(notice.tone == Tone::Bad).then_some("alert")] { (notice.text) } }
}

type Who<'a> = (Option<(&'a Principal, bool)>, Option<&'a Visitor>);

fn document(
    view: &View,
    title: &str,
    (principal, visitor): Who<'_>,
    (ground, main): (Ground<'_>, &Markup),
) -> Markup {
    let lang = view.lang;
    let is_local = view.zone == Zone::Local;
    let window = ground.window();
    let live = visitor.and_then(|visitor| Live::of(visitor, ground));
    let of = |of: fn(&Live<'_>) -> Option<String>| live.as_ref().and_then(of);
    let who = principal.map(|(principal, _)| principal).filter(|_| live.is_some());
    html! {
        (DOCTYPE)
        html lang=(lang.tag()) data-theme=(view.theme.name()) data-zone=[is_local.then_some("local")] data-tz=(view.tz().name()) data-feed=[of(|live| Some(live.feed.to_owned()))] data-of=[of(|live| live.of.map(str::to_owned))]
            data-pace=[of(|live| Some(live.pace_ms.to_string()))] data-ask=[of(|live| Some(live.ask_ms.to_string()))] data-look=[of(|live| live.look.clone())]
            data-subject=[who.map(|who| &who.subject)] data-role=[who.map(|who| who.role.name())] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content=(match view.theme { Theme::Auto => "light dark", Theme::Light => "light", Theme::Dark => "dark" });
                title { (title) " · Tally" }
                link rel="icon" href="data:,";
                @if window.is_some() { link rel="stylesheet" href=(address("uplot.css")); }
                link rel="stylesheet" href=(address("pages.css"));
                @if window.is_some() {
                    script src=(address("uplot.js")) defer {}
                    script type="module" src=(address("charts.js")) {}
                }
                script type="module" src=(address("pages.js")) {}
                @if live.is_some() { script type="module" src=(address("live.js")) {} }
            }
            body {
                a class="skip" href="#main" { (lang.say("To the content", "跳到正文")) }
                header class="bar" {
                    a class="brand" href=(view.link("/")) { "Tally" }
                    @if let Some((principal, _)) = principal { (navigation(view, principal, visitor)) }
                    (settings(view, principal))
                }
                @if let Some(window) = window { (standing(view, window)) }
                @else if live.is_some() { div class="standing" { (lamp()) } p id="heard" class="said" aria-live="polite" {} }
                main id="main" tabindex="-1" { (main) }
                footer { (lang.say("Every Kafka offset ends as exactly one row or exactly one dead letter.", "每个 Kafka 位点最终恰为一行数据或一封死信。")) }
            }
        }
    }
}

fn navigation(view: &View, principal: &Principal, visitor: Option<&Visitor>) -> Markup {
    let lang = view.lang;
    let theirs = Page::ALL.iter().copied().filter(|page| page.is_of(principal.role));
    let here = visitor.map(|visitor| visitor.page);
    html! {
        nav aria-label=(lang.say("Pages", "页面")) {
            ul {
                @for (page, title) in theirs.filter_map(|page| Some((page, page_title(page, lang)?))) {
                    li { a href=(view.link(page.path())) aria-current=[(here == Some(page)).then_some("page")] { (title) } }
                }
            }
        }
    }
}

/// Who looks, in which language and colours, and the way out.
fn settings(view: &View, principal: Option<(&Principal, bool)>) -> Markup {
    let lang = view.lang;
    let other = match lang {
        Lang::En => Lang::Zh,
        Lang::Zh => Lang::En,
    };
    let themes = [
        (Theme::Auto, lang.say("Auto", "自动")),
        (Theme::Light, lang.say("Light", "浅色")),
        (Theme::Dark, lang.say("Dark", "深色")),
    ];
    html! {
        div class="who" {
            details class="menu" {
                summary { (lang.say("View", "显示")) }
                div class="sheet" {
                    p class="label" { (lang.say("Colours", "配色")) }
                    ul class="switch" {
                        @for (theme, name) in themes {
                            li { a href=(view.with_theme(theme).here()) aria-current=[(theme == view.theme).then_some("true")] { (name) } }
                        }
                    }
                    p class="label" { (lang.say("Language", "语言")) }
                    ul class="switch" {
                        li { a href=(view.with_lang(other).here()) lang=(other.tag()) hreflang=(other.tag()) { (other.say("English", "中文")) } }
                    }
                    @if let Some((principal, may_choose)) = principal {
                        p class="label" { (lang.say("Signed in", "已登录")) }
                        p class="me" { (role_title(principal.role, lang)) br; code { (principal.subject) } }
                        form method="post" action="/session/end" {
                            button type="submit" { @if may_choose { (lang.say("Look as somebody else", "切换身份")) } @else { (lang.say("Sign out", "退出")) } }
                        }
                    }
                }
            }
        }
    }
}

/// The badge: whether the figures can still change, and how far the data has come.
fn standing(view: &View, window: Window) -> Markup {
    let lang = view.lang;
    let age_us = window.as_of_us.map(|us| view.now_us - us);
    // data of topics that have ended does not grow old; a range that lies behind it neither
    let is_stale = !window.is_final && age_us.is_some_and(|age| age > STALE_US);
    let (class, badge, why) = match (window.as_of_us, window.is_final, is_stale) {
        (None, ..) => (
            "none",
            lang.say("No data yet", "尚无数据"),
            lang.say("No partition has told how far it has come.", "尚无分区报告进度。"),
        ),
        (_, true, _) => (
            "final",
            lang.say("Final", "已定"),
            lang.say(
                "Nothing that belongs to this time can come any more.",
                "属于该时段的事件不会再有变化。",
            ),
        ),
        (_, false, true) => (
            "stale",
            lang.say("Behind", "滞后"),
            lang.say("The route has not come further for a while.", "数据管道已有一段时间没有推进。"),
        ),
        (_, false, false) => (
            "open",
            lang.say("Not final", "未定"),
            lang.say("Events of this time may still come.", "该时段的事件仍可能到来。"),
        ),
    };
    html! {
        section class="standing" id="standing" aria-label=(lang.say("State of the data", "数据状态")) {
            span class={ "badge " (class) } title=(why) { (badge) }
            @if let Some(us) = window.as_of_us {
                span class="asof" { (lang.say("as of", "截至")) " " time datetime=(crate::api::Moment(us).text()) { (view.time(us, false)) } " " span class="zone" { (zone_name(view)) } }
            }
            span class="why" { (why) }
            (lamp())
        }
    }
}
