//! What the figures suggest: to scale out, or to look at prices. Every threshold is one of a panel's file, and every hint says
//! which figure stands on which side of which.

use super::number::{shown, symbol};
use super::sheet::Sheet;
use super::view::View;
use crate::panel::{Answer, Threshold, Unit};
use maud::{Markup, html};

/// What a hint rests on.
struct Reason {
    text: String,
    /// `None` where there is no figure to hold against the threshold.
    crossed: Option<bool>,
}

/// What the figures say of more machines, and of prices.
pub(super) fn hints(view: &View, sheet: &Sheet) -> Markup {
    let lang = view.lang;
    let scale = reasons(view, sheet, &["ingest-lag", "queues", "endpoint-errors"]);
    let prices = reasons(view, sheet, &["revenue", "supplements", "acceleration"]);
    html! {
        div class="hints" {
            (hint("scale-out", &scale, (lang.say("Scale out", "建议扩容"), lang.say("No need to scale out", "无需扩容"), lang.say("Scale out? Nothing to tell by", "是否扩容：暂无依据"))))
            (hint("prices", &prices, (lang.say("Look at prices", "建议检查价格"), lang.say("Prices hold", "价格无需调整"), lang.say("Prices? Nothing to tell by", "价格：暂无依据"))))
        }
    }
}

fn hint(id: &str, reasons: &[Reason], (crossed, fine, unknown): (&str, &str, &str)) -> Markup {
    let is_crossed = reasons.iter().any(|reason| reason.crossed == Some(true));
    let is_known = reasons.iter().any(|reason| reason.crossed.is_some());
    let (class, title) = match (is_crossed, is_known) {
        (true, _) => ("hint warn", crossed),
        (false, true) => ("hint", fine),
        (false, false) => ("hint plain", unknown),
    };
    html! {
        section class=(class) id=(id) data-swap aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) }
            ul {
                @for reason in reasons {
                    li class=[match reason.crossed { Some(true) => Some("crossed"), Some(false) => None, None => Some("unknown") }] { (reason.text) }
                }
            }
        }
    }
}

fn reasons(view: &View, sheet: &Sheet, ids: &[&str]) -> Vec<Reason> {
    let of = |id: &&str| {
        let (panel, answer) = sheet.panel(id)?;
        let threshold = panel.thresholds.first()?;
        let title = view.lang.of(&panel.title);
        let rule = view.lang.of(&threshold.label);
        let Some((name, value, crossed)) =
            answer.as_ref().ok().and_then(|answer| worst(view, answer, threshold))
        else {
            let none = view.lang.say("no figure", "无数据");
            return Some(Reason { text: format!("{title}: {none} ({rule})"), crossed: None });
        };
        let name = if name.is_empty() { String::new() } else { format!(" {name}") };
        let source = threshold.source.split(':').next().unwrap_or_default(); // the panel has it whole
        Some(Reason { text: format!("{title}:{name} {value} ({rule}; {source})"), crossed: Some(crossed) })
    };
    ids.iter().filter_map(of).collect()
}

/// The row that is farthest on the wrong side of a threshold, or nearest to it: its name, its value, and whether it is on the wrong side.
fn worst(view: &View, answer: &Answer, threshold: &Threshold) -> Option<(String, String, bool)> {
    let panel = answer.panel;
    let at = panel.held(threshold)?;
    let goal = threshold.number();
    let is_upper = threshold.is_good(f64::NEG_INFINITY);
    let rows = answer.rows.iter().filter_map(|row| {
        let text = row.get(at)?.as_deref()?;
        let number: f64 = text.parse().ok()?;
        let distance = if is_upper { number - goal } else { goal - number };
        Some((row, text, number, distance))
    });
    let (row, text, number, _) = rows.max_by(|a, b| a.3.total_cmp(&b.3))?;
    let first = panel.columns.first().filter(|column| !column.unit.is_number());
    let name = first.and(row.first()?.as_deref()).unwrap_or_default();
    let name = if first.is_some_and(|column| column.unit == Unit::Symbol) {
        symbol(name, view.lang)
    } else {
        name.to_owned()
    };
    Some((name, shown(Some(text), panel.columns.get(at)?.unit, None, view), !threshold.is_good(number)))
}
