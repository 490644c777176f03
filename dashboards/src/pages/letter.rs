//! One dead letter: why it was refused, the field that was wrong, its bytes, and its replay.
//!
//! The replay is the one thing that a page writes, and the cookie that lets somebody read is not enough for it: see `form`.

use super::Pages;
use super::controls::when;
use super::figure::trouble;
use super::form;
use super::guard::Visitor;
use super::live::Ground;
use super::piece::{
    digest, facts, letter_path, list, moment, or_dash, record_words, section, table, text, trouble_words,
};
use super::shell::{self, Notice, Tone};
use super::symbols::symbol;
use super::view::{Lang, View};
use crate::api::{NewReplay, answers};
use crate::identity::Role;
use crate::problem::Problem;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::Value;
use tally_schemas::Reason;
use url::form_urlencoded;

/// Bytes of a value that are shown; all of them are in the JSON.
const DUMP_BYTES_MAX: usize = 512;
/// Bytes of a line of the dump.
const LINE_BYTES: usize = 16;

type Place = (String, i32, i64);

fn path_of((topic, partition, offset): &Place) -> String {
    letter_path(topic, i64::from(*partition), *offset)
}

/// `GET /dead/{topic}/{partition}/{offset}`.
pub(super) async fn page(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(place): Path<Place>,
    headers: HeaderMap,
) -> Response {
    let (api, who) = (&pages.api, &visitor.principal);
    let view = &visitor.view;
    let lang = view.lang;
    let letter = match answers::dead_letter(api, who, place.clone()).await {
        Ok(letter) => letter,
        Err(problem) => return visitor.refused(&problem),
    };
    // from here on it is this letter, also where the address names a topic that was created anew
    let (name, place) = (place.0, (text(&letter, "topic_id").to_owned(), place.1, place.2));
    let is_admin = who.role == Role::Admin;
    let (fields, bytes, replays, would) = tokio::join!(
        answers::dead_fields(api, who, place.clone()),
        answers::dead_bytes(api, who, place.clone()),
        answers::dead_replays(api, who, place.clone()),
        answers::replay(api, who, place.clone(), NewReplay::default()),
    );
    let path = format!("{}/replay", path_of(&place));
    let form = form::token(&headers, who, &path).filter(|_| is_admin).map(|token| (token, path));
    let name = Some(text(&letter, "topic")).filter(|topic| !topic.is_empty()).unwrap_or(&name);
    let title = format!("{name}/{}/{}", place.1, place.2);
    let body = html! {
        p class="lead" { (reason(text(&letter, "reason"), lang)) " " (record_words(text(&letter, "sentence"), lang)) }
        (about(view, &letter, is_admin))
        @if is_admin {
            (section("fields", lang.say("Fields", "字段"), lang.say("What the bytes say, as far as they can be read.", "按可读取的部分解码。"), &decoded(view, &fields)))
            (section("replay", lang.say("Replay", "重放"), lang.say("What would become of it if it were published now.", "若现在重新发布，结果如何。"), &replay(view, &would, form.as_ref())))
        }
        @if let Ok(replays) = &replays { (section("replays", lang.say("Published again by", "重放记录"), "", &published(view, list(replays, "items")))) }
        @if is_admin { (section("bytes", lang.say("Bytes", "原始字节"), "", &raw(view, &bytes))) }
        p class="more" {
            a href=(view.link("/dead")) { (lang.say("All dead letters", "全部死信")) } " · "
            a href={ "/api/v1/dead-letters" (path_of(&place).trim_start_matches("/dead")) } { "JSON" }
        }
    };
    let before = replays.as_ref().map_or(&[][..], |replays| list(replays, "items"));
    let notices = notices(view, &letter, before);
    shell::page(&visitor, &title, Ground::Letter, (&notices, &body))
}

