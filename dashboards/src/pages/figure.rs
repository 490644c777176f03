//! A panel on a page: a figure with its question, its source, its table, and the links to its data. The table is the figure; a
//! script makes the picture from it.

use super::number::{shown, symbol};
use super::picture;
use super::piece::trouble_title;
use super::symbols::{source, verdict_word};
use super::view::{Lang, View};
use crate::api::Moment;
use crate::panel::{Answer, Chart, Column, Panel, Sense, Threshold, Unit};
use crate::problem::Problem;
use maud::{Markup, html};
use std::collections::BTreeMap;
use url::form_urlencoded;

/// Where a panel's data lies, for the same range, as a path.
fn data_link(view: &View, panel: &Panel, form: &str) -> String {
    let (from, to) = view.range_us();
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("from", &Moment(from).text())
        .append_pair("to", &Moment(to).text())
        .append_pair("form", form);
    format!("/api/v1/panels/{}?{}", panel.id, query.finish())
}

/// The figure of a panel, or why there is none.
pub(crate) fn figure(view: &View, panel: &Panel, answer: &Result<Answer, Problem>) -> Markup {
    let body = match answer {
        Err(problem) => trouble(view, problem),
        Ok(answer) if answer.rows.is_empty() => empty(view),
        Ok(answer) => match panel.chart {
            Chart::Time => time(view, answer),
            Chart::Interval => drawn(view, answer, &picture::intervals(view, answer)),
            Chart::Histogram => drawn(view, answer, &picture::histograms(view, answer)),
            Chart::Number => numbers(view, answer),
            Chart::Bars => drawn(view, answer, &picture::bars(view, answer)),
            Chart::Table => table(view, answer),
        },
    };
    framed(view, panel, answer.as_ref().ok(), &body)
}

/// Nothing happened in this time.
pub(crate) fn empty(view: &View) -> Markup {
    html! { p class="empty" { (view.lang.say("Nothing in this time.", "该时段没有数据。")) } }
}

/// The store did not answer this one question.
pub(crate) fn trouble(view: &View, problem: &Problem) -> Markup {
    let lang = view.lang;
    html! { p class="unanswered" role="alert" { (lang.say("This figure cannot be had just now:", "目前无法取得该图表：")) " " (trouble_title(problem, lang)) (lang.say(".", "。")) } }
}

/// Title, question, source and links around a body.
pub(crate) fn framed(view: &View, panel: &Panel, answer: Option<&Answer>, body: &Markup) -> Markup {
    let lang = view.lang;
    let (id, title) = (&panel.id, lang.of(&panel.title));
    let chart = match panel.chart {
        Chart::Time => Some("time"),
        _ => None,
    };
    html! {
        figure class="panel" id=(id) aria-labelledby={ (id) "-title" } data-chart=[chart] data-unit=[chart.map(|_| unit_name(panel.unit))]
            data-step=[answer.filter(|_| chart.is_some()).map(|answer| answer.step_us)] data-from=[answer.filter(|_| chart.is_some()).map(|answer| answer.from_us)] data-to=[answer.filter(|_| chart.is_some()).map(|answer| answer.to_us)]
            data-zone=[chart.map(|_| view.tz().name())] {
            figcaption {
                h3 id={ (id) "-title" } { (title) }
                p class="question" { (lang.of(&panel.question)) }
            }
            (body)
            @if let Some(answer) = answer.filter(|answer| answer.more) {
                p class="more" { (lang.say("There are more: of this time the first ", "还有更多：该时段仅显示前 ")) (answer.rows.len()) (lang.say(" are shown, in this order.", " 行。")) }
            }
            div class="foot" {
                @for rule in rules(view, panel, answer) { span class="rule" { (rule) } }
                span class="source" { (source(&panel.source, lang)) }
                span class="data" {
                    a href=(data_link(view, panel, "csv")) download={ (id) ".csv" } aria-label={ "CSV: " (title) } { "CSV" }
                    a href=(data_link(view, panel, "json")) aria-label={ "JSON: " (title) } { "JSON" }
                }
            }
        }
    }
}

