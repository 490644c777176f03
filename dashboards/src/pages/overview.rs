//! How the platform does: money, tasks, queues, interfaces, the ledger.

use super::Pages;
use super::figure::figure;
use super::guard::Visitor;
use super::hint::hints;
use super::jobs::at;
use super::live::Ground;
use super::number::{duration, grouped, shown, symbol};
use super::sheet::Sheet;
use super::shell;
use super::view::{Lang, View};
use crate::panel::{Answer, Unit};
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

/// Currencies whose revenue has a tile; the table has all.
const CURRENCIES_SHOWN: usize = 3;
/// Panels of another page that prices are judged by.
const OF_PRICES: [&str; 2] = ["supplements", "acceleration"];

/// `GET /overview`.
pub(super) async fn page(State(pages): State<Pages>, visitor: Visitor) -> Response {
    let view = &visitor.view;
    let lang = view.lang;
    let sheet = match Sheet::ask_with(&pages.api, &visitor, "overview", &OF_PRICES).await {
        Ok(sheet) => sheet,
        Err(problem) => return visitor.refused(&problem),
    };
    let body = html! {
        (tiles(view, &sheet))
        (hints(view, &sheet))
        (group(view, &sheet, lang.say("Money", "资金"), &["revenue-over-time", "revenue", "credits-over-time", "credits"]))
        (group(view, &sheet, lang.say("Interfaces", "接口"), &["endpoint-errors-over-time", "endpoint-errors"]))
        (group(view, &sheet, lang.say("Tasks", "任务"), &["task-success-over-time", "task-success"]))
        (group(view, &sheet, lang.say("Queues", "队列"), &["queue-depth", "queue-wait", "queues"]))
        (group(view, &sheet, lang.say("Ledger", "账本"), &["events-over-time", "ledger", "ingest-lag"]))
    };
    shell::page(
        &visitor,
        lang.say("Overview", "总览"),
        Ground::Range(sheet.window),
        (&sheet.notices(view), &body),
    )
}

/// Figures of one matter under a title.
pub(super) fn group(view: &View, sheet: &Sheet, title: &str, ids: &[&str]) -> Markup {
    let figures: Vec<_> = ids.iter().filter_map(|id| sheet.panel(id)).collect();
    let whole = whole_rows(&figures.iter().map(|(panel, _)| panel.picture.apart).collect::<Vec<_>>());
    html! {
        section class="group" {
            h2 { (title) }
            div class="grid" {
                @for ((panel, answer), is_whole) in figures.into_iter().zip(whole) {
                    div class={ "cell" @if is_whole { " wide" } } { (figure(view, panel, answer)) }
                }
            }
        }
    }
}

/// Which figures of a grid of two columns take a whole row: those that need it, and those that would stand alone.
fn whole_rows(needs: &[bool]) -> Vec<bool> {
    let mut whole = Vec::with_capacity(needs.len());
    let mut is_left = true;
    for (at, need) in needs.iter().enumerate() {
        let is_alone = is_left && needs.get(at + 1).is_none_or(|next| *next);
        whole.push(*need || is_alone);
        is_left = *need || is_alone || !is_left;
    }
    whole
}

