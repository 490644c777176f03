//! Small pieces that several pages are made of: moments, digests, places, lists of facts, and tables with links.

use super::view::{Lang, View};
use crate::api::{Moment, segment};
use crate::problem::Problem;
use maud::{Markup, html};
use serde_json::Value;
use std::borrow::Cow;

/// Digits of a digest that are shown; the whole one stands beside, for whoever points at it or copies it.
const DIGEST_CHARS: usize = 12;

/// A text of an answer; empty where it is none.
pub(super) fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// A list of an answer.
pub(super) fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

/// A moment of an answer, RFC 3339, in the reader's zone; with fractions where `exact`.
pub(super) fn moment(view: &View, at: &str, exact: bool) -> Markup {
    match Moment::parse("at", at) {
        Ok(us) => html! { time datetime=(at) { (view.time(us.0, exact)) } },
        Err(_) => html! { "–" },
    }
}

/// A digest: as much of it as tells it from others.
pub(super) fn digest(hex: &str) -> Markup {
    let short = hex.get(..DIGEST_CHARS).unwrap_or(hex);
    html! { @if hex.is_empty() { "–" } @else { code title=(hex) { (short) "…" } } }
}

/// A text, or a dash where there is none.
pub(super) fn or_dash(text: &str) -> Markup {
    html! { @if text.is_empty() { "–" } @else { (text) } }
}

/// A link to a task.
pub(super) fn task_link(view: &View, task_id: &str) -> Markup {
    html! {
        @if task_id.is_empty() { "–" }
        @else { a href=(view.link(&format!("/task/{}", segment(task_id)))) { code { (task_id) } } }
    }
}

/// The page of a dead letter, by the identity of its topic: a topic that was created anew has the same name, and other letters.
pub(super) fn letter_path(topic: &str, partition: i64, offset: i64) -> String {
    format!("/dead/{}/{partition}/{offset}", segment(topic))
}

/// A name and what it is, a row each.
pub(super) fn facts(rows: &[(&str, Markup)]) -> Markup {
    html! {
        dl class="facts" { @for (name, what) in rows { div { dt { (name) } dd { (what) } } } }
    }
}

/// A part of a page with a heading. `note` is said beside it.
pub(super) fn section(id: &str, title: &str, note: &str, body: &Markup) -> Markup {
    html! {
        section class="group" id={ "part-" (id) } aria-labelledby={ "part-" (id) "-title" } {
            h2 id={ "part-" (id) "-title" } { (title) }
            @if !note.is_empty() { p class="question note" { (note) } }
            (body)
        }
    }
}

/// A table in a card, under the heading `{id}-title`; columns of numbers are named by `numbers`. Without rows, what `empty` says.
pub(super) fn table(
    (id, numbers, empty): (&str, &[usize], &str),
    heads: &[&str],
    rows: &[Vec<Markup>],
) -> Markup {
    html! {
        @if rows.is_empty() { p class="empty" { (empty) } }
        @else { div class={ "panel" @if numbers.len() < 2 { " stack" } } id={ (id) "-rows" } { (rows_of(id, numbers, (heads, rows))) } }
    }
}

/// Behind a list that goes on: the link to what follows, and to its beginning where one stands in the middle of it.
pub(super) fn onward(
    view: &View,
    (path, kept): (&str, &[(&str, &str)]),
    next: Option<&str>,
    name: &str,
) -> Markup {
    let is_middle = view.filter("cursor").is_some();
    html! {
        @if is_middle || next.is_some() {
            p class="more" {
                @if is_middle { a href=(view.link_with(path, kept)) { (view.lang.say("From the beginning", "从头显示")) } }
                @if is_middle && next.is_some() { " · " }
                @if let Some(next) = next { a rel="next" href=(view.link_with(path, &[kept, &[("cursor", next)]].concat())) { (name) } }
            }
        }
    }
}

