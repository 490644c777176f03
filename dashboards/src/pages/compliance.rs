//! What the audit says now and over time, what it rests on, and what was refused.

use super::Pages;
use super::figure::{figure, framed};
use super::guard::Visitor;
use super::jobs::{self, Said, at};
use super::live::Ground;
use super::piece::{letter_path, list, moment, record_words, rows_of, section, table, text};
use super::sheet::Sheet;
use super::shell::{self, Notice, Tone};
use super::symbols::symbol;
use super::view::{Lang, View};
use crate::api::{Moment, answers};
use crate::panel::Answer;
use crate::problem::Problem;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};

/// Dead letters that are shown here; the rest has a page of its own.
const LETTERS_SHOWN: u32 = 10;
/// `GET /compliance`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let api = &pages.api;
    let (from, to) = view.range_us();
    let latest_of = json!({ "from": Moment(from).text(), "to": Moment(to).text(), "limit": LETTERS_SHOWN });
    let (sheet, refused, letters) = tokio::join!(
        Sheet::ask(api, &visitor, "compliance"),
        Sheet::ask(api, &visitor, "dead"),
        answers::dead_letters(api, &visitor.principal, latest_of),
    );
    let (sheet, refused) = match sheet.and_then(|sheet| Ok((sheet, refused?))) {
        Ok(sheets) => sheets,
        Err(problem) => return visitor.refused(&problem),
    };
    let grid = |sheet: &Sheet, ids: &[&str]| {
        let figure = |id: &&str| sheet.panel(id).map(|(panel, answer)| figure(view, panel, answer));
        html! { div class="grid" { @for figure in ids.iter().filter_map(figure) { (figure) } } }
    };
    let note = lang.say(
        "A share opens the result with its offenders. Each mark is an earlier result.",
        "点击占比可查看结果及违规项；每个标记是一次历史结果。",
    );
    let body = html! {
        (section("verdicts", lang.say("Verdicts", "审计结论"), note, &jobs::verdicts(view, &sheet)))
        (section("offsets", lang.say("Offsets", "位点"), "", &html! { div class="grid one" { @if let Some(tiling) = tiling(view, &sheet) { (tiling) } } }))
        (section("log", lang.say("Seals and verification", "封印与验证"), "", &html! { (verified(view, &sheet)) (grid(&sheet, &["verifications"])) (grid(&sheet, &["seals"])) }))
        (section("refused", lang.say("Dead letters", "死信"), "", &html! { (grid(&refused, &["dead-reasons", "dead-over-time"])) (latest(view, &letters)) }))
    };
    let title = lang.say("Compliance", "合规");
    shell::page(&visitor, title, Ground::Range(sheet.window), (&notices(view, &sheet), &body))
}

/// Said above the page: what fails, before anything else is read.
fn notices(view: &View, sheet: &Sheet) -> Vec<Notice> {
    let mut notices = sheet.notices(view);
    if let Some(answer) = sheet.answer("verifications")
        && let (runs, _, Some(tampered)) = runs(answer)
        && let Some(run) = runs.get(tampered)
    {
        let said = view.lang.say("tally verify found rows that were altered", "tally verify 发现数据被篡改");
        let when = view.time(run.number("verified_us"), false);
        notices.push(Notice {
            tone: Tone::Bad,
            text: format!("{said}: {when}, {}", record_words(run.text("scope"), view.lang)),
        });
    }
    notices.extend(jobs::notices(view, sheet));
    notices
}

