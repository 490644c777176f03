//! What a panel's file says.

use crate::identity::Role;
use serde::{Deserialize, Serialize};
use tally_queries::service::{shared_part, whole};
use thiserror::Error;
use utoipa::ToSchema;

/// A file that is no panel.
#[derive(Debug, Error)]
pub enum PanelError {
    /// It is no TOML of that shape.
    #[error("panel {page}/{id} cannot be read")]
    Unreadable {
        /// Its folder.
        page: String,
        /// Its name.
        id: String,
        /// Where it breaks.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// It says what cannot be.
    #[error("panel {page}/{id}: {what}")]
    Wrong {
        /// Its folder.
        page: String,
        /// Its name.
        id: String,
        /// Why.
        what: String,
    },
}

/// A text in both languages.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// What a column's values are.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A whole number of things.
    Count,
    /// A whole number of records.
    Records,
    /// A share: a decimal fraction, 1 is all.
    Ratio,
    /// A ratio of two rates: a decimal fraction, 1 is no change.
    Factor,
    /// A difference of two shares: a decimal fraction, 0.01 is one percentage point.
    Points,
    /// Millionths of a credit, whole.
    CreditsMicros,
    /// Minor units of the currency that the row's column `currency` names, whole.
    CurrencyMinor,
    /// Microseconds that something took.
    DurationUs,
    /// Microseconds since 1970 UTC.
    TimeUs,
    /// Text as it is.
    Text,
    /// A verdict of the audit, as text.
    Verdict,
    /// A symbol of a contract, as text; pages say it in the reader's language.
    Symbol,
}

impl Unit {
    /// Whether values are numbers.
    pub const fn is_number(self) -> bool {
        !matches!(self, Unit::Text | Unit::Verdict | Unit::Symbol)
    }
}

/// How a panel is drawn.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chart {
    /// Lines over time.
    Time,
    /// One bar a row.
    Bars,
    /// A few numbers.
    Number,
    /// Rows and columns.
    Table,
    /// A bar a class of sizes, with the tolerance as a band.
    Histogram,
    /// A point with its bounds a row.
    Interval,
}

/// How a number is held against a threshold.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sense {
    /// It is good below.
    Below,
    /// It is good at or below.
    AtMost,
    /// It is good at or above.
    AtLeast,
}

/// What numbers are held against.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Threshold {
    /// A decimal number in the unit of its column, as text.
    pub value: String,
    /// Which side is good.
    pub sense: Sense,
    /// For people.
    pub label: Text,
    /// Where it stands: a section of METRICS, or who chose it.
    pub source: String,
    /// The column that is held against it, whose unit is the threshold's; the first that is drawn where none is named.
    #[serde(default)]
    pub column: String,
    /// The column in which a row states what it was held against itself: the setting of the audit that judged it. `value` is for rows
    /// that state nothing.
    #[serde(default)]
    pub stated: String,
}

impl Threshold {
    /// Its number; a test holds that it is one.
    pub fn number(&self) -> f64 {
        self.value.parse().unwrap_or(f64::NAN)
    }

    /// Whether a number is on the good side.
    pub fn is_good(&self, number: f64) -> bool {
        self.is_good_at(self.number(), number)
    }

    /// Whether a number is on the good side of a bound that stands in place of its own.
    pub fn is_good_at(&self, bound: f64, number: f64) -> bool {
        match self.sense {
            Sense::Below => number < bound,
            Sense::AtMost => number <= bound,
            Sense::AtLeast => number >= bound,
        }
    }
}

/// One column of the answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// As in the SQL, in JSON and in CSV.
    pub name: String,
    /// For people.
    pub label: Text,
    /// What its values are.
    pub unit: Unit,
}

/// Which columns are drawn. What is not named is in the table alone.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Picture {
    /// The column along the axis, or the name of each row.
    pub x: String,
    /// The columns of heights; for intervals the point.
    pub y: Vec<String>,
    /// The column that tells lines apart; empty where each of `y` is a line of its own.
    pub series: String,
    /// A picture for each series, such as currencies, which share no scale.
    pub apart: bool,
    /// A stretch of time without a row is 0, instead of unknown.
    pub zero: bool,
    /// For intervals: the columns of the lower and of the upper bound.
    pub bounds: Vec<String>,
}

/// A panel's file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: String,
    title: Text,
    question: Text,
    source: String,
    unit: Unit,
    chart: Chart,
    roles: Vec<Role>,
    #[serde(default)]
    step: Option<String>,
    #[serde(default)]
    thresholds: Vec<Threshold>,
    columns: Vec<Column>,
    #[serde(default)]
    picture: Picture,
    #[serde(default)]
    wilson: Option<Wilson>,
    query: Query,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    sql: String,
    /// Rows that are shown, the first in the order of the SQL; where there are more, whoever reads is told.
    #[serde(default)]
    rows_max: Option<usize>,
}

