//! Panels: the questions of the pages, for programs.

use super::answer::{self, Page};
use super::guard::{Caller, scope};
use super::moment::{Moment, Range};
use super::query::{Asked, Named};
use super::store::Api;
use crate::panel::{self, Answer, Chart, Column, Panel, Text, Threshold, Unit, panels};
use crate::problem::{Code, Problem};
use crate::rights::panel_scope;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A chart over time has no more stretches.
const STRETCHES_MAX: i64 = 1_000;
/// What a program of spreadsheets takes for the beginning of a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// What a panel asks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct About {
    /// Its id.
    id: &'static str,
    /// The page that it stands on.
    page: &'static str,
    /// For people.
    title: &'static Text,
    /// What it answers.
    question: &'static Text,
    /// Where its definition stands.
    source: &'static str,
    /// What is drawn.
    unit: Unit,
    /// How.
    chart: Chart,
    /// Columns of the answer, in order.
    columns: &'static [Column],
    /// What its numbers are held against.
    thresholds: &'static [Threshold],
}

impl About {
    fn of(panel: &'static Panel) -> About {
        let Panel { id, page, title, question, source, unit, chart, columns, thresholds, .. } = panel;
        About { id, page, title, question, source, unit: *unit, chart: *chart, columns, thresholds }
    }
}

/// One line of the list as CSV.
#[derive(Debug, Serialize)]
struct Line {
    id: &'static str,
    page: &'static str,
    title: &'static str,
    question: &'static str,
    source: &'static str,
}

/// A panel's answer over a range of event time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PanelAnswer {
    /// What was asked.
    panel: About,
    /// From this moment.
    from: Moment,
    /// Up to this one, which is not in it.
    to: Moment,
    /// Stretches of a chart over time, microseconds; null where there are none.
    step_us: Option<String>,
    /// Every event before this moment has arrived, as far as the partitions tell; null where they tell nothing.
    as_of: Option<Moment>,
    /// Whether nothing that belongs to the range can come any more.
    #[serde(rename = "final")]
    is_final: bool,
    /// Values in the order of the columns, as text; null where there is none.
    rows: Vec<Vec<Option<String>>>,
    /// Whether there are more rows, behind the last one in the panel's order: a shorter range has fewer.
    more: bool,
}

/// The panels of the caller's role
#[utoipa::path(get, path = "/api/v1/panels", responses((status = 200, body = Page<About>)))]
pub(super) async fn list(caller: Caller, headers: HeaderMap) -> Result<Response, Problem> {
    let theirs = panels().iter().filter(|panel| panel.roles.contains(&caller.principal.role));
    if answer::is_csv(&headers)? {
        let line = |panel: &'static Panel| Line {
            id: &panel.id,
            page: &panel.page,
            title: &panel.title.en,
            question: &panel.question.en,
            source: &panel.source,
        };
        return answer::page(&headers, &Page { items: theirs.map(line).collect(), next: None });
    }
    answer::one(&headers, &Page { items: theirs.map(About::of).collect(), next: None })
}

/// Over which range.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// From this moment, RFC 3339; a day before `to` where it is not given.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Up to this moment, RFC 3339; now where it is not given.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Stretches of a chart over time, seconds; by the range where it is not given.
    #[param(minimum = 1, maximum = 31_622_400)]
    step: Option<u32>,
    /// `csv` is CSV whatever the request accepts: a link cannot say what it accepts.
    form: Option<Form>,
}

/// The form of an answer, said in the address.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// JSON.
    Json,
    /// CSV.
    Csv,
}

impl Wanted {
    fn range(&self) -> Result<Range, Problem> {
        let wrong = |what: &str| Problem::because(Code::InvalidParameter, what);
        let range = Range::of_figure(self.from.as_deref(), self.to.as_deref())?;
        let range_us = range.to.0.saturating_sub(range.from.0);
        match self.step.map(|step| i64::from(step) * 1_000_000) {
            Some(0) => Err(wrong("step is at least a second")),
            Some(step) if range_us / step > STRETCHES_MAX => {
                Err(wrong("step leaves more than 1000 stretches"))
            }
            _ => Ok(range),
        }
    }
}

/// One panel's answer, as JSON or CSV
#[utoipa::path(get, path = "/api/v1/panels/{panel_id}", params(("panel_id" = String, Path), Wanted),
    responses((status = 200, body = PanelAnswer)))]
pub(super) async fn one(
    State(api): State<Api>,
    caller: Caller,
    Named(panel_id): Named<String>,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let role = caller.principal.role;
    let panel = panel::panel(&panel_id).ok_or_else(|| Problem::new(Code::NotFound))?;
    if !panel.roles.contains(&role) {
        return Err(Problem::new(Code::Forbidden));
    }
    let range = wanted.range()?;
    let asked = panel::Asked {
        from_us: range.from.0,
        to_us: range.to.0,
        step_us: wanted.step.map(|step| i64::from(step) * 1_000_000),
        scope: scope(panel_scope(role)),
        subject: caller.principal.subject,
    };
    let found = panel::ask(&api, panel, &asked).await?;
    let as_csv = match wanted.form {
        Some(form) => form == Form::Csv,
        None => answer::is_csv(&headers)?,
    };
    if as_csv {
        let mut response = answer::sheet(&headers, &panel.id, &sheet(&found))?;
        if found.more {
            response.headers_mut().insert("x-more-rows", HeaderValue::from_static("true"));
        }
        return Ok(response);
    }
    let body = PanelAnswer {
        panel: About::of(panel),
        from: Moment(found.from_us),
        to: Moment(found.to_us),
        step_us: (found.step_us > 0).then(|| found.step_us.to_string()),
        as_of: found.window.as_of_us.map(Moment),
        is_final: found.window.is_final,
        rows: found.rows,
        more: found.more,
    };
    answer::thing(&headers, &body)
}

/// Lines of CSV, the head first: each row with the time at which it was so. What a spreadsheet would take for a formula has an
/// apostrophe before it; numbers stay numbers.
fn sheet(answer: &Answer) -> Vec<Vec<String>> {
    let columns = &answer.panel.columns;
    let head = columns.iter().map(|column| column.name.clone());
    let head = head.chain(["as_of".to_owned(), "final".to_owned()]).collect();
    let as_of = answer.window.as_of_us.map(|us| Moment(us).text()).unwrap_or_default();
    let row = |row: &Vec<Option<String>>| {
        let cell = |(column, value): (&Column, &Option<String>)| {
            let value = value.clone().unwrap_or_default();
            match column.unit {
                Unit::TimeUs => value.parse().map_or(value, |us| Moment(us).text()),
                unit if !unit.is_number() && value.starts_with(FORMULA) => format!("'{value}"),
                _ => value,
            }
        };
        let cells = columns.iter().zip(row).map(cell);
        cells.chain([as_of.clone(), answer.window.is_final.to_string()]).collect()
    };
    std::iter::once(head).chain(answer.rows.iter().map(row)).collect()
}