/// What is said above a letter: whether it is settled, or was published and nothing came of it yet.
fn notices(view: &View, letter: &Value, replays: &[Value]) -> Vec<Notice> {
    let is_published = replays.iter().any(|replay| text(replay, "state") == "PUBLISHED");
    let is_awaited = is_published && letter["is_replayed"] == false;
    let text = match (is_awaited, letter["is_accepted"] == true) {
        (_, true) => view.lang.say(
            "Its event was accepted later: the letter is settled.",
            "其事件后来已被接收：该死信已了结。",
        ),
        (true, false) => view.lang.say(
            "Published. The route takes it within a second or two; then this page says what became of it.",
            "已发布。数据管道将在一两秒内处理，届时此页会显示结果。",
        ),
        (false, false) => return Vec::new(),
    };
    vec![Notice { tone: Tone::Plain, text: text.to_owned() }]
}

/// Why it was refused; in Chinese the name that programs know stands beside.
fn reason(name: &str, lang: Lang) -> Markup {
    let word = symbol(name, lang);
    html! { span class="verdict fail" { (word) } @if word != name { " " code { (name) } } }
}

/// What its publisher can do, which the reason says; empty for a reason of a later version.
fn remedy(lang: Lang, reason: &str) -> &'static str {
    Reason::from_name(reason).map_or("", |reason| lang.say(reason.remedy(), reason.in_chinese().1))
}

/// What everybody may know who may see the letter; and what is kept from those who are no admins.
fn about(view: &View, letter: &Value, is_admin: bool) -> Markup {
    let lang = view.lang;
    let rows = [
        (
            lang.say("Wrong field", "错误字段"),
            html! { @if text(letter, "path").is_empty() { "–" } @else { code { (text(letter, "path")) } } },
        ),
        (lang.say("What to do", "处理建议"), or_dash(remedy(lang, text(letter, "reason")))),
        (lang.say("Appended", "追加于"), moment(view, text(letter, "appended_at"), true)),
        (
            lang.say("Schema", "模式"),
            html! { @if text(letter, "schema").is_empty() { "–" } @else { code { (text(letter, "schema")) } } },
        ),
        (lang.say("Topic identity", "主题标识"), html! { code { (text(letter, "topic_id")) } }),
        ("SHA-256", digest(text(letter, "sha256"))),
        (lang.say("First published at", "首次发布于"), html! { code { (text(letter, "first")) } }),
        (lang.say("Replays", "重放"), html! { (record_words(text(letter, "replays"), lang)) }),
    ];
    html! {
        div class="card" { (facts(&rows)) }
        @if !is_admin { p class="question" id="for-admins" { (lang.say("Bytes, fields and replay are for admins.", "原始字节、字段与重放仅限管理员。")) } }
    }
}

fn decoded(view: &View, fields: &Result<Value, Problem>) -> Markup {
    let lang = view.lang;
    let fields = match fields {
        Ok(fields) => fields,
        Err(problem) => return trouble(view, problem),
    };
    if let Some(why) = fields["unread"].as_str() {
        return html! { p class="empty" { (lang.say("It cannot be read: ", "无法读取：")) (record_words(why, lang)) } };
    }
    let row = |field: &Value| {
        let value = match &field["value"] {
            Value::Null => html! { span class="soft" { (lang.say("absent", "缺失")) } },
            Value::String(text) => html! { code { (text) } },
            other => html! { code { (other) } },
        };
        let is_guilty = field["is_guilty"] == true;
        vec![
            html! { @if is_guilty { strong class="guilty" { code { (text(field, "name")) } } } @else { code { (text(field, "name")) } } },
            html! { span class="value" { (value) } @if is_guilty { " " span class="verdict fail" { (lang.say("wrong", "错误")) } } },
        ]
    };
    let mut rows: Vec<Vec<Markup>> = list(fields, "fields").iter().map(row).collect();
    let stopped = &fields["stopped_at"];
    if stopped.is_object() {
        rows.push(vec![
            html! { strong class="guilty" { code { (text(stopped, "path")) } } },
            html! { span class="verdict fail" { (lang.say("stopped here", "在此中止")) } " " (lang.say("byte", "字节")) " " (stopped["byte_offset"]) ": " (record_words(text(stopped, "problem"), lang)) },
        ]);
    }
    html! {
        (table(("part-fields", &[], lang.say("No field could be read.", "没有可读取的字段。")), &[lang.say("Field", "字段"), lang.say("Value", "值")], &rows))
        @if let Some(rest) = fields["trailing_bytes"].as_u64().filter(|rest| *rest > 0) { p class="soft" { (rest) " " (lang.say("bytes were not read.", "字节未读取。")) } }
    }
}

