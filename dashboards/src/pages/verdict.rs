//! One result of an audit job: what it says, who broke the rule, and what it was computed from.

use super::Pages;
use super::controls::zone_name;
use super::figure::verdict;
use super::guard::Visitor;
use super::jobs::job_title;
use super::live::Ground;
use super::number::grouped;
use super::piece::{audit_sentence, audit_words, digest, facts, list, section, share, table, text};
use super::shell;
use super::symbols::symbol;
use super::view::{Lang, View};
use crate::api::{Moment, answers};
use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;
use uuid::Uuid;

/// Figures in which a second opinion differs that are named.
const DIFFERENCES_SHOWN: usize = 20;

/// `GET /verdict/{result_id}`.
pub(super) async fn page(
    State(pages): State<Pages>,
    visitor: Visitor,
    Path(result_id): Path<Uuid>,
) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let found = answers::result(&pages.api, &visitor.principal, result_id).await;
    let (result, offenders) = match found {
        Ok(found) => found,
        Err(problem) => return visitor.refused(&problem),
    };
    let title = format!(
        "{}: {}",
        job_title(text(&result, "job"), lang),
        share(number(&result, "numerator"), number(&result, "denominator"))
    );
    let offenders = offenders.as_array().map_or(&[][..], Vec::as_slice);
    let total = number(&result, "offenders_total");
    let shown = i64::try_from(offenders.len()).unwrap_or(i64::MAX);
    let note = match total > shown {
        true => format!(
            "{} {} / {}",
            lang.say("the first", "前"),
            grouped(&shown.to_string()),
            grouped(&total.to_string())
        ),
        false => String::new(),
    };
    let body = html! {
        p class="lead" { (verdict(text(&result, "verdict"), lang)) " " (audit_sentence(text(&result, "sentence"), view, true)) }
        (section("offenders", lang.say("Who broke the rule", "违规项"), &note, &broken(view, offenders)))
        (section("measures", lang.say("Figures", "指标"), "", &measures(view, list(&result, "measures"))))
        (section("rests", lang.say("What it rests on", "依据"), "", &rests(view, &result)))
        p class="more" {
            a href=(view.link("/compliance")) { (lang.say("Back to compliance", "返回合规页")) } " · "
            a href={ "/api/v1/audit/results/" (result_id) } { "JSON" }
        }
    };
    shell::page(&visitor, &title, Ground::Past, (&[], &body))
}

fn number(of: &Value, name: &str) -> i64 {
    of[name].as_i64().unwrap_or_default()
}

fn when(view: &View, us: i64) -> Markup {
    match us {
        i64::MAX => html! { (view.lang.say("the end", "终点")) },
        us => html! { time datetime=(Moment(us).text()) { (view.time(us, false)) } },
    }
}

fn broken(view: &View, offenders: &[Value]) -> Markup {
    let lang = view.lang;
    let row = |offender: &Value| {
        let id = text(offender, "id");
        let page = offender["page"].as_str();
        vec![
            html! { @if let Some(page) = page { a href=(view.link(page)) { code { (id) } } } @else { code { (id) } } },
            html! { (audit_words(&text(offender, "why").replace('_', " "), lang)) },
            html! { span class="cut" { (audit_sentence(text(offender, "detail"), view, true)) } },
        ]
    };
    let rows: Vec<Vec<Markup>> = offenders.iter().map(row).collect();
    let heads = [lang.say("Who", "对象"), lang.say("Rule", "规则"), lang.say("What is known", "已知情况")];
    table(("part-offenders", &[], lang.say("Nobody.", "无。")), &heads, &rows)
}

fn measures(view: &View, measures: &[Value]) -> Markup {
    let lang = view.lang;
    let target =
        |measure: &Value| match (text(&measure["target"], "rule"), measure["target"]["permille"].as_i64()) {
            ("at_least", Some(permille)) => format!("≥ {}", share(permille, 1_000)),
            ("below", Some(permille)) => format!("< {}", share(permille, 1_000)),
            _ => "–".to_owned(),
        };
    let row = |measure: &Value| {
        let (numerator, denominator) = (number(measure, "numerator"), number(measure, "denominator"));
        vec![
            html! { (audit_words(text(measure, "name"), lang)) },
            html! { (symbol(&audit_words(text(measure, "group"), lang), lang)) },
            html! { (grouped(&numerator.to_string())) " / " (grouped(&denominator.to_string())) " " (audit_words(text(measure, "unit"), lang)) },
            html! { (share(numerator, denominator)) },
            html! { (target(measure)) },
            html! { @if let Some(name) = measure["verdict"].as_str() { (verdict(name, lang)) } @else { "–" } },
        ]
    };
    let rows: Vec<Vec<Markup>> = measures.iter().map(row).collect();
    let heads = [
        lang.say("Figure", "指标"),
        lang.say("Of", "分组"),
        lang.say("Count", "计数"),
        lang.say("Share", "占比"),
        lang.say("Target", "目标"),
        lang.say("Verdict", "结论"),
    ];
    table(("part-measures", &[2, 3, 4], lang.say("None.", "无。")), &heads, &rows)
}

