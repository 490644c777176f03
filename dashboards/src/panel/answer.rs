//! A panel's question, asked.

use super::definition::{Panel, Threshold, Wilson};
use super::memory::Key;
use super::step::step_us;
use crate::api::{Api, Unanswered};
use crate::problem::{Code, Problem};
use clickhouse::query::Query;
use futures::future::join_all;
use serde::Deserialize;
use serde_json::{Map, Value};
use tally_queries::audit::statistics::wilson;
use tally_queries::service::{TOGETHER, together, whole};
use tokio::sync::Semaphore;

/// So many questions of a page are asked at once.
const AT_ONCE: usize = 4;
/// After the watermark has passed the end by so much, a window is closed.
const GRACE_US: i64 = 3_600_000_000;

/// Over which stretch of event time, and whose rows.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// First microsecond.
    pub(crate) from_us: i64,
    /// First microsecond that is no longer in it.
    pub(crate) to_us: i64,
    /// Stretches of charts, microseconds; where it is not given the panel's own.
    pub(crate) step_us: Option<i64>,
    /// `all`, `own`, `templates`, `grantees` or `work`.
    pub(crate) scope: &'static str,
    /// Whose.
    pub(crate) subject: String,
}

/// How far the data had come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Every event before this moment has arrived; `None` where the partitions tell nothing.
    pub(crate) as_of_us: Option<i64>,
    /// Whether nothing that belongs to the range can come any more.
    pub(crate) is_final: bool,
}

impl Window {
    /// Of a range that ends there.
    pub(crate) async fn of(api: &Api, to_us: i64) -> Result<Window, Problem> {
        let reach = api.reach().await?;
        let as_of = reach.as_of_us();
        let is_final = reach.is_over(to_us, GRACE_US);
        Ok(Window { as_of_us: (as_of != i64::MIN).then_some(as_of), is_final })
    }
}

/// What the store said.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// To which panel.
    pub(crate) panel: &'static Panel,
    /// First microsecond.
    pub(crate) from_us: i64,
    /// First microsecond that is no longer in it.
    pub(crate) to_us: i64,
    /// Stretches, microseconds; 0 where the panel has none.
    pub(crate) step_us: i64,
    /// How far the data had come.
    pub(crate) window: Window,
    /// Values in the order of the panel's columns, as text; `None` where there is none.
    pub(crate) rows: Vec<Vec<Option<String>>>,
    /// Whether there are more rows than a panel shows.
    pub(crate) more: bool,
}

#[cfg(test)]
impl Answer {
    /// These rows, of a moment of which nothing is known.
    pub(crate) fn of(panel: &'static Panel, rows: Vec<Vec<Option<String>>>) -> Answer {
        let window = Window { as_of_us: None, is_final: false };
        Answer { panel, from_us: 0, to_us: 1, step_us: 0, window, rows, more: false }
    }
}

impl Answer {
    /// The values of one column.
    pub(crate) fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = Option<&'a str>> {
        let at = self.panel.column(name);
        self.rows.iter().map(move |row| at.and_then(|at| row.get(at)?.as_deref()))
    }
}

impl Answer {
    /// What a row is held against: what it states itself, or else what the panel says.
    pub(crate) fn bound(&self, threshold: &Threshold, row: &[Option<String>]) -> f64 {
        let stated =
            self.panel.column(&threshold.stated).and_then(|at| row.get(at)?.as_deref()?.parse().ok());
        stated.unwrap_or_else(|| threshold.number())
    }