fn replay(view: &View, would: &Result<Value, Problem>, form: Option<&(String, String)>) -> Markup {
    let lang = view.lang;
    let would = match would {
        Ok(would) => would,
        Err(problem) => {
            return html! { p class="empty" { (lang.say("It cannot be judged just now: ", "目前无法判定：")) (trouble_words(problem, lang)) } };
        }
    };
    let would_be = text(would, "would_be");
    let over = would["passed_over"].as_str();
    let said = match would_be {
        "accepted" => {
            html! { span class="verdict pass" { (lang.say("would be accepted", "将被接收")) } " " (lang.say("as event", "事件")) " " code { (text(would, "event_id")) } }
        }
        "duplicate" => {
            html! { span class="verdict open" { (lang.say("a duplicate", "重复")) } " " (lang.say("of event", "事件")) " " code { (text(would, "event_id")) } ", " (lang.say("which is stored: no figure would change", "已存储，不会改变任何指标")) }
        }
        _ => {
            html! { span class="verdict fail" { (lang.say("would die again", "将再次成为死信")) } " " (symbol(text(would, "reason"), lang)) (lang.say(": ", "：")) span class="sentence" { (record_words(text(would, "sentence"), lang)) } }
        }
    };
    let header = |header: &Value| {
        let value = header["value_hex"]
            .as_str()
            .and_then(|value| hex::decode(value).ok())
            .map(|bytes| bytes.escape_ascii().to_string());
        html! { span class="pair" { code { (text(header, "name")) ": " (value.unwrap_or_else(|| "null".to_owned())) } } " " }
    };
    let rows = [
        (lang.say("Dry run", "试运行"), said),
        (
            lang.say("Topic", "主题"),
            html! { code { (text(would, "topic")) } ", " (lang.say("attempt", "第")) " " (would["attempt"]) (lang.say("", " 次")) },
        ),
        (
            lang.say("Key", "键"),
            html! { code { (would["key_hex"].as_str().and_then(|key| hex::decode(key).ok()).map_or_else(|| "null".to_owned(), |key| key.escape_ascii().to_string())) } },
        ),
        (
            lang.say("Value", "值"),
            html! { (would["value_hex"].as_str().map_or(0, |value| value.len() / 2)) " " (lang.say("bytes, as they are below", "字节，与下方相同")) },
        ),
        (lang.say("Headers", "消息头"), html! { @for one in list(would, "headers") { (header(one)) } }),
    ];
    let is_unknown = would["is_unknown"] == true;
    let may = would_be == "accepted" && (over.is_none() || is_unknown);
    html! {
        div class="card" {
            (facts(&rows))
            @if let Some(over) = over { p class="notice warn" { (lang.say("Passed over: ", "略过：")) (record_words(over, lang)) } }
            @if let Some((token, path)) = form.filter(|_| may) {
                form id="confirm" data-own method="post" action=(view.link(path)) class="confirm" {
                    input type="hidden" name="form" value=(token);
                    @if is_unknown {
                        input type="hidden" name="if_unknown" value="yes";
                        p { (lang.say("Kafka may have it already, or not: look at the end of the topic first. If it has, this one becomes a duplicate, which no figure counts.", "Kafka 可能已有此记录：请先查看主题末尾。若已有，本次将成为重复记录，不计入任何指标。")) }
                    }
                    button type="submit" class="main" { @if is_unknown { (lang.say("Publish it all the same", "仍然发布")) } @else { (lang.say("Publish it again", "重新发布")) } }
                    p class="soft" { (lang.say("The record above goes to Kafka under your name.", "上述记录将以您的名义发布到 Kafka。")) }
                }
            } @else if over.is_none() {
                p class="soft" { (lang.say("There is nothing to publish: mend its cause first.", "无需发布：请先消除原因。")) }
            }
        }
    }
}