/// What the numbers of a figure are held against, in words: of the panel, or as the rows state it where that is something else.
fn rules(view: &View, panel: &Panel, answer: Option<&Answer>) -> Vec<String> {
    let lang = view.lang;
    let mut rules = Vec::new();
    for threshold in &panel.thresholds {
        let unit = panel.held(threshold).map_or(panel.unit, |at| panel.columns[at].unit);
        let stated = |row: &Vec<Option<String>>| {
            answer.map_or(threshold.number(), |answer| answer.bound(threshold, row))
        };
        let mut bounds: Vec<f64> = answer.into_iter().flat_map(|answer| &answer.rows).map(stated).collect();
        if bounds.is_empty() {
            bounds.push(threshold.number());
        }
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        rules.extend(bounds.into_iter().map(|bound| {
            if bound.total_cmp(&threshold.number()).is_eq() {
                return lang.of(&threshold.label).to_owned();
            }
            let number = shown(Some(&bound.to_string()), unit, None, view);
            let sense = match threshold.sense {
                Sense::Below => lang.say("below", "低于"),
                Sense::AtMost => lang.say("at most", "不超过"),
                Sense::AtLeast => lang.say("at least", "不低于"),
            };
            format!("{sense} {number}")
        }));
    }
    if panel.unit == Unit::Points {
        rules.push(lang.say("no difference", "无差异").to_owned());
    }
    rules
}

const fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "count",
        Unit::Records => "records",
        Unit::Ratio => "ratio",
        Unit::Factor => "factor",
        Unit::Points => "points",
        Unit::CreditsMicros => "credits_micros",
        Unit::CurrencyMinor => "currency_minor",
        Unit::DurationUs => "duration_us",
        Unit::TimeUs => "time_us",
        Unit::Text | Unit::Verdict | Unit::Symbol => "text",
    }
}

/// A row's currency, where it names one.
fn currency<'a>(answer: &Answer, row: &'a [Option<String>]) -> Option<&'a str> {
    row.get(answer.panel.column("currency")?)?.as_deref()
}

/// One value with its exact text beside it.
fn cell(column: &Column, value: Option<&str>, money: Option<&str>, view: &View) -> Markup {
    let text = shown(value, column.unit, money, view);
    match value {
        Some(value) if column.unit == Unit::Verdict => html! { td { (verdict(value, view.lang)) } },
        Some(value) if column.unit == Unit::TimeUs => {
            let at = value.parse().map(Moment).map(Moment::text).unwrap_or_default();
            html! { td { time datetime=(at) { (text) } } }
        }
        Some(value) if column.unit.is_number() => html! { td class="n" { data value=(value) { (text) } } },
        _ => html! { td { (text) } },
    }
}

/// A verdict: a word and a shape, so that nobody depends on its colour.
pub(crate) fn verdict(name: &str, lang: Lang) -> Markup {
    let class = match name {
        "PASS" | "VERIFIED" => "pass",
        "FAIL" | "ERROR" | "TAMPERED" => "fail",
        "WARN" | "INCOMPLETE" | "UNCHECKED" => "warn",
        _ => "open",
    };
    html! { span class={ "verdict " (class) } title=[(lang == Lang::Zh).then_some(name)] { (verdict_word(name, lang)) } }
}