    /// On which side of a threshold a row stands: by the bounds of its share where the panel has some computed, else by its number. `None`
    /// where it has neither, the threshold lies between its bounds, or there are so few observations that not even the best of them
    /// would prove it, as in METRICS 3.
    pub(crate) fn stands(&self, threshold: &Threshold, row: &[Option<String>]) -> Option<bool> {
        let number = |at: Option<usize>| row.get(at?)?.as_deref()?.parse::<f64>().ok();
        let against = self.bound(threshold, row);
        let Some(by) = &self.panel.wilson else {
            return number(self.panel.held(threshold)).map(|number| threshold.is_good_at(against, number));
        };
        let of = self.observations(row)?.parse::<i64>().ok()?;
        let is_good = |number: f64| threshold.is_good_at(against, number);
        let best = |(low, high): (f64, f64)| is_good(low) && is_good(high);
        if ![0, of].into_iter().filter_map(|hits| wilson(hits, of)).any(best) {
            return None;
        }
        let sides = by.columns.each_ref().map(|name| number(self.panel.column(name)));
        match sides.map(|bound| bound.map(is_good)) {
            [Some(low), Some(high)] if low == high => Some(low),
            _ => None,
        }
    }

    /// Of how many a share with computed bounds is one; `None` where the panel has none.
    pub(crate) fn observations<'a>(&self, row: &'a [Option<String>]) -> Option<&'a str> {
        let wilson = self.panel.wilson.as_ref()?;
        row.get(self.panel.column(&wilson.denominator)?)?.as_deref()
    }
}