/// The first numbers, before any picture.
fn tiles(view: &View, sheet: &Sheet) -> Markup {
    let lang = view.lang;
    let none = || "–".to_owned();
    html! {
        dl class="tiles" id="tiles" {
            @if let Some(revenue) = sheet.answer("revenue") {
                @for row in revenue.rows.iter().take(CURRENCIES_SHOWN) {
                    @let of = |name: &str| revenue.panel.column(name).and_then(|at| row.get(at)?.as_deref());
                    @let currency = of("currency");
                    (tile(&format!("{} {}", lang.say("Revenue, net", "净收入"), currency.unwrap_or_default()), &shown(of("net_minor"), Unit::CurrencyMinor, currency, view),
                        html! { (shown(of("orders"), Unit::Count, None, view)) " " (lang.say("orders", "笔订单")) }))
                }
                @if let Some(more) = revenue.rows.len().checked_sub(CURRENCIES_SHOWN).filter(|more| *more > 0) {
                    (tile(lang.say("Revenue in further currencies", "其他币种收入"), &format!("+{more}"), html! { a href="#revenue" { (lang.say("in the table below", "见下方表格")) } }))
                }
            }
            @let credits = sheet.answer("credits").and_then(|answer| answer.values("net_micros").next().flatten());
            (tile(lang.say("Credits charged, net", "净消费积分"), &shown(credits, Unit::CreditsMicros, None, view), html! { (lang.say("of which supplements", "其中补扣")) " " (shown(sheet.answer("credits").and_then(|answer| answer.values("supplements_micros").next().flatten()), Unit::CreditsMicros, None, view)) }))
            @let (succeeded, terminal) = (sum(sheet.answer("task-success"), "succeeded"), sum(sheet.answer("task-success"), "terminal"));
            (tile(lang.say("Tasks that succeeded", "任务成功率"), &share(view, succeeded, terminal).unwrap_or_else(none), html! { @if sheet.answer("task-success").is_some() { (grouped(&succeeded.to_string())) " " (lang.say("of", "/")) " " (grouped(&terminal.to_string())) } }))
            @let queues = sheet.answer("queues");
            (tile(lang.say("Tasks waiting", "排队任务"), &queues.map_or_else(none, |_| grouped(&sum(queues, "depth").to_string())), html! { (lang.say("p95 waited", "等待 p95")) " " (longest(queues).map_or_else(none, |us| duration(us, lang))) }))
            (worst_interface(view, sheet.answer("endpoint-errors")))
            @let lag = sheet.answer("ingest-lag");
            (tile(lang.say("Records behind Kafka", "落后 Kafka"), &whole_sum(lag, "lag").map_or_else(none, |behind| grouped(&behind.to_string())), behind_note(view, lag)))
        }
    }
}

/// Beside how many records are behind: how many were taken; or, where not at all of them was looked within a minute of the
/// end, when that was.
fn behind_note(view: &View, lag: Option<&Answer>) -> Markup {
    let lang = view.lang;
    let Some(taken) = whole_sum(lag, "taken") else { return html! {} };
    let seen = lag.into_iter().flat_map(|lag| lag.values("seen_us").flatten());
    let seen = seen.filter_map(|seen| seen.parse::<i64>().ok()).min();
    html! {
        @match seen.filter(|_| whole_sum(lag, "lag").is_none()) {
            Some(seen) => { (lang.say("all last looked at ", "全部主题最后查看于 ")) (at(view, seen)) },
            None => { (grouped(&taken.to_string())) " " (lang.say("taken", "已接入")) }
        }
    }
}

fn tile(name: &str, value: &str, note: Markup) -> Markup {
    html! { div class="tile" { dt { (name) } dd class="value" { (value) } dd class="note" { (note) } } }
}

/// The interface that fails most often, those before others that are proven to fail too often; and on which side of its threshold it stands
/// by what is proven.
fn worst_interface(view: &View, answer: Option<&Answer>) -> Markup {
    let lang = view.lang;
    let title = lang.say("Worst interface", "错误率最高的接口");
    let Some((answer, threshold)) =
        answer.and_then(|answer| Some((answer, answer.panel.thresholds.first()?)))
    else {
        return tile(title, "–", html! {});
    };
    let of = |row: &'_ [Option<String>], name: &str| row.get(answer.panel.column(name)?)?.clone();
    let rates = answer.rows.iter().filter_map(|row| {
        let rate = of(row, "rate")?;
        let number: f64 = rate.parse().ok()?;
        let stands = answer.stands(threshold, row);
        Some((row, rate, number, stands))
    });
    let worse = |stands: Option<bool>| stands == Some(false);
    let worst = rates.max_by(|a, b| worse(a.3).cmp(&worse(b.3)).then(a.2.total_cmp(&b.2)));
    let Some((row, rate, _, stands)) = worst else { return tile(title, "–", html! {}) };
    let name = of(row, "endpoint").unwrap_or_default();
    let label = lang.of(&threshold.label);
    let said = match stands {
        Some(true) => html! { span class="good" { "✓ " (label) } },
        Some(false) => html! { span class="bad" { "✕ " (label) } },
        None => html! { span { (not_proven(view, answer.observations(row))) } },
    };
    tile(title, &shown(Some(&rate), Unit::Ratio, None, view), html! { (symbol(&name, lang)) " " (said) })
}