/// Each partition with a picture of how it is tiled.
fn tiling(view: &View, sheet: &Sheet) -> Option<Markup> {
    let (panel, asked) = sheet.panel("tiling")?;
    let Ok(answer) = asked else { return Some(figure(view, panel, asked)) };
    if answer.rows.is_empty() {
        return Some(figure(view, panel, asked));
    }
    let lang = view.lang;
    let heads = [
        lang.say("Partition", "分区"),
        lang.say("Tiling", "铺设"),
        lang.say("Offsets", "位点"),
        lang.say("Accepted", "已接收"),
        lang.say("Dead letters", "死信"),
        lang.say("Absent", "合法空缺"),
        lang.say("Holes", "空洞"),
        lang.say("Overlaps", "重叠"),
        lang.say("To be taken", "待取"),
        lang.say("Looked at", "查看于"),
    ];
    let row = |said: &Said<'_>| {
        let number = |name: &str| html! { (super::number::grouped(said.text(name))) };
        let bad = |name: &str| html! { @if said.number(name) > 0 { strong class="bad" { (number(name)) } } @else { "0" } };
        vec![
            html! { (said.text("topic")) " / " (said.text("partition")) },
            tiles(said),
            html! { (number("first")) " – " (number("next")) },
            number("accepted"),
            number("dead"),
            html! { (number("absent")) @if said.number("expired") > 0 { " " strong class="bad" { "(" (number("expired")) " " (lang.say("expired", "已过期")) ")" } } },
            bad("holes"),
            bad("overlaps"),
            number("untaken"),
            html! { @if said.text("seen_at").is_empty() { "–" } @else { (at(view, said.number("seen_at"))) } },
        ]
    };
    let said = Said::all(answer);
    let rows: Vec<Vec<Markup>> = said.iter().map(row).collect();
    Some(framed(view, panel, Some(answer), &rows_of("tiling", &[2, 3, 4, 5, 6, 7, 8], (&heads, &rows))))
}

/// Width of the picture, in its own units.
const TILES_WIDTH: i64 = 1_000;

/// How the offsets of one partition are accounted for: a length each, holes at least wide enough to be seen.
fn tiles(said: &Said<'_>) -> Markup {
    let parts = [
        ("accepted", said.number("accepted")),
        ("dead", said.number("dead")),
        ("absent", said.number("absent")),
        ("hole", said.number("holes")),
        ("untaken", said.number("untaken")),
    ];
    let total: i128 = parts.iter().map(|(_, count)| i128::from(*count).max(0)).sum();
    if total == 0 {
        return html! { "–" };
    }
    let mut from = 0;
    let mut placed = Vec::new();
    for (class, count) in parts.into_iter().filter(|(_, count)| *count > 0) {
        let width = i64::try_from(i128::from(count) * i128::from(TILES_WIDTH) / total).unwrap_or(0).max(8);
        placed.push((class, from, width));
        from += width;
    }
    html! {
        svg class="tiling" viewBox={ "0 0 " (from) " 60" } preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            @for (class, x, width) in placed { rect class=(class) x=(x) y="0" width=(width) height="60" {} }
        }
    }
}

/// Of runs of `tally verify`, the latest first, by scope and verdict: the last one over everything, and the last one since that found
/// something altered. Only a later run over everything takes such a finding back.
fn standing_of(runs: &[(&str, &str)]) -> (Option<usize>, Option<usize>) {
    let whole = runs.iter().position(|(scope, _)| *scope == "all");
    let since = whole.map_or(runs, |whole| runs.get(..=whole).unwrap_or(runs));
    (whole, since.iter().position(|(_, verdict)| *verdict == "TAMPERED"))
}

/// Runs of `tally verify`, the latest first, and which of them count.
fn runs(answer: &Answer) -> (Vec<Said<'_>>, Option<usize>, Option<usize>) {
    let runs = Said::all(answer);
    let said: Vec<(&str, &str)> = runs.iter().map(|run| (run.text("scope"), run.text("verdict"))).collect();
    let (whole, tampered) = standing_of(&said);
    (runs, whole, tampered)
}

/// How long ago that was, in whole minutes, hours or days.
fn age(us: i64, lang: Lang) -> String {
    let minutes = crate::api::Moment::now().0.saturating_sub(us).max(0) / 60_000_000;
    match minutes {
        0..120 => format!("{minutes} {}", lang.say("minutes ago", "分钟前")),
        120..2_880 => format!("{} {}", minutes / 60, lang.say("hours ago", "小时前")),
        _ => format!("{} {}", minutes / 1_440, lang.say("days ago", "天前")),
    }
}