/// The store's own form: rows as lists, 64-bit numbers as text.
#[derive(Debug, Deserialize)]
struct Compact {
    meta: Vec<Meta>,
    data: Vec<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct Meta {
    name: String,
}

/// The same of several panels: the name of each, and its rows as objects.
#[derive(Debug, Deserialize)]
struct Together {
    data: Vec<(String, Vec<String>)>,
}

fn key(panel: &'static Panel, asked: &Asked) -> Key {
    let Asked { from_us, to_us, step_us, scope, subject } = asked;
    (panel.id.as_str(), *from_us, *to_us, *step_us, *scope, subject.clone())
}

/// What the panel says of that range: of a moment ago where somebody has asked just that, or else the store is asked.
pub(crate) async fn ask(api: &Api, panel: &'static Panel, asked: &Asked) -> Result<Answer, Problem> {
    let key = key(panel, asked);
    if let Some(answer) = api.answers().get(&key) {
        return Ok(answer);
    }
    let answer = ask_store(api, panel, asked).await?;
    api.answers().put(key, answer.clone());
    Ok(answer)
}

/// What each of some panels says of that range. Those that rest on one part are asked together, and a few questions side by side: each has its
/// own time, and all at once they would take it from each other.
pub(crate) async fn ask_all(
    api: &Api,
    panels: impl Iterator<Item = &'static Panel>,
    asked: &Asked,
) -> Vec<(&'static Panel, Result<Answer, Problem>)> {
    let places = &Semaphore::new(AT_ONCE);
    let alone = async |panel| {
        let _place = places.acquire().await.ok(); // it is never closed
        (panel, ask(api, panel, asked).await)
    };
    let alone = &alone;
    let group = async |group: Group| {
        let said = match group.part {
            Some(part) if group.panels.len() > 1 => {
                let _place = places.acquire().await.ok();
                ask_together(api, part, &group.panels, asked).await
            }
            _ => None,
        };
        match said {
            Some(said) => said,
            None => join_all(group.panels.into_iter().map(alone)).await,
        }
    };
    let groups = groups(panels, asked, |part| api.answers().are_together(part));
    join_all(groups.into_iter().map(group)).await.into_iter().flatten().collect()
}

/// Panels that can be one question.
#[derive(Debug)]
struct Group {
    part: Option<&'static str>,
    /// Of charts over time; it is one parameter.
    step_us: i64,
    panels: Vec<&'static Panel>,
}

fn groups(
    panels: impl Iterator<Item = &'static Panel>,
    asked: &Asked,
    may_share: impl Fn(&'static str) -> bool,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for panel in panels {
        let (part, step_us) = (panel.shared.filter(|part| may_share(part)), step_of(panel, asked));
        let fits = |group: &&mut Group| {
            let steps = [group.step_us, step_us];
            part.is_some() && group.part == part && (steps.contains(&0) || steps[0] == steps[1])
        };
        match groups.iter_mut().find(fits) {
            Some(group) => {
                group.step_us = group.step_us.max(step_us);
                group.panels.push(panel);
            }
            None => groups.push(Group { part, step_us, panels: vec![panel] }),
        }
    }
    groups
}

/// What each of some panels says that rest on the same part; `None` where they are to be asked one by one, since nothing is left to
/// share or the store refuses such a question: its version may not know it, or the part takes more memory than a question may.
async fn ask_together(
    api: &Api,
    part: &'static str,
    panels: &[&'static Panel],
    asked: &Asked,
) -> Option<Vec<(&'static Panel, Result<Answer, Problem>)>> {
    let known = panels.iter().map(|panel| (*panel, api.answers().get(&key(panel, asked))));
    let (known, unknown): (Vec<_>, Vec<_>) = known.partition(|(_, answer)| answer.is_some());
    let unknown: Vec<_> = unknown.into_iter().map(|(panel, _)| panel).collect();
    if unknown.len() < 2 {
        return None;
    }
    let mut said: Vec<_> =
        known.into_iter().filter_map(|(panel, answer)| Some((panel, Ok(answer?)))).collect();
    match ask_store_together(api, part, &unknown, asked).await {
        Ok(answers) => {
            for answer in answers {
                api.answers().put(key(answer.panel, asked), answer.clone());
                said.push((answer.panel, Ok(answer)));
            }
        }
        Err(Unanswered { is_refused: true, .. }) => {
            tracing::info!(part, "panels are asked one by one for a while");
            api.answers().set_apart(part);
            return None;
        }
        Err(Unanswered { problem, .. }) => {
            said.extend(unknown.into_iter().map(|panel| (panel, Err(problem.clone()))));
        }
    }
    Some(said)
}

/// The stretch of a panel, microseconds; 0 where it has none.
fn step_of(panel: &Panel, asked: &Asked) -> i64 {
    let least = panel.step_us_min.unwrap_or(0);
    match (panel.step_us_min, asked.step_us) {
        (None, _) => 0,
        (Some(_), Some(step)) => step.max(least),
        (Some(_), None) => step_us(asked.to_us - asked.from_us, least),
    }
}

/// The text with those parameters that it names.
fn query(api: &Api, sql: &str, step_us: i64, asked: &Asked, window: &Window) -> Query {
    let has = |name: &str| sql.contains(&format!("{{{name}:"));
    let mut query = api.text(sql);
    let times = [
        ("from_us", asked.from_us),
        ("to_us", asked.to_us),
        ("step_us", step_us),
        ("as_of_us", window.as_of_us.unwrap_or(i64::MIN)),
    ];
    for (name, value) in times.into_iter().filter(|(name, _)| has(name)) {
        query = query.param(name, value);
    }
    for (name, value) in
        [("scope", asked.scope), ("subject", &asked.subject)].into_iter().filter(|(name, _)| has(name))
    {
        query = query.param(name, value);
    }
    query
}

async fn ask_store(api: &Api, panel: &'static Panel, asked: &Asked) -> Result<Answer, Problem> {
    let window = Window::of(api, asked.to_us).await?;
    let step = step_of(panel, asked);
    tracing::debug!(panel = panel.id, "asked alone");
    let query = query(api, &whole(&panel.sql_and_one()), step, asked, &window);
    let bytes = api.bytes(&panel.id, query).await?;
    let Compact { meta, data } = serde_json::from_slice(&bytes).map_err(|_| Problem::new(Code::Internal))?;
    let names: Vec<&str> = meta.iter().map(|meta| meta.name.as_str()).collect();
    let places = places(panel, &names)?;
    let row = |row: &Vec<Value>| places.iter().map(|place| row.get((*place)?).and_then(cell)).collect();
    Ok(answer(panel, asked, step, window, data.iter().map(row).collect()))
}

async fn ask_store_together(
    api: &Api,
    part: &'static str,
    panels: &[&'static Panel],
    asked: &Asked,
) -> Result<Vec<Answer>, Unanswered> {
    let window = Window::of(api, asked.to_us).await.map_err(not_refused)?;
    let step = panels.iter().map(|panel| step_of(panel, asked)).max().unwrap_or(0);
    let figures: Vec<_> = panels.iter().map(|panel| (panel.id.as_str(), panel.sql_and_one())).collect();
    let sql = together(part, &figures);
    tracing::debug!(part, panels = panels.len(), "asked together");
    let query = query(api, &sql, step, asked, &window).with_setting(TOGETHER.0, TOGETHER.1);
    let bytes = api.bytes(part, query).await?;
    let internal = || Problem::new(Code::Internal);
    let one = |said: &Together, panel: &'static Panel| {
        let rows = said.data.iter().find(|(id, _)| panel.id == *id).map(|(_, rows)| rows);
        let objects: Result<Vec<Map<String, Value>>, _> =
            rows.ok_or_else(internal)?.iter().map(|row| serde_json::from_str(row)).collect();
        let objects = objects.map_err(|_| internal())?;
        if let Some(first) = objects.first() {
            places(panel, &first.keys().map(String::as_str).collect::<Vec<_>>())?;
        }
        let row = |object: &Map<String, Value>| {
            panel.columns.iter().map(|column| object.get(&column.name).and_then(cell)).collect()
        };
        Ok(answer(panel, asked, step_of(panel, asked), window, objects.iter().map(row).collect()))
    };
    let said: Together = serde_json::from_slice(&bytes).map_err(|_| not_refused(internal()))?;
    panels.iter().map(|panel| one(&said, panel).map_err(not_refused)).collect()
}

fn not_refused(problem: Problem) -> Unanswered {
    Unanswered { problem, is_refused: false }
}

/// Where in a row each column of the panel stands. One that is missing is our fault: a test asks every panel.
fn places(panel: &Panel, names: &[&str]) -> Result<Vec<Option<usize>>, Problem> {
    let place = |name: &String| names.iter().position(|given| given == name);
    let places: Vec<Option<usize>> = panel.columns.iter().map(|column| place(&column.name)).collect();
    let missing =
        panel.columns.iter().zip(&places).any(|(column, place)| place.is_none() && panel.is_asked(column));
    if missing || names.len() != places.iter().flatten().count() {
        tracing::error!(panel = panel.id, "the columns of the answer are not those of the panel");
        return Err(Problem::new(Code::Internal));
    }
    Ok(places)
}

fn cell(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The rows as far as they are shown, with what is computed behind the SQL.
fn answer(
    panel: &'static Panel,
    asked: &Asked,
    step_us: i64,
    window: Window,
    rows: Vec<Vec<Option<String>>>,
) -> Answer {
    let (from_us, to_us) = (asked.from_us, asked.to_us);
    let mut answer = Answer { panel, from_us, to_us, step_us, window, rows, more: false };
    if let Some(rows_max) = panel.rows_max {
        answer.more = answer.rows.len() > rows_max;
        answer.rows.truncate(rows_max);
    }
    if let Some(wilson) = &panel.wilson {
        bound(&mut answer, wilson);
    }
    answer
}

/// Fills the bounds of a share, by the function that the audit uses.
fn bound(answer: &mut Answer, by: &Wilson) {
    let at = |name: &String| answer.panel.column(name);
    let (Some(numerator), Some(denominator)) = (at(&by.numerator), at(&by.denominator)) else { return };
    let columns = by.columns.each_ref().map(at);
    for row in &mut answer.rows {
        let number = |at: usize| row.get(at)?.as_deref()?.parse::<i64>().ok();
        let Some((low, high)) = number(numerator).zip(number(denominator)).and_then(|(n, d)| wilson(n, d))
        else {
            continue;
        };
        for (column, value) in columns.into_iter().zip([low, high]) {
            if let Some(cell) = column.and_then(|at| row.get_mut(at)) {
                *cell = Some(format!("{value:.6}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Asked, groups};
    use crate::panel::{Answers, Panel, panel, panels};

    fn asked(step_us: Option<i64>) -> Asked {
        Asked { from_us: 0, to_us: 3_600_000_000, step_us, scope: "all", subject: String::new() }
    }

    /// Scenario: the panels of Overview; two that share a part and have different stretches; a part that the store refused.
    /// Guarantees: one group a part, and a panel that rests on none is alone; stretches that differ are not one question; what was refused
    /// is asked one by one.
    #[test]
    fn panels_of_one_part_are_one_question() {
        let of =
            |page: &str| -> Vec<&'static Panel> { panels().iter().filter(|one| one.page == page).collect() };
        let told = |may_share: &dyn Fn(&str) -> bool,
                    of: Vec<&'static Panel>,
                    asked: &Asked|
         -> Vec<Vec<&str>> {
            let groups = groups(of.into_iter(), asked, may_share);
            groups.iter().map(|group| group.panels.iter().map(|panel| panel.id.as_str()).collect()).collect()
        };
        let all = told(&|_| true, of("overview"), &asked(None));
        assert!(
            all.contains(&vec!["credits-over-time", "credits", "revenue-over-time", "revenue"]),
            "{all:?}"
        );
        assert!(
            all.contains(&vec!["queue-depth", "queue-wait", "queues"]) && all.contains(&vec!["ledger"]),
            "{all:?}"
        );
        let answers = Answers::default();
        answers.set_apart("money");
        let some = told(&|part| answers.are_together(part), of("overview"), &asked(None));
        assert!(
            some.contains(&vec!["revenue"])
                && some.contains(&vec!["endpoint-errors-over-time", "endpoint-errors"])
        );
        let mut day = panel("credits-over-time").expect("a panel").clone();
        day.step_us_min = Some(86_400_000_000);
        let day: &'static Panel = Box::leak(Box::new(day));
        let pair =
            vec![panel("revenue-over-time").expect("a panel"), day, panel("revenue").expect("a panel")];
        let pair = told(&|_| true, pair, &asked(None));
        assert_eq!(pair, [vec!["revenue-over-time", "revenue"], vec!["credits-over-time"]]);
    }

    /// Scenario: a row that states what it was held against itself, one that states nothing, and one without a number.
    /// Guarantees: the first stands by what it states, the second by what the panel says, the third nowhere.
    #[test]
    fn a_row_stands_by_what_it_states() {
        let panel = panels().iter().find(|panel| {
            panel.wilson.is_none() && panel.thresholds.iter().any(|threshold| !threshold.stated.is_empty())
        });
        let panel = panel.expect("a panel whose rows state their bound");
        let threshold = panel.thresholds.iter().find(|threshold| !threshold.stated.is_empty()).expect("one");
        let answer = Answer::of(panel, Vec::new());
        let row = |number: Option<f64>, stated: Option<f64>| -> Vec<Option<String>> {
            let mut row = vec![None; panel.columns.len()];
            row[panel.held(threshold).expect("held")] = number.map(|number| number.to_string());
            row[panel.column(&threshold.stated).expect("stated")] = stated.map(|stated| stated.to_string());
            row
        };
        let bound = threshold.number();
        // a little better and a little worse than the panel's bound
        let (good, bad) = if threshold.is_good(bound + 0.01) {
            (bound + 0.01, bound - 0.01)
        } else {
            (bound - 0.01, bound + 0.01)
        };
        assert_eq!(answer.stands(threshold, &row(Some(good), None)), Some(true));
        assert_eq!(answer.stands(threshold, &row(Some(bad), None)), Some(false));
        let easier = bound + 4.0 * (bad - bound);
        assert_eq!(answer.stands(threshold, &row(Some(bad), Some(easier))), Some(true));
        assert_eq!(answer.stands(threshold, &row(None, None)), None);
    }
}