fn published(view: &View, replays: &[Value]) -> Markup {
    let lang = view.lang;
    let row = |replay: &Value| {
        let at = match (replay["published_partition"].as_i64(), replay["published_offset"].as_i64()) {
            (Some(partition), Some(offset)) => html! { code { (partition) "/" (offset) } },
            _ => html! { "–" },
        };
        let state = match text(replay, "state") {
            "PUBLISHED" => lang.say("published", "已发布"),
            "NOT_TAKEN" => lang.say("Kafka did not take it", "Kafka 未接收"),
            _ => lang.say("asked for", "已请求"),
        };
        vec![
            html! { (text(replay, "requested_by")) },
            moment(view, text(replay, "requested_at"), false),
            html! { (state) },
            at,
            html! { (replay["attempt"]) },
            html! { code { (text(replay, "replay_id")) } },
        ]
    };
    let rows: Vec<Vec<Markup>> = replays.iter().map(row).collect();
    let heads = [
        lang.say("Who", "操作者"),
        &when(view),
        lang.say("State", "状态"),
        lang.say("Partition and offset", "分区与位点"),
        lang.say("Attempt", "次数"),
        lang.say("Replay", "重放标识"),
    ];
    table(("part-replays", &[4], lang.say("Nobody yet.", "尚无。")), &heads, &rows)
}

fn raw(view: &View, bytes: &Result<Value, Problem>) -> Markup {
    let lang = view.lang;
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(problem) => return trouble(view, problem),
    };
    let readable = |hex: &Value| {
        hex.as_str()
            .and_then(|hex| hex::decode(hex).ok())
            .map_or_else(|| "null".to_owned(), |bytes| bytes.escape_ascii().to_string())
    };
    let value = bytes["value_hex"].as_str().and_then(|value| hex::decode(value).ok()).unwrap_or_default();
    let shown = value.get(..DUMP_BYTES_MAX).unwrap_or(&value);
    html! {
        div class="card" {
            p { (lang.say("Key", "键")) " " code { (readable(&bytes["key_hex"])) } }
            @for one in list(bytes, "headers") { p { (lang.say("Header", "消息头")) " " code { (text(one, "name")) ": " (readable(&one["value_hex"])) } } }
            div class="scroll" tabindex="0" role="region" aria-labelledby="part-bytes-title" {
                pre class="dump" { @for (line, chunk) in shown.chunks(LINE_BYTES).enumerate() { (dumped(line, chunk)) "\n" } }
            }
            @if value.len() > shown.len() { p class="soft" { (shown.len()) " / " (value.len()) " " (lang.say("bytes", "字节")) } }
        }
    }
}

/// One line of a dump: where, bytes, characters.
fn dumped(line: usize, chunk: &[u8]) -> String {
    let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
    let shown = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    format!(
        "{:04x}  {:<47}  {}",
        line * LINE_BYTES,
        hex.join(" "),
        chunk.iter().map(shown).collect::<String>()
    )
}

/// `POST /dead/{topic}/{partition}/{offset}/replay`: publishes it, then shows the letter again.
pub(super) async fn publish(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(place): Path<Place>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let view = &visitor.view.clone().at(&path_of(&place));
    let who = &visitor.principal;
    if let Err(problem) = form::check(&headers, who, &format!("{}/replay", view.path), &body) {
        return shell::not_ours(view, (who, visitor.may_choose), &view.link(&view.path), &problem);
    }
    let if_unknown = form_urlencoded::parse(&body).any(|(name, _)| name == "if_unknown");
    let wanted = NewReplay { execute: true, again: false, if_unknown };
    match answers::replay(&pages.api, who, place.clone(), wanted).await {
        Ok(_) => (StatusCode::SEE_OTHER, [(header::LOCATION, view.link(&view.path))]).into_response(),
        Err(problem) => shell::not_done(view, (who, visitor.may_choose), &view.link(&view.path), &problem),
    }
}