/// Bounds of a share that are computed behind the SQL, by the function that the audit uses: Wilson, 95 %. They fill two columns.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct Wilson {
    /// The column of how many, of
    pub(super) numerator: String,
    /// how many.
    pub(super) denominator: String,
    /// The columns that are filled: the lower and the upper bound.
    pub(super) columns: [String; 2],
}

/// A question with its answer's shape.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Unique; the file's name.
    pub id: String,
    /// The page that it belongs to; the file's folder.
    pub page: String,
    /// For people.
    pub title: Text,
    /// What it answers for its reader.
    pub question: Text,
    /// Where its definition stands.
    pub source: String,
    /// What is drawn.
    pub unit: Unit,
    /// How.
    pub chart: Chart,
    /// Whose it is. Which rows each gets is a matter of `scope`.
    pub roles: Vec<Role>,
    /// For charts over time: the smallest stretch, microseconds.
    pub step_us_min: Option<i64>,
    /// What its numbers are held against.
    pub thresholds: Vec<Threshold>,
    /// The answer's columns, in order.
    pub columns: Vec<Column>,
    /// Which of them are drawn.
    pub picture: Picture,
    pub(super) wilson: Option<Wilson>,
    /// Rows of an answer, where it is a list that may be longer.
    pub(super) rows_max: Option<usize>,
    /// The part by which it can be asked for together with others.
    pub(super) shared: Option<&'static str>,
    sql: String,
}

/// Stretches that a file may name.
const STEPS: [(&str, i64); 4] =
    [("second", 1_000_000), ("minute", 60_000_000), ("hour", 3_600_000_000), ("day", 86_400_000_000)];

impl Panel {
    pub(super) fn parse(page: &str, id: &str, text: &str) -> Result<Panel, PanelError> {
        let unreadable = |source| PanelError::Unreadable {
            page: page.to_owned(),
            id: id.to_owned(),
            source: Box::new(source),
        };
        let file: File = toml::from_str(text).map_err(unreadable)?;
        let wrong = |what: &str| PanelError::Wrong {
            page: page.to_owned(),
            id: id.to_owned(),
            what: what.to_owned(),
        };
        if file.id != id {
            return Err(wrong("its id is not its file's name"));
        }
        let step = file.step.as_deref().map(|name| STEPS.into_iter().find(|(known, _)| *known == name));
        let step_us_min = match step {
            None => None,
            Some(Some((_, us))) => Some(us),
            Some(None) => return Err(wrong("step is second, minute, hour or day")),
        };
        if (file.chart == Chart::Time) != step_us_min.is_some() {
            return Err(wrong("a chart over time has a step, and no other has"));
        }
        let File { id, title, question, source, unit, chart, roles, thresholds, columns, picture, .. } = file;
        let rows_max = file.query.rows_max;
        let sql = file.query.sql.trim().to_owned();
        let page = page.to_owned();
        let panel = Panel {
            id,
            page,
            title,
            question,
            source,
            unit,
            chart,
            roles,
            step_us_min,
            thresholds,
            columns,
            picture,
            wilson: file.wilson,
            rows_max,
            shared: shared_part(&sql),
            sql,
        };
        let unknown = panel.drawn().find(|name| panel.column(name).is_none());
        match unknown.map(str::to_owned) {
            Some(name) => Err(wrong(&format!("there is no column {name}"))),
            None => Ok(panel),
        }
    }

    /// The names of columns that the picture, and what is computed behind the SQL, speak of.
    fn drawn(&self) -> impl Iterator<Item = &str> {
        let Picture { x, y, series, bounds, .. } = &self.picture;
        let held = self.thresholds.iter().flat_map(|threshold| [&threshold.column, &threshold.stated]);
        let drawn = [x, series].into_iter().chain(y).chain(bounds).chain(held);
        let computed = self
            .wilson
            .iter()
            .flat_map(|wilson| [&wilson.numerator, &wilson.denominator].into_iter().chain(&wilson.columns));
        drawn.chain(computed).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Which column a threshold is held against.
    pub fn held<'a>(&'a self, threshold: &'a Threshold) -> Option<usize> {
        let name = Some(&threshold.column).filter(|name| !name.is_empty()).or(self.picture.y.first());
        self.column(name?)
    }

    /// Where a column stands.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Its SQL, parts included. Parameters: `from_us`, `to_us`, `step_us`, `as_of_us`, `scope`, `subject`, those of them that it needs.
    pub fn sql(&self) -> String {
        whole(&self.sql_of(self.rows_max))
    }

    /// As in its file, for one row more than is shown, which says only that there are more.
    pub(super) fn sql_and_one(&self) -> String {
        self.sql_of(self.rows_max.map(|rows| rows + 1))
    }

    fn sql_of(&self, rows_max: Option<usize>) -> String {
        let limit = rows_max.map(|rows| format!("\nLIMIT {rows}"));
        self.sql.clone() + &limit.unwrap_or_default()
    }

    /// Whether the SQL gives that column; others are computed behind it.
    pub fn is_asked(&self, column: &Column) -> bool {
        !self.wilson.as_ref().is_some_and(|wilson| wilson.columns.contains(&column.name))
    }
}
