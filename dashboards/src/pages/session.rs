//! Signing in and out. The token becomes a cookie that scripts cannot read and that only reads: see the guard of the API.
//!
//! Forms are taken from our own pages alone: `Origin` must be the host that was asked, and a browser sends it with every form.
//! Without that check another site could sign somebody in as somebody else, and watch what they type.

use super::Pages;
use super::form as forms;
use super::shell::{self, Notice, Tone};
use super::view::View;
use crate::api::session_cookie;
use crate::identity::{LIFETIME_S_MAX, Minter, Principal, Role, TokenRequest};
use crate::problem::{Code, Problem};
use crate::rights::Page;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use clickhouse::Row;
use maud::{Markup, html};
use serde::Deserialize;
use std::time::{SystemTime, UNIX_EPOCH};
use tally_queries::service::{Question, SOMEBODY};
use url::form_urlencoded;

/// Who signs tokens for our own pages. Whoever can open a page gets one of any role, so this is for a demo on loopback only.
#[derive(Clone, Debug)]
pub struct PageTokens {
    /// Signs.
    pub minter: Minter,
    /// Whom an admin, a moderator and a service are called.
    pub subject: String,
}

/// A demo's cookie is renewed so long before its end, seconds.
const RENEW_BEFORE_S: i64 = 600;
/// Bytes of an address to go back to.
const WANTED_BYTES_MAX: usize = 4_096;

#[derive(Deserialize, Row)]
struct Somebody {
    role: String,
    subject: String,
}

/// The form to sign in with, and why it is shown. It leads to what was wanted.
pub(super) async fn form(
    pages: &Pages,
    view: &View,
    headers: &HeaderMap,
    (wanted, why): (&str, &Problem),
) -> Response {
    let lang = view.lang;
    let notice = match why.code() {
        Code::TokenMissing => None,
        Code::TokenExpired => {
            Some(lang.say("Your session has ended. Sign in again.", "会话已结束，请重新登录。"))
        }
        Code::TokenRevoked => Some(lang.say("This access was revoked.", "该访问权限已被撤销。")),
        Code::TokenInvalid => Some(lang.say("This token is not valid here.", "该令牌在此处无效。")),
        _ => return shell::problem(view, None, why),
    };
    let notice = notice.map(|text| Notice { tone: Tone::Bad, text: text.to_owned() });
    let roles = match pages.tokens.is_some() && is_for_this_machine(headers) {
        true => Some(roles(pages).await),
        false => None,
    };
    let body = html! {
        div class="sign-in" {
            h1 { (lang.say("Sign in", "登录")) }
            @if let Some(roles) = &roles { (choice(view, wanted, roles)) }
            form method="post" action="/session" class="card token" {
                h2 { (lang.say("With an access token", "使用访问令牌")) }
                label for="token" { (lang.say("Access token", "访问令牌")) }
                input id="token" name="token" type="password" autocomplete="off" spellcheck="false" required autofocus[roles.is_none()];
                input type="hidden" name="to" value=(wanted);
                button type="submit" { (lang.say("Sign in", "登录")) }
                p class="soft" {
                    (lang.say("A token of your issuer, at most 15 minutes old; it is kept in a cookie that scripts cannot read, and forgotten when it ends.",
                        "由您的签发方签发、有效期最长 15 分钟的令牌。它保存在脚本无法读取的 Cookie 中，到期即失效。"))
                }
            }
        }
    };
    shell::alone(view, lang.say("Sign in", "登录"), notice, &body, why)
}