/// Whether events may yet come into a window.
fn state(name: &str, lang: Lang) -> String {
    match name {
        "OPEN" => lang.say("open", "未关闭").to_owned(),
        "CLOSED" => lang.say("closed", "已关闭").to_owned(),
        "SEALED" => lang.say("sealed", "已封印").to_owned(),
        other => other.to_lowercase(),
    }
}

/// Where rows came from, or who computed anew: names of programs, but for these words.
fn program(name: &str, lang: Lang) -> String {
    match lang {
        Lang::En => name.to_owned(),
        Lang::Zh => name.replace(", second plan", "（第二种查询计划）"),
    }
}

fn rests(view: &View, result: &Value) -> Markup {
    let lang = view.lang;
    let window = &result["window"];
    let restates = &result["restates"];
    let hashes = result["sql_sha256"].as_object();
    let rows = [
        (
            lang.say("Window", "时段"),
            html! { (when(view, number(window, "from_us"))) " – " (when(view, number(window, "to_us"))) " " span class="zone" { (zone_name(view)) } " (" (state(text(window, "state"), lang)) ")" },
        ),
        (lang.say("Known at", "得知于"), when(view, number(result, "known_at_us"))),
        (
            lang.say("Rows read", "读取行数"),
            html! { (grouped(&result["input"]["rows_read"].to_string())) " (" (program(text(&result["input"], "source"), lang)) ")" },
        ),
        (lang.say("Second opinion", "独立复算"), second(view, &result["cross_check"])),
        (
            lang.say("Restates", "更正"),
            html! {
                @if restates.is_null() { "–" }
                @else { a href=(view.link(&format!("/verdict/{}", text(restates, "result_id")))) { (verdict(text(restates, "verdict"), lang)) } }
            },
        ),
        (
            lang.say("Programs", "程序"),
            html! { "tally " (text(&result["versions"], "tally")) ", DataFusion " (text(&result["versions"], "datafusion")) ", ClickHouse " (text(&result["versions"], "clickhouse")) },
        ),
        (
            lang.say("SQL, SHA-256", "SQL 的 SHA-256"),
            html! {
                @for (name, hash) in hashes.into_iter().flatten() { span class="pair" { (name) " " (digest(hash.as_str().unwrap_or_default())) } " " }
            },
        ),
    ];
    html! { div class="card" { (facts(&rows)) } }
}

/// What came of computing it another way: where that differs, in which figures. Nobody has looked at what could not be checked.
fn second(view: &View, opinion: &Value) -> Markup {
    let lang = view.lang;
    let by = text(opinion, "by");
    if by.is_empty() {
        return html! { (lang.say("none was made", "未作复算")) };
    }
    let differences = list(opinion, "differences");
    let rest = differences.len().saturating_sub(DIFFERENCES_SHOWN);
    html! {
        @if opinion["agrees"] == true { (lang.say("agrees", "一致")) } @else { strong class="bad" { (lang.say("differs", "不一致")) } } ", " (program(by, lang))
        @for difference in &differences[..differences.len() - rest] {
            @let count = |name| grouped(&number(difference, name).to_string());
            br;
            code { (text(difference, "figure")) } " " (lang.say("here", "本次")) " " (count("before")) ", " (lang.say("there", "复算")) " " (count("after"))
        }
        @if rest > 0 { br; (lang.say("and more: ", "另有：")) (rest) }
    }
}

#[cfg(test)]
mod tests {
    use super::{DIFFERENCES_SHOWN, second};
    use crate::pages::view::View;
    use axum::http::HeaderMap;
    use serde_json::{Value, json};

    /// Scenario: a second opinion that agrees, one that differs, one that differs in more figures than are shown, and none, as where a job
    /// could not be run.
    /// Guarantees: none accuses nobody; where one differs it is said in which figures, and by how much.
    #[test]
    fn a_second_opinion_is_said_only_where_there_is_one() {
        let said = |opinion: &Value| {
            let view = View::read("lang=en", &HeaderMap::new()).expect("a view");
            second(&view, opinion).0
        };
        let opinion = |agrees: bool, differences: &[Value]| json!({ "by": "ClickHouse 26.7", "agrees": agrees, "differences": differences });
        assert_eq!(said(&json!({ "by": "", "agrees": false, "differences": [] })), "none was made");
        assert_eq!(said(&opinion(true, &[])), "agrees, ClickHouse 26.7");
        let one = json!({ "figure": "submitted", "before": 1_200, "after": 1_199 });
        let differs = said(&opinion(false, std::slice::from_ref(&one)));
        assert!(differs.contains("differs") && differs.contains("ClickHouse 26.7"), "{differs}");
        assert!(differs.contains("<code>submitted</code> here 1,200, there 1,199"), "{differs}");
        let many = said(&opinion(false, &vec![one; DIFFERENCES_SHOWN + 3]));
        assert_eq!(many.matches("<code>").count(), DIFFERENCES_SHOWN);
        assert!(many.ends_with("and more: 3"), "{many}");
    }
}