/// The table alone. Its roles are said, since a narrow window may lay it out as a list: one in which a lone number needs no heading.
pub(super) fn rows_of(id: &str, numbers: &[usize], (heads, rows): (&[&str], &[Vec<Markup>])) -> Markup {
    let class = |at: usize| numbers.contains(&at).then_some("n");
    html! {
        div class="scroll" tabindex="0" role="region" aria-labelledby={ (id) "-title" } {
            table role="table" {
                thead role="rowgroup" { tr role="row" { @for (at, head) in heads.iter().enumerate() { th scope="col" role="columnheader" class=[class(at)] { (head) } } } }
                tbody role="rowgroup" {
                    @for row in rows {
                        tr role="row" {
                            @for (at, cell) in row.iter().enumerate() {
                                @if at == 0 { th scope="row" role="rowheader" class=[class(at)] { (cell) } } @else { td role="cell" class=[class(at)] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How the sealed log stands to a record, and what a verification found: a word and a shape.
pub(super) fn standing(state: &str, lang: Lang) -> Markup {
    let (class, word) = match state {
        "sealed" => ("pass", lang.say("sealed", "已封印")),
        "verified" | "VERIFIED" => ("pass", lang.say("verified", "已验证")),
        "altered" => ("fail", lang.say("altered", "被篡改")),
        "TAMPERED" => ("fail", lang.say("tampered", "被篡改")),
        "unsealed" => ("open", lang.say("not sealed yet", "尚未封印")),
        "incomplete" | "INCOMPLETE" => ("warn", lang.say("incomplete", "不完整")),
        "unchecked" | "UNCHECKED" => ("warn", lang.say("could not be checked", "无法检查")),
        "nothing" => ("open", lang.say("no record", "无记录")),
        _ => ("open", lang.say("no seals here", "此服务未配置封印")),
    };
    html! { span class={ "verdict " (class) } { (word) } }
}

/// A share as its pair, and in per cent so that it never reads as all where it is not.
pub(super) fn share(numerator: i64, denominator: i64) -> String {
    if denominator <= 0 {
        return "–".to_owned();
    }
    // thousandths of a per cent, cut and not rounded: 99.9996 % is not 100 %
    let parts = i128::from(numerator) * 100_000 / i128::from(denominator);
    let text = format!("{}.{:03}", parts / 1_000, (parts % 1_000).abs());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// What the audit has recorded, in the reader's language: sentences, rules, names of figures.
pub(super) fn audit_words(text: &str, lang: Lang) -> Cow<'_, str> {
    match lang {
        Lang::En => Cow::Borrowed(text),
        Lang::Zh => tally_queries::audit::in_chinese(text),
    }
}

/// A sentence of the audit in the reader's language, the moments in it in the reader's zone; with the fractions that they have where `exact`.
pub(super) fn audit_sentence(text: &str, view: &View, exact: bool) -> String {
    /// As many letters as a moment has before its fraction.
    const MOMENT: usize = "1970-01-01T00:00:00".len();
    let said = audit_words(text, view.lang);
    let (mut left, mut shown) = (said.as_ref(), String::new());
    while let Some(at) = left.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = left.split_at(at);
        shown.push_str(before);
        let fraction = number.get(MOMENT..).unwrap_or_default();
        let rest = fraction.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
        let length = number.len() - rest.len() + 1;
        let moment = number.get(..length).filter(|_| rest.starts_with('Z'));
        if let Some(moment) = moment.and_then(|text| Moment::parse("", text).ok()) {
            shown.push_str(&view.time(moment.0, exact && fraction.starts_with('.')));
            left = &number[length..];
        } else {
            let digits = number.len() - number.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            shown.push_str(&number[..digits]);
            left = &number[digits..];
        }
    }
    shown + left
}

/// What is recorded of one record, in the reader's language: why it was refused, what became of it, how the sealed log stands to it.
pub(super) fn record_words(text: &str, lang: Lang) -> Cow<'_, str> {
    match lang {
        Lang::En => Cow::Borrowed(text),
        Lang::Zh => tally_queries::record_in_chinese(text),
    }
}

/// What went wrong, in a word or two.
pub(super) fn trouble_title(problem: &Problem, lang: Lang) -> &'static str {
    lang.say(problem.code().title(), problem.code().title_in_chinese())
}

/// What is wrong with this request, where there is more to say.
pub(super) fn trouble_detail(problem: &Problem, lang: Lang) -> Option<Cow<'_, str>> {
    match lang {
        Lang::En => problem.detail().map(Cow::Borrowed),
        Lang::Zh => problem.detail_in_chinese(),
    }
}

/// What went wrong, as exactly as it is known.
pub(super) fn trouble_words(problem: &Problem, lang: Lang) -> Cow<'_, str> {
    trouble_detail(problem, lang).unwrap_or(Cow::Borrowed(trouble_title(problem, lang)))
}

#[cfg(test)]
mod tests {
    use super::{View, audit_sentence, share};
    use axum::http::HeaderMap;

    /// Scenario: sentences with moments, whole and with a fraction, beside other numbers; without any; that end in what might become one.
    /// Guarantees: moments are said as on the rest of the page, and everything else stays as it is.
    #[test]
    fn moments_in_sentences_are_the_readers() {
        let view = View::plain(&HeaderMap::new());
        let said = |text: &str| audit_sentence(text, &view, true);
        let at =
            "2 tasks since 2026-06-01T10:00:00Z, of 2026-06-01T10:00:01.500Z–2026-06-01T10:00:02Z: 3.5 %";
        assert_eq!(
            said(at),
            "2 tasks since 2026-06-01 10:00:00, of 2026-06-01 10:00:01.500000–2026-06-01 10:00:02: 3.5 %"
        );
        let plain = audit_sentence("since 2026-06-01T10:00:01.500Z", &view, false);
        assert_eq!(plain, "since 2026-06-01 10:00:01");
        for same in
            ["", "of 1,000 tasks é 7", "2026-06-01T10:00:0", "2026-06-01T10:00:00", "2026-13-01T10:00:00Z"]
        {
            assert_eq!(said(same), same);
        }
    }

    /// Scenario: shares that are all, nearly all, none, and of nothing.
    /// Guarantees: only all reads as 100 %, and no share as more than it is.
    #[test]
    fn shares_are_cut() {
        assert_eq!(share(999, 1_000), "99.9 %");
        assert_eq!(share(1_000, 1_000), "100 %");
        assert_eq!(share(9_999_999, 10_000_000), "99.999 %");
        assert_eq!(share(i64::MAX - 1, i64::MAX), "99.999 %");
        assert_eq!(share(0, 7), "0 %");
        assert_eq!(share(1, 3), "33.333 %");
        assert_eq!(share(0, 0), "–");
    }
}