#[cfg(test)]
mod tests {
    use super::{about, dumped};
    use crate::identity::{Principal, Role};
    use crate::pages::shell;
    use crate::pages::view::{Lang, View};
    use crate::problem::{Code, Problem};
    use axum::http::HeaderMap;
    use serde_json::json;
    use tally_schemas::Reason;

    /// Scenario: a form is refused since the letter was replayed, since Kafka said nothing, and since the store does not answer.
    /// Guarantees: the first says that nothing was sent, the second does not say so and names where to look, both lead to the letter; the
    /// third is the page's own refusal.
    #[tokio::test]
    async fn a_refused_replay_says_whether_something_was_sent() {
        let who = Principal {
            subject: "olga".to_owned(),
            role: Role::Admin,
            scopes: Vec::new(),
            token_id: "1".to_owned(),
            issued_at_s: 0,
            expires_at_s: 900,
        };
        let view = View::plain(&HeaderMap::new());
        for (code, status, title, is_letter) in [
            (Code::Conflict, 409, "Nothing was sent to Kafka", true),
            (Code::LogUnavailable, 503, "look there before you ask once more", true),
            (Code::StoreUnavailable, 503, "Nothing is lost", false),
        ] {
            let problem = Problem::because(code, "why it is so");
            let answer = shell::not_done(&view, (&who, false), "/dead/t/0/1", &problem);
            assert_eq!(answer.status().as_u16(), status);
            let page = axum::body::to_bytes(answer.into_body(), 1 << 20).await.expect("a page");
            let page = String::from_utf8_lossy(&page);
            assert!(page.contains(title) && page.contains("why it is so"), "{page}");
            assert_eq!(page.contains("href=\"/dead/t/0/1\""), is_letter, "{page}");
            assert!(!page.contains("This address cannot be understood"), "{page}");
        }
    }

    /// Scenario: a letter of each reason, of which nothing but the letter itself is known, before an admin and before others, in both
    /// languages; and one of a reason that a later version gave.
    /// Guarantees: everybody is told what to do; who is no admin is told that there is more, and for whom.
    #[test]
    fn everybody_is_told_what_to_do() {
        let of = |lang| {
            let mut view = View::plain(&HeaderMap::new());
            view.lang = lang;
            view
        };
        let admins = |page: &str| page.contains("for admins") || page.contains("仅限管理员");
        for reason in Reason::ALL {
            let letter = json!({ "reason": reason.name(), "appended_at": "2026-06-01T12:00:00Z" });
            let [en, zh] = [Lang::En, Lang::Zh].map(|lang| about(&of(lang), &letter, false).0);
            assert!(en.contains(&maud::html! { (reason.remedy()) }.0) && admins(&en), "{en}");
            assert!(zh.contains("请") && admins(&zh) && !zh.contains(reason.remedy()), "{zh}");
            assert!(!admins(&about(&of(Lang::Zh), &letter, true).0));
        }
        assert!(
            about(&of(Lang::En), &json!({ "reason": "of_a_later_version" }), false).0.contains("<dd>–</dd>")
        );
    }

    /// Scenario: bytes of all sorts, and the last line of a value.
    /// Guarantees: a line has its place, all bytes, and dots for what is no character.
    #[test]
    fn bytes_are_dumped() {
        assert_eq!(dumped(1, b"\x00\xffaz"), format!("0010  {:<47}  ..az", "00 ff 61 7a"));
        assert_eq!(dumped(0, &[b'a'; 16]).len(), 4 + 2 + 47 + 2 + 16);
    }
}
