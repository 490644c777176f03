//! What the figures suggest: to scale out, or to look at prices. Every threshold is one of a panel's file, and every hint says
//! which figure stands on which side of which.

use super::number::{shown, symbol};
use super::overview::not_proven;
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
/// stands. Where one is not known at all, or not proven, nothing can be called good, but what is bad is bad.
fn reason(view: &View, panel: &Panel, answer: Option<&Answer>) -> Option<Reason> {
    let title = view.lang.of(&panel.title);
    let first = panel.thresholds.first()?;
    let figures: Vec<Figure> =
        panel.thresholds.iter().filter_map(|threshold| worst(view, answer?, threshold)).collect();
    let is_crossed = figures.iter().any(|figure| figure.stands == Some(false));
    let is_open = figures.iter().any(|figure| figure.stands.is_none());
    if !is_crossed && !answer.is_some_and(is_known) {
        let (none, rule) = (view.lang.say("not known", "未知"), view.lang.of(&first.label));
        return Some(Reason { text: format!("{title}: {none} ({rule})"), crossed: None });
    }
    let said: Vec<String> = figures.iter().map(|figure| figure.text.clone()).collect();
    let source = super::symbols::source(&first.source, view.lang);
    let source = source.split([':', '：']).next().unwrap_or_default(); // the panel has it whole
    let crossed = if is_open && !is_crossed { None } else { Some(is_crossed) };
    Some(Reason { text: format!("{title}:{} ({source})", said.join(";")), crossed })
}

/// Whether there is a figure against some threshold in every row.
fn is_known(answer: &Answer) -> bool {
    let held: Vec<usize> = answer.panel.thresholds.iter().filter_map(|one| answer.panel.held(one)).collect();
    let of = |row: &Vec<Option<String>>| held.iter().any(|at| row.get(*at).is_some_and(Option::is_some));
    !answer.rows.is_empty() && answer.rows.iter().all(of)
}

/// What one row says against one threshold.
struct Figure {
    text: String,
    /// Whether it is on the good side; `None` where that is not proven.
    stands: Option<bool>,
}

/// The row that is worst against a threshold: on the wrong side before not proven before good, and there the farthest on the wrong side.
fn worst(view: &View, answer: &Answer, threshold: &Threshold) -> Option<Figure> {
    let (panel, lang) = (answer.panel, view.lang);
    let at = panel.held(threshold)?;
    let goal = threshold.number();
    let is_upper = threshold.is_good(f64::NEG_INFINITY);
    let rows = answer.rows.iter().filter_map(|row| {
        let text = row.get(at)?.as_deref()?;
        let number: f64 = text.parse().ok()?;
        let distance = if is_upper { number - goal } else { goal - number };
        let stands = answer.stands(threshold, row);
        let place = match stands {
            Some(false) => 2,
            None => 1,
            Some(true) => 0,
        };
        Some((row, text, stands, (place, distance)))
    });
    let (row, text, stands, _) = rows.max_by(|a, b| a.3.0.cmp(&b.3.0).then(a.3.1.total_cmp(&b.3.1)))?;
    let first = panel.columns.first().filter(|column| !column.unit.is_number());
    let name = first.and(row.first()?.as_deref()).unwrap_or_default();
    let name = if first.is_some_and(|column| column.unit == Unit::Symbol) {
        symbol(name, lang)
    } else {
        name.to_owned()
    };
    let name = if name.is_empty() { name } else { format!(" {name}") };
    let value = shown(Some(text), panel.columns.get(at)?.unit, None, view);
    let open = stands.is_none().then(|| format!(", {}", not_proven(view, answer.observations(row))));
    let text = format!("{name} {value}, {}{}", lang.of(&threshold.label), open.unwrap_or_default());
    Some(Figure { text, stands })
}

#[cfg(test)]
mod tests {
    use super::{Reason, View, reason};
    use crate::panel::{Answer, Window, panel};
    use axum::http::HeaderMap;

    /// Whether the row of a panel that has these columns, and no others, is good; `None` where nobody knows.
    fn judged(id: &str, rows: &[&[(&str, &str)]]) -> Option<bool> {
        told(id, rows).crossed.map(|crossed| !crossed)
    }

    /// What is said of a panel that has these rows.
    fn told(id: &str, rows: &[&[(&str, &str)]]) -> Reason {
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
        reason(&View::plain(&HeaderMap::new()), panel, Some(&answer)).expect("a threshold")
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

    /// Scenario: an interface that fails once of 3 attempts, never of 5, 27 times and 60 times of 2,000, with Wilson's bounds; some
    /// together.
    /// Guarantees: only bounds below 2 % are good and only bounds beyond it are bad; fewer than 189 attempts prove nothing, either way; what is proven bad
    /// is said before what fails more often and proves nothing.
    #[test]
    fn few_attempts_prove_nothing() {
        let row = |attempts, rate, low, high| {
            [
                ("endpoint", "CREDITS_CHARGE"),
                ("attempts", attempts),
                ("rate", rate),
                ("low", low),
                ("high", high),
            ]
        };
        let of_3 = row("3", "0.333333", "0.061492", "0.792340");
        let of_5 = row("5", "0", "0", "0.434482");
        let good = row("2000", "0.0135", "0.009294", "0.019571");
        let bad = row("2000", "0.03", "0.023378", "0.038424");
        assert_eq!(judged("endpoint-errors", &[&of_3]), None);
        assert_eq!(judged("endpoint-errors", &[&of_5]), None);
        // 60 of 188 and of 189: beyond doubt too many, and 189 are the fewest that can prove anything
        let bad_of_188 = row("188", "0.319149", "0.256708", "0.388833");
        let bad_of_189 = row("189", "0.317460", "0.255297", "0.386896");
        assert_eq!(judged("endpoint-errors", &[&bad_of_188]), None);
        assert_eq!(judged("endpoint-errors", &[&bad_of_189]), Some(false));
        assert_eq!(judged("endpoint-errors", &[&good]), Some(true));
        assert_eq!(judged("endpoint-errors", &[&bad]), Some(false));
        assert_eq!(judged("endpoint-errors", &[&good, &of_5]), None);
        assert_eq!(judged("endpoint-errors", &[&of_3, &bad]), Some(false));
        let said = |rows: &[&[(&str, &str)]]| told("endpoint-errors", rows).text;
        assert!(said(&[&good, &of_3]).contains("not proven (3 attempts)"), "{}", said(&[&good, &of_3]));
        assert!(!said(&[&of_3, &bad]).contains("not proven"), "{}", said(&[&of_3, &bad]));
    }
}