/// Rows and columns as they are.
pub(crate) fn table(view: &View, answer: &Answer) -> Markup {
    let columns = &answer.panel.columns;
    let lang = view.lang;
    html! {
        div class="scroll" tabindex="0" role="region" aria-labelledby={ (answer.panel.id) "-title" } {
            table {
                thead { tr { @for column in columns { th scope="col" class=[(column.unit.is_number() && column.unit != Unit::TimeUs).then_some("n")] { (lang.of(&column.label)) } } } }
                tbody {
                    @for row in &answer.rows {
                        tr {
                            @for (at, (column, value)) in columns.iter().zip(row).enumerate() {
                                @if at == 0 && !column.unit.is_number() { th scope="row" { (shown(value.as_deref(), column.unit, None, view)) } }
                                @else { (cell(column, value.as_deref(), currency(answer, row), view)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A few numbers, each under its name: of each row, whose first column, where it is none, says of whom.
fn numbers(view: &View, answer: &Answer) -> Markup {
    let columns = &answer.panel.columns;
    html! {
        @for row in &answer.rows {
            dl class="numbers" {
                @for (column, value) in columns.iter().zip(row) {
                    div {
                        dt { (view.lang.of(&column.label)) }
                        dd { @if let Some(value) = value { data value=(value) { (shown(Some(value), column.unit, currency(answer, row), view)) } } @else { "–" } }
                    }
                }
            }
        }
    }
}

/// A picture that was drawn here, with its table.
fn drawn(view: &View, answer: &Answer, picture: &Markup) -> Markup {
    html! {
        (picture)
        details class="twin" {
            summary { (view.lang.say("Table", "数据表")) }
            (table(view, answer))
        }
    }
}

/// A line of a chart over time.
struct Line {
    name: String,
    label: String,
    money: Option<String>,
    values: BTreeMap<i64, String>,
}

/// The lines of a panel, in the order in which they first come.
fn lines(view: &View, answer: &Answer) -> Vec<Line> {
    let panel = answer.panel;
    let (x, series) = (panel.column(&panel.picture.x), panel.column(&panel.picture.series));
    let mut lines: Vec<Line> = Vec::new();
    for row in &answer.rows {
        let text = |at: Option<usize>| at.and_then(|at| row.get(at)?.as_deref());
        let Some(at) = text(x).and_then(|text| text.parse::<i64>().ok()) else { continue };
        for y in &panel.picture.y {
            let Some(value) = text(panel.column(y)) else { continue };
            let own = text(series).unwrap_or_default();
            let name = if panel.picture.y.len() == 1 { own.to_owned() } else { format!("{own} {y}") };
            let place = lines.iter().position(|line| line.name == name).unwrap_or_else(|| {
                let title = panel.column(y).map_or("", |at| view.lang.of(&panel.columns[at].label));
                let own = symbol(own, view.lang);
                let label = match (panel.picture.series.is_empty(), panel.picture.y.len()) {
                    (true, _) => title.to_owned(),
                    (false, 1) => own,
                    (false, _) => format!("{own}, {title}"),
                };
                lines.push(Line {
                    name,
                    label,
                    money: currency(answer, row).map(str::to_owned),
                    values: BTreeMap::new(),
                });
                lines.len() - 1
            });
            lines[place].values.insert(at, value.to_owned());
        }
    }
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    lines
}

/// A table with a row a stretch of time and a column a line, from which a script draws.
fn time(view: &View, answer: &Answer) -> Markup {
    let lines = lines(view, answer);
    let pictures: Vec<Vec<&Line>> = match answer.panel.picture.apart {
        true => lines.iter().map(|line| vec![line]).collect(),
        false => vec![lines.iter().collect()],
    };
    html! { div class=[answer.panel.picture.apart.then_some("side")] { @for lines in &pictures { (chart(view, answer, lines)) } } }
}

fn chart(view: &View, answer: &Answer, lines: &[&Line]) -> Markup {
    let (panel, lang) = (answer.panel, view.lang);
    let unit =
        panel.picture.y.first().and_then(|y| panel.column(y)).map_or(panel.unit, |at| panel.columns[at].unit);
    // where the store has no row, a count is 0 and a share is unknown; so is what the data has not reached
    let reached_us = answer.window.as_of_us.unwrap_or(i64::MIN);
    let absent =
        |at: i64| (panel.picture.zero && at.saturating_add(answer.step_us) <= reached_us).then_some("0");
    let ends = |threshold: &Threshold| match threshold.sense {
        Sense::Below | Sense::AtMost => "most",
        Sense::AtLeast => "least",
    };
    html! {
        div class="picture" data-money=[lines.first().and_then(|line| line.money.as_deref())] data-lines=(lines.len()) {
            @for threshold in &panel.thresholds { data class="threshold" hidden value=(threshold.value) data-sense=(ends(threshold)) { (lang.of(&threshold.label)) } }
            @if panel.picture.apart { @for line in lines { p class="apart" { (line.label) } } }
            div data-own { div class="canvas" {} }
            details class="twin" {
                summary { (lang.say("Table", "数据表")) }
                div class="scroll" tabindex="0" role="region" aria-label={ (lang.of(&panel.title)) ": " (lang.say("table", "数据表")) } {
                    table {
                        thead { tr { th scope="col" { (lang.say("From", "起始")) " (" (view.tz().name()) ")" } @for line in lines { th scope="col" class="n" { (line.label) } } } }
                        tbody {
                            @for at in stretches(answer) {
                                tr {
                                    th scope="row" { time datetime=(Moment(at).text()) data-us=(at) { (view.stretch(at, answer.step_us)) } }
                                    @for line in lines {
                                        @let value = line.values.get(&at).map(String::as_str).or_else(|| absent(at));
                                        td class="n" { @if let Some(value) = value { data value=(value) { (shown(Some(value), unit, line.money.as_deref(), view)) } } @else { "–" } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A picture has no more stretches; who asks for more gets the first of them.
const STRETCHES_MAX: usize = 400;

/// The beginnings of all stretches of the range.
fn stretches(answer: &Answer) -> impl Iterator<Item = i64> {
    let step = answer.step_us.max(1);
    let (from, to) = (answer.from_us, answer.to_us);
    (0..).map(move |n: i64| from + n * step).take_while(move |at| *at < to).take(STRETCHES_MAX)
}

#[cfg(test)]
mod tests {
    use super::{Lang, View, figure};
    use crate::panel::{Answer, Window, panel};
    use axum::http::HeaderMap;

    /// Scenario: five stretches of a minute, an event in the first; the data has come to the middle of the third, or nobody knows how far.
    /// Guarantees: a stretch that the data has passed without an event is 0; one that it has not is unknown.
    #[test]
    fn what_has_not_come_is_not_nothing() {
        const MINUTE_US: i64 = 60_000_000;
        let panel = panel("refused-checks").expect("a panel");
        for (as_of_us, zeros) in [(Some(5 * MINUTE_US / 2), 1), (Some(5 * MINUTE_US), 4), (None, 0)] {
            let answer = Answer {
                panel,
                from_us: 0,
                to_us: 5 * MINUTE_US,
                step_us: MINUTE_US,
                window: Window { as_of_us, is_final: false },
                rows: vec![["0", "DENIED", "7"].map(|text| Some(text.to_owned())).to_vec()],
                more: false,
            };
            let page = figure(&View::plain(&HeaderMap::new()), panel, &Ok(answer)).0;
            assert_eq!(page.matches("<data value=\"7\">").count(), 1, "{page}");
            assert_eq!(page.matches("<data value=\"0\">").count(), zeros, "{as_of_us:?}: {page}");
            assert_eq!(page.matches("<td class=\"n\">–</td>").count(), 4 - zeros, "{as_of_us:?}: {page}");
        }
    }

    /// Scenario: dead letters of two reasons, of which one has twice as many as the other, in both languages.
    /// Guarantees: bars say so by their lengths, under the names of their rows; the table says the same, behind them.
    #[test]
    fn bars_are_drawn() {
        let panel = panel("dead-reasons").expect("a panel");
        let row = |reason: &str, letters: &str| {
            [reason, letters, "0", "7"].map(|text| Some(text.to_owned())).to_vec()
        };
        let rows = vec![row("policy_tag_missing", "8"), row("body", "4")];
        let window = Window { as_of_us: None, is_final: false };
        let answer = Ok(Answer { panel, from_us: 0, to_us: 1, step_us: 0, window, rows, more: false });
        let mut view = View::plain(&HeaderMap::new());
        for (lang, name) in [(Lang::En, "policy_tag_missing"), (Lang::Zh, "缺少政策标签")] {
            view.lang = lang;
            let page = figure(&view, panel, &answer).0;
            let bars: Vec<&str> = page
                .split("class=\"bar\" x=\"0\" width=\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .collect();
            assert_eq!(bars, ["1000.0", "500.0"], "{page}");
            assert_eq!(page.matches(name).count(), 2, "{page}");
            assert!(page.contains("<details class=\"twin\">"), "{page}");
        }
    }

    /// Scenario: a factor of 1.09 of a result that was held against 1.1, of one that states nothing, and of one held against 1.08.
    /// Guarantees: words and colour go by what the result was held against; where it says nothing, by the panel.
    #[test]
    fn a_row_is_held_against_what_it_states() {
        let panel = panel("launch-effect").expect("a panel");
        for (target, rule, is_good) in [
            (Some("1.1"), "at least 1.100×", false),
            (None, "at least 1.08×", true),
            (Some("1.08"), "at least 1.08×", true),
        ] {
            let text = |name: &str| match name {
                "reading" => Some("RELATIVE".to_owned()),
                "effect" => Some("1.09".to_owned()),
                "target" => target.map(str::to_owned),
                _ => None,
            };
            let rows = vec![panel.columns.iter().map(|column| text(&column.name)).collect()];
            let answer = Answer { more: true, ..Answer::of(panel, rows) };
            let page = figure(&View::plain(&HeaderMap::new()), panel, &Ok(answer)).0;
            assert!(page.contains(&format!("<span class=\"rule\">{rule}</span>")), "{page}");
            assert_eq!(page.matches("class=\"rule\"").count(), 1, "{page}");
            assert_eq!(!page.contains("class=\"point over\""), is_good, "{page}");
            assert!(page.contains("There are more"), "{page}");
        }
    }
}