/// In a demo: a button a role.
fn choice(view: &View, wanted: &str, roles: &[(Role, String)]) -> Markup {
    let lang = view.lang;
    html! {
        section class="card" aria-labelledby="as" {
            h2 id="as" { (lang.say("Look at the demo as", "以何种身份查看演示")) }
            ul class="roles" {
                @for (role, subject) in roles {
                    li {
                        form method="post" action="/session" {
                            input type="hidden" name="role" value=(role.name());
                            input type="hidden" name="subject" value=(subject);
                            input type="hidden" name="to" value=(wanted);
                            button type="submit" class="role" {
                                b { (shell::role_title(*role, lang)) }
                                span { (what_for(*role, view)) }
                                code { (subject) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn what_for(role: Role, view: &View) -> &'static str {
    match role {
        Role::Admin => view.lang.say("revenue, queues, interfaces, launches", "收入、队列、接口、上线效果"),
        Role::Moderator => view.lang.say("the audit and the cases", "审计与审核案例"),
        Role::Creator => view.lang.say("licences and what runs under them", "授权及其使用情况"),
        Role::Buyer => view.lang.say("my tasks, live", "我的任务（实时）"),
        Role::Service => view.lang.say("why events were refused", "事件被拒的原因"),
    }
}

/// Every role with somebody who has something to see.
async fn roles(pages: &Pages) -> Vec<(Role, String)> {
    let asked: Question = SOMEBODY;
    let found = pages.api.rows::<Somebody>(asked, pages.api.ask(asked)).await.unwrap_or_default();
    let own = pages.tokens.as_ref().map(|tokens| tokens.subject.clone()).unwrap_or_default();
    let order = [Role::Admin, Role::Moderator, Role::Creator, Role::Buyer, Role::Service];
    let subject = |role: Role| {
        let known = found.iter().find(|one| one.role == role.name() && !one.subject.is_empty());
        known.map_or_else(|| own.clone(), |one| one.subject.clone())
    };
    order.into_iter().map(|role| (role, subject(role))).collect()
}

/// `POST /session`: a token, or in a demo a role, becomes the cookie.
pub(super) async fn begin(State(pages): State<Pages>, headers: HeaderMap, body: Bytes) -> Response {
    let view = View::plain(&headers);
    if !is_own(&headers) {
        return shell::problem(
            &view,
            None,
            &Problem::because(Code::Forbidden, "the form is not one of our pages"),
        );
    }
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&body);
        fields.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
    };
    let to = field("to").filter(|to| is_ours(to)).unwrap_or_else(|| "/".to_owned());
    let demo = pages.tokens.as_ref().filter(|_| is_for_this_machine(&headers));
    let token = match (field("token"), field("role"), demo) {
        (Some(token), ..) => Some(token.trim().to_owned()),
        (None, Some(role), Some(tokens)) => minted(tokens, &role, field("subject")),
        _ => None,
    };
    let Some(token) = token else {
        return form(&pages, &view, &headers, (&to, &Problem::new(Code::TokenMissing))).await;
    };
    let principal = match pages.api.authority().verify(&token).await {
        Ok(principal) => principal,
        Err(denied) => return form(&pages, &view, &headers, (&to, &Problem::from(denied))).await,
    };
    // a demo is minutes old: a day of it would be an empty picture
    let to = if to == "/" && demo.is_some() { "/?range=15m".to_owned() } else { to };
    let to = if to == "/" || to.starts_with("/?") { home(principal.role, &to) } else { to };
    let lifetime_s = principal.expires_at_s.saturating_sub(now_s()).clamp(0, LIFETIME_S_MAX);
    redirect(&to, [session_cookie(&token, lifetime_s), forms::begun()])
}

/// `POST /session/end`: the cookie is forgotten. The token lives on until its end: who must end it revokes it.
pub(super) async fn end(headers: HeaderMap) -> Response {
    if !is_own(&headers) {
        let problem = Problem::because(Code::Forbidden, "the form is not one of our pages");
        return shell::problem(&View::plain(&headers), None, &problem);
    }
    redirect("/", [session_cookie("", 0), forms::ended()])
}

/// Where a role begins, in the view of an address.
pub(super) fn home(role: Role, address: &str) -> String {
    let query = address.split_once('?').map_or(String::new(), |(_, query)| format!("?{query}"));
    let path = match Page::home(role) {
        Some(page) => page.path(),
        None => return "/api/v1/me".to_owned(),
    };
    format!("{path}{query}")
}

fn minted(tokens: &PageTokens, role: &str, subject: Option<String>) -> Option<String> {
    let role = role.parse().ok()?;
    let subject = subject.filter(|subject| !subject.is_empty()).unwrap_or_else(|| tokens.subject.clone());
    let request = TokenRequest { subject, role, scope: String::new(), lifetime_s: LIFETIME_S_MAX };
    tokens.minter.mint(&request, now_s()).ok().map(|(token, _)| token)
}

/// In a demo: a fresh cookie for who has looked for a while, so that nobody is asked again who they are. Elsewhere the issuer
/// decides how long somebody is let in.
pub(super) fn renewed(pages: &Pages, principal: &Principal, headers: &HeaderMap) -> Option<HeaderValue> {
    let tokens = pages.tokens.as_ref().filter(|_| is_for_this_machine(headers))?;
    let is_due = principal.expires_at_s.saturating_sub(now_s()) < RENEW_BEFORE_S;
    let token =
        is_due.then(|| minted(tokens, principal.role.name(), Some(principal.subject.clone()))).flatten()?;
    HeaderValue::from_str(&session_cookie(&token, LIFETIME_S_MAX)).ok()
}

fn redirect(to: &str, cookies: [String; 2]) -> Response {
    let cookies = cookies.map(|cookie| (header::SET_COOKIE, cookie));
    let (to, cache) = ((header::LOCATION, to), (header::CACHE_CONTROL, "no-store"));
    (StatusCode::SEE_OTHER, AppendHeaders(cookies), [to, cache]).into_response()
}

/// An address of this service, as a path: never another host, whatever a browser makes of slashes.
fn is_ours(to: &str) -> bool {
    let plain = to.bytes().all(|byte| byte.is_ascii_graphic()) && !to.contains('\\');
    to.len() <= WANTED_BYTES_MAX && plain && to.starts_with('/') && !to.starts_with("//")
}

/// Whether a form was sent by a page of the host that was asked. Every browser says where a form comes from.
pub(crate) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme) == Some(host))
}

/// A name that somebody else made point here (DNS rebinding) gets no token.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ["127.0.0.1", "localhost", "[::1]"].contains(&name)
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{home, is_for_this_machine, is_ours, is_own};
    use crate::identity::Role;
    use axum::http::HeaderMap;

    /// Scenario: addresses to go back to, some of which a browser would take for another host.
    /// Guarantees: only paths of this service are followed.
    #[test]
    fn nobody_is_sent_elsewhere() {
        for good in ["/", "/overview?range=7d", "/dead/task-events/0/5"] {
            assert!(is_ours(good), "{good}");
        }
        for wrong in [
            "",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/a\nb",
            "/ä",
        ] {
            assert!(!is_ours(wrong), "{wrong}");
        }
    }

    /// Scenario: forms of our pages, of other sites, of files, and of programs that say nothing.
    /// Guarantees: only our own are taken; a demo gives tokens to this machine's names alone.
    #[test]
    fn forms_are_taken_from_our_pages_alone() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a header"));
            }
            headers
        };
        assert!(is_own(&headers(&[("origin", "http://127.0.0.1:8480"), ("host", "127.0.0.1:8480")])));
        assert!(is_own(&headers(&[("origin", "https://tally.example"), ("host", "tally.example")])));
        for (origin, host) in [
            ("https://evil.example", "tally.example"),
            ("null", "tally.example"),
            ("https://tally.example.evil", "tally.example"),
            ("tally.example", "tally.example"),
        ] {
            assert!(!is_own(&headers(&[("origin", origin), ("host", host)])), "{origin}");
        }
        assert!(!is_own(&headers(&[("host", "tally.example")])));
        assert!(is_for_this_machine(&headers(&[("host", "localhost:8480")])));
        assert!(!is_for_this_machine(&headers(&[("host", "rebound.example:8480")])));
    }

    /// Scenario: each role signs in without having said where to.
    /// Guarantees: it lands where it has something to see, in the view that it came with.
    #[test]
    fn each_role_has_a_home() {
        assert_eq!(home(Role::Admin, "/?theme=dark"), "/overview?theme=dark");
        for role in Role::ALL {
            assert!(home(role, "/").starts_with('/'), "{role}");
        }
    }
}