/// When somebody last computed everything again, or that nobody has; and what was looked at in part since.
fn verified(view: &View, sheet: &Sheet) -> Markup {
    let lang = view.lang;
    let Some((_, asked)) = sheet.panel("verifications") else { return html! {} };
    let answer = match asked {
        Ok(answer) => answer,
        Err(problem) => {
            return html! { div id="last-verification" { (super::figure::trouble(view, problem)) } };
        }
    };
    let (runs, whole, _) = runs(answer);
    let one = |run: &Said<'_>| {
        html! {
            (at(view, run.number("verified_us"))) " (" (age(run.number("verified_us"), lang)) "), "
            (super::piece::standing(run.text("verdict"), lang)) ", " (super::number::grouped(run.text("leaves"))) " " (lang.say("leaves", "个叶子"))
        }
    };
    let last = whole.and_then(|whole| runs.get(whole));
    let part = runs.first().filter(|_| whole != Some(0));
    html! {
        p class={ "notice" @if last.is_none_or(|run| run.text("verdict") != "VERIFIED") { " warn" } } id="last-verification" {
            (lang.say("Last verification of everything: ", "最近一次全量验证："))
            @if let Some(run) = last { (one(run)) "." } @else {
                (lang.say("never. ", "从未。")) (lang.say("Run ", "请运行 ")) code { "tally verify --keys KEY.pub" }
                (lang.say(": nothing here has been computed again as a whole.", "：此处的数据尚未全量复核。"))
            }
            @if let Some(run) = part {
                " " (lang.say("Since then in part, ", "此后的部分验证，")) (record_words(run.text("scope"), lang)) (lang.say(": ", "：")) (one(run)) (lang.say(". ", "。"))
                (lang.say("A part does not ask whether facts were added.", "部分验证不检查是否有新增的事实。"))
            }
        }
    }
}

/// The latest dead letters, each with its page.
fn latest(view: &View, letters: &Result<Value, Problem>) -> Markup {
    let lang = view.lang;
    let body = match letters {
        Err(problem) => super::figure::trouble(view, problem),
        Ok(letters) => table_of_letters(view, ("part-refused", list(letters, "items"))),
    };
    html! {
        h3 class="over" { (lang.say("The latest", "最近的死信")) }
        (body)
        p class="more" { a href=(view.link("/dead")) { (lang.say("All dead letters", "全部死信")) } }
    }
}

/// Dead letters as a table.
pub(super) fn table_of_letters(view: &View, (id, letters): (&str, &[Value])) -> Markup {
    let lang = view.lang;
    let heads = [
        lang.say("Where", "位置"),
        lang.say("Appended", "追加于"),
        lang.say("Reason", "原因"),
        lang.say("Field", "字段"),
        lang.say("What was wrong", "说明"),
        lang.say("Bytes", "字节"),
    ];
    let row = |letter: &Value| {
        let number = |name: &str| letter[name].as_i64().unwrap_or_default();
        let (topic, partition, offset) = (text(letter, "topic"), number("partition"), number("offset"));
        vec![
            html! { a href=(view.link(&letter_path(text(letter, "topic_id"), partition, offset))) { code { (topic) "/" (partition) "/" (offset) } } },
            moment(view, text(letter, "appended_at"), false),
            html! { span title=(text(letter, "reason")) { (symbol(text(letter, "reason"), lang)) } @if letter["is_settled"] == true { " " span class="soft" { (lang.say("settled", "已了结")) } } },
            html! { @if text(letter, "path").is_empty() { "–" } @else { code { (text(letter, "path")) } } },
            html! { span class="cut" { (record_words(text(letter, "sentence"), lang)) } },
            html! { (number("bytes")) " B" },
        ]
    };
    let rows: Vec<Vec<Markup>> = letters.iter().map(row).collect();
    table((id, &[5], lang.say("Nothing was refused.", "没有被拒收的事件。")), &heads, &rows)
}

#[cfg(test)]
mod tests {
    use super::standing_of;

    /// Scenario: runs over everything and over parts, the latest first.
    /// Guarantees: the last one over everything counts, not a later part; what was found altered stands until everything was verified
    /// after it, however many parts were.
    #[test]
    fn a_part_takes_no_finding_back() {
        let (all, part) = (("all", "VERIFIED"), ("sample of 10", "VERIFIED"));
        let (altered, altered_part) = (("all", "TAMPERED"), ("since 2026-06-01", "TAMPERED"));
        assert_eq!(standing_of(&[]), (None, None));
        assert_eq!(standing_of(&[part, part]), (None, None));
        assert_eq!(standing_of(&[part, all, altered]), (Some(1), None));
        assert_eq!(standing_of(&[part, part, altered, all]), (Some(2), Some(2)));
        assert_eq!(standing_of(&[part, altered_part, all]), (Some(2), Some(1)));
        assert_eq!(standing_of(&[all, altered_part, altered]), (Some(0), None));
        assert_eq!(standing_of(&[part, altered_part]), (None, Some(1)));
    }
}
