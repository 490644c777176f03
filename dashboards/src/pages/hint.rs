//! What the figures suggest: to scale out, or to look at prices. Every threshold is one of a panel's file, and every hint says
//! which figure stands on which side of which.

use super::number::{shown, symbol};
use super::sheet::Sheet;
use super::view::View;
use crate::panel::{Answer, Panel, Threshold, Unit};
use maud::{Markup, html};

/// What a hint rests on.
struct Reason {
    text: String,
    /// `None` where no figure can be held against the thresholds.
    crossed: Option<bool>,
}

/// What the figures say of more machines, and of prices.
pub(super) fn hints(view: &View, sheet: &Sheet) -> Markup {
    let lang = view.lang;
    let scale = reasons(view, sheet, &["ingest-lag", "queues", "endpoint-errors"]);
    let prices = reasons(view, sheet, &["revenue", "supplements", "acceleration"]);
    html! {
        div class="hints" {
            (hint("scale-out", &scale, (lang.say("Scale out", "建议扩容"), lang.say("No need to scale out", "无需扩容"), lang.say("Scale out? Not everything is known", "是否扩容：数据不全"))))
            (hint("prices", &prices, (lang.say("Look at prices", "建议检查价格"), lang.say("Prices hold", "价格无需调整"), lang.say("Prices? Not everything is known", "价格：数据不全"))))
        }
    }
}

fn hint(id: &str, reasons: &[Reason], (crossed, fine, unknown): (&str, &str, &str)) -> Markup {
    let is_crossed = reasons.iter().any(|reason| reason.crossed == Some(true));
    let is_known = !reasons.is_empty() && reasons.iter().all(|reason| reason.crossed.is_some());
    let (class, title) = match (is_crossed, is_known) {
        (true, _) => ("hint warn", crossed),
        (false, true) => ("hint", fine),
        (false, false) => ("hint plain", unknown),
    };
    html! {
        section class=(class) id=(id) aria-labelledby={ (id) "-title" } {
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
    ids.iter()
        .filter_map(|id| sheet.panel(id))
        .filter_map(|(panel, answer)| reason(view, panel, answer.as_ref().ok()))
        .collect()
}

/// What a panel says against all of its thresholds. A row is known by any of them: a queue in which nothing starts by how long it
/// stands. Where one is not known at all nothing can be called good, but what is bad is bad.
fn reason(view: &View, panel: &Panel, answer: Option<&Answer>) -> Option<Reason> {
    let title = view.lang.of(&panel.title);
    let first = panel.thresholds.first()?;
    let figures =
        panel.thresholds.iter().filter_map(|threshold| Some((threshold, worst(view, answer?, threshold)?)));
    let figures: Vec<_> = figures.collect();
    let is_crossed = figures.iter().any(|(_, (.., crossed))| *crossed);
    if !is_crossed && !answer.is_some_and(is_known) {
        let (none, rule) = (view.lang.say("not known", "未知"), view.lang.of(&first.label));
        return Some(Reason { text: format!("{title}: {none} ({rule})"), crossed: None });
    }
    let said = figures.iter().map(|(threshold, (name, value, _))| {
        let name = if name.is_empty() { String::new() } else { format!(" {name}") };
        format!("{name} {value}, {}", view.lang.of(&threshold.label))
    });
    let said: Vec<String> = said.collect();
    let source = first.source.split(':').next().unwrap_or_default(); // the panel has it whole
    Some(Reason { text: format!("{title}:{} ({source})", said.join(";")), crossed: Some(is_crossed) })
}

/// Whether there is a figure against some threshold in every row.
fn is_known(answer: &Answer) -> bool {
    let held: Vec<usize> = answer.panel.thresholds.iter().filter_map(|one| answer.panel.held(one)).collect();
    let of = |row: &Vec<Option<String>>| held.iter().any(|at| row.get(*at).is_some_and(Option::is_some));
    !answer.rows.is_empty() && answer.rows.iter().all(of)
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

#[cfg(test)]
mod tests {
    use super::{View, reason};
    use crate::panel::{Answer, Window, panel};
    use axum::http::HeaderMap;

    /// Whether the row of a panel that has these columns, and no others, is good; `None` where nobody knows.
    fn judged(id: &str, rows: &[&[(&str, &str)]]) -> Option<bool> {
        let panel = panel(id).expect("a panel");
        let row = |row: &&[(&str, &str)]| {
            let cell = |name: &str| {
                row.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            panel.columns.iter().map(|column| cell(&column.name)).collect()
        };
        let window = Window { as_of_us: None, is_final: false };
        let rows = rows.iter().map(row).collect();
        let answer = Answer { panel, from_us: 0, to_us: 1, step_us: 0, window, rows, more: false };
        let reason = reason(&View::plain(&HeaderMap::new()), panel, Some(&answer)).expect("a threshold");
        reason.crossed.map(|crossed| !crossed)
    }

    /// Scenario: queues that run, that stand, of which nothing is known; topics at whose heads somebody looked, and nobody did.
    /// Guarantees: what stands is bad although nothing that started waited; a row that nobody knows is never good, nor is no row.
    #[test]
    fn what_is_not_known_is_not_good() {
        let runs: &[(&str, &str)] =
            &[("queue", "NORMAL"), ("wait_p95_us", "2000000"), ("waiting_p50_us", "0")];
        let stands: &[(&str, &str)] =
            &[("queue", "NORMAL"), ("depth", "500"), ("waiting_p50_us", "600000000")];
        let unknown: &[(&str, &str)] = &[("queue", "ACCELERATED"), ("depth", "5")];
        assert_eq!(judged("queues", &[runs]), Some(true));
        assert_eq!(judged("queues", &[stands]), Some(false));
        assert_eq!(judged("queues", &[runs, unknown]), None);
        assert_eq!(judged("queues", &[stands, unknown]), Some(false));
        assert_eq!(judged("queues", &[]), None);
        let seen: &[(&str, &str)] = &[("topic", "task-events"), ("lag", "0")];
        let unseen: &[(&str, &str)] = &[("topic", "credit-events"), ("taken", "7")];
        assert_eq!(judged("ingest-lag", &[seen]), Some(true));
        assert_eq!(judged("ingest-lag", &[seen, unseen]), None);
    }
}