/// Said of a share whose bounds lie on both sides of its threshold.
pub(super) fn not_proven(view: &View, observations: Option<&str>) -> String {
    let count = grouped(observations.unwrap_or("0"));
    match view.lang {
        Lang::En => format!("not proven ({count} attempts)"),
        Lang::Zh => format!("尚未证实（{count} 次请求）"),
    }
}

/// The sum of a column; what is not known adds nothing.
pub(super) fn sum(answer: Option<&Answer>, name: &str) -> i128 {
    let values = answer.into_iter().flat_map(|answer| answer.values(name).flatten());
    values.filter_map(|value| value.parse::<i128>().ok()).sum()
}

/// The same; `None` where there is no row, or one of them is not known.
fn whole_sum(answer: Option<&Answer>, name: &str) -> Option<i128> {
    let mut values = answer?.values(name).peekable();
    values.peek()?;
    values.map(|value| value?.parse::<i128>().ok()).sum()
}

fn longest(answer: Option<&Answer>) -> Option<i64> {
    answer?.values("wait_p95_us").flatten().filter_map(|value| value.parse().ok()).max()
}

/// A share of two counts; `None` where there is nothing to divide by.
#[expect(clippy::cast_precision_loss, reason = "a share for people; its two counts stand beside it")]
fn share(view: &View, part: i128, whole: i128) -> Option<String> {
    (whole > 0).then(|| shown(Some(&(part as f64 / whole as f64).to_string()), Unit::Ratio, None, view))
}

#[cfg(test)]
mod tests {
    use super::{View, whole_rows, worst_interface};
    use crate::panel::{Answer, panel};
    use axum::http::HeaderMap;

    /// Scenario: one interface that failed in 3 % of 2,000 attempts, another that failed once of 3; the second alone; in both languages.
    /// Guarantees: the tile shows what is proven to be bad; of what is not proven it says so, with the attempts, and not a word of good or bad.
    #[test]
    fn few_attempts_are_not_judged() {
        let panel = panel("endpoint-errors").expect("a panel");
        let row = |name: &str, [attempts, rate, low, high]: [&str; 4]| -> Vec<Option<String>> {
            let of = |column: &str| match column {
                "endpoint" => Some(name.to_owned()),
                "attempts" => Some(attempts.to_owned()),
                "rate" => Some(rate.to_owned()),
                "low" => Some(low.to_owned()),
                "high" => Some(high.to_owned()),
                _ => None,
            };
            panel.columns.iter().map(|column| of(&column.name)).collect()
        };
        let bad = row("CREDITS_CHARGE", ["2000", "0.03", "0.023378", "0.038424"]);
        let few = row("CREDITS_REFUND", ["3", "0.333333", "0.061492", "0.792340"]);
        let tile = |language: &str, rows: &[&Vec<Option<String>>]| {
            let rows = rows.iter().map(|row| (*row).clone()).collect();
            let answer = Answer::of(panel, rows);
            let mut headers = HeaderMap::new();
            headers.insert("accept-language", language.parse().expect("a header"));
            worst_interface(&View::plain(&headers), Some(&answer)).0
        };
        let both = tile("en", &[&few, &bad]);
        assert!(both.contains("✕ below 2 %") && both.contains("3.00 %"), "{both}");
        for (language, words) in [("en", "not proven (3 attempts)"), ("zh", "尚未证实（3 次请求）")]
        {
            let alone = tile(language, &[&few]);
            assert!(alone.contains(words) && !alone.contains('✕') && !alone.contains('✓'), "{alone}");
        }
    }

    /// Scenario: figures that need a whole row among others that do not.
    /// Guarantees: no figure stands beside an empty place.
    #[test]
    fn nobody_stands_alone() {
        assert_eq!(whole_rows(&[true, false, false, false]), [true, false, false, true]);
        assert_eq!(whole_rows(&[false, true]), [true, true]);
        assert_eq!(whole_rows(&[false, false]), [false, false]);
        assert_eq!(whole_rows(&[false]), [true]);
        assert!(whole_rows(&[]).is_empty());
    }
}
