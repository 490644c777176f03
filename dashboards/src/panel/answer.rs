//! A panel's question, asked.

use super::definition::{Panel, Threshold, Wilson};
use super::step::step_us;
use crate::api::Api;
use crate::problem::{Code, Problem};
use clickhouse::query::Query;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_queries::audit::statistics::wilson;
use tally_queries::service::{TOGETHER, together, whole};

/// An answer is good for so long.
const FRESH_MS: u64 = 5_000;
/// So many are remembered at most.
const ANSWERS_MAX: usize = 512;
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
        let Some(by) = &self.panel.wilson else {
            return number(self.panel.held(threshold)).map(|number| threshold.is_good(number));
        };
        let of = self.observations(row)?.parse::<i64>().ok()?;
        let is_good = |(low, high): (f64, f64)| threshold.is_good(low) && threshold.is_good(high);
        if ![0, of].into_iter().filter_map(|hits| wilson(hits, of)).any(is_good) {
            return None;
        }
        let sides = by.columns.each_ref().map(|name| number(self.panel.column(name)));
        match sides.map(|bound| bound.map(|bound| threshold.is_good(bound))) {
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

/// Which answer: panel, range, stretches, whose rows.
type Key = (&'static str, i64, i64, Option<i64>, &'static str, String);

/// Answers of the last seconds: however many look at a page, or load it again, the store is asked once.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    known: Mutex<HashMap<Key, (Instant, Answer)>>,
}

impl Answers {
    fn get(&self, key: &Key) -> Option<Answer> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, answer) = known.get(key)?;
        (at.elapsed() < Duration::from_millis(FRESH_MS)).then(|| answer.clone())
    }

    fn put(&self, key: Key, answer: Answer) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (at, _)| at.elapsed() < Duration::from_millis(FRESH_MS));
        if known.len() < ANSWERS_MAX {
            known.insert(key, (Instant::now(), answer));
        }
    }
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

/// What each of some panels says that share a part. Where the store does not answer them together, each is asked alone: its version may know
/// no such question, or one of them takes what it may not.
pub(crate) async fn ask_together(
    api: &Api,
    panels: &[&'static Panel],
    asked: &Asked,
) -> Vec<(&'static Panel, Result<Answer, Problem>)> {
    let unknown: Vec<_> =
        panels.iter().copied().filter(|panel| api.answers().get(&key(panel, asked)).is_none()).collect();
    if let [first, _, ..] = unknown[..]
        && let Some(part) = first.shares()
    {
        match ask_store_together(api, part, &unknown, asked).await {
            Ok(answers) => {
                tracing::debug!(part, panels = answers.len(), "panels are answered together");
                for answer in answers {
                    api.answers().put(key(answer.panel, asked), answer);
                }
            }
            Err(problem) => tracing::debug!(part, ?problem, "panels are asked one by one"),
        }
    }
    let mut said = Vec::with_capacity(panels.len());
    for panel in panels {
        said.push((*panel, ask(api, panel, asked).await));
    }
    said
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
) -> Result<Vec<Answer>, Problem> {
    let window = Window::of(api, asked.to_us).await?;
    let step = panels.iter().map(|panel| step_of(panel, asked)).max().unwrap_or(0);
    // stretches are one parameter: a panel with others than the rest is asked alone
    let alike = panels.iter().copied().filter(|panel| [0, step].contains(&step_of(panel, asked)));
    let figures: Vec<_> = alike.map(|panel| (panel.id.as_str(), panel.sql_and_one())).collect();
    let sql = together(part, &figures);
    let query = query(api, &sql, step, asked, &window).with_setting(TOGETHER.0, TOGETHER.1);
    let internal = || Problem::new(Code::Internal);
    let bytes = api.bytes(part, query).await?;
    let said: Together = serde_json::from_slice(&bytes).map_err(|_| internal())?;
    let one = |(id, rows): &(String, Vec<String>)| {
        let panel = *panels.iter().find(|panel| panel.id == *id).ok_or_else(internal)?;
        let objects: Result<Vec<Map<String, Value>>, _> =
            rows.iter().map(|row| serde_json::from_str(row)).collect();
        let objects = objects.map_err(|_| internal())?;
        if let Some(first) = objects.first() {
            places(panel, &first.keys().map(String::as_str).collect::<Vec<_>>())?;
        }
        let row = |object: &Map<String, Value>| {
            panel.columns.iter().map(|column| object.get(&column.name).and_then(cell)).collect()
        };
        Ok(answer(panel, asked, step_of(panel, asked), window, objects.iter().map(row).collect()))
    };
    said.data.iter().map(one).collect()
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
