//! Dashboard figures, as the end of METRICS lists them: each with its range, how far the data had come, and whether it is final.

use super::answer::{self, Page};
use super::guard::Caller;
use super::moment::{Moment, Range};
use super::query::Asked;
use super::store::Api;
use crate::panel::Window;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_queries::service::{
    ACCELERATION, ENDPOINTS, MODERATION, QUEUES, QUOTAS, Question, REVENUE, SUPPLEMENTS, TASK_SUCCESS,
};
use utoipa::{IntoParams, ToSchema};

/// One figure over a range of event time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Figure {
    /// Which.
    figure: String,
    /// From this moment.
    from: Moment,
    /// Up to this one, which is not in it.
    to: Moment,
    /// Every event before this moment has arrived, as far as the partitions tell; null where they tell nothing.
    as_of: Option<Moment>,
    /// Whether nothing that belongs to the range can come any more.
    #[serde(rename = "final")]
    is_final: bool,
    /// By currency, queue, endpoint, risk or creator.
    groups: Vec<Group>,
}

/// One group of a figure.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Group {
    /// Its name.
    name: String,
    /// Whole numbers as text: counts, `_minor` units of a currency, `_micros` of a credit, `_us` microseconds. A rate is two.
    values: BTreeMap<String, String>,
}

/// One line of CSV.
#[derive(Debug, Serialize)]
struct Line<'a> {
    figure: &'a str,
    from: Moment,
    to: Moment,
    as_of: Option<Moment>,
    #[serde(rename = "final")]
    is_final: bool,
    group: &'a str,
    name: &'a str,
    value: &'a str,
}

#[derive(Debug, Deserialize, Row)]
struct GroupRow {
    name: String,
    figures: Vec<(String, String)>,
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
}

macro_rules! figures {
    ($($(#[doc = $doc:literal])* $handler:ident $path:literal $question:ident,)*) => {
        $(
            $(#[doc = $doc])*
            #[utoipa::path(get, path = $path, params(Wanted), responses((status = 200, body = Figure)))]
            pub(super) async fn $handler(
                State(api): State<Api>,
                caller: Caller,
                Asked(wanted): Asked<Wanted>,
                headers: HeaderMap,
            ) -> Result<Response, Problem> {
                answer(&api, &caller, ($question, $path), &wanted, &headers).await
            }
        )*
    };
}

figures! {
    /// Revenue: purchases by currency, credits charged net of refunds
    revenue "/api/v1/figures/revenue" REVENUE,
    /// Task success rate by queue: succeeded of terminal
    task_success "/api/v1/figures/task-success" TASK_SUCCESS,
    /// Queue depth at the end of the range, and waiting time
    queues "/api/v1/figures/queues" QUEUES,
    /// Share of accelerated tasks
    acceleration "/api/v1/figures/acceleration" ACCELERATION,
    /// Supplements asked for, and how they were answered
    supplements "/api/v1/figures/supplements" SUPPLEMENTS,
    /// Error rate by endpoint
    endpoints "/api/v1/figures/endpoints" ENDPOINTS,
    /// The moderation queue by risk, and its SLA
    moderation "/api/v1/figures/moderation" MODERATION,
    /// What is left of licences' quotas, by creator
    quotas "/api/v1/figures/quotas" QUOTAS,
}

async fn answer(
    api: &Api,
    caller: &Caller,
    (question, path): (Question, &str),
    wanted: &Wanted,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::of_figure(wanted.from.as_deref(), wanted.to.as_deref())?;
    let window = Window::of(api, range.to.0).await?;
    let query = api.ask(question).param("from_us", range.from.0).param("to_us", range.to.0);
    let query = match question.name {
        name if name == QUOTAS.name => {
            query.param("scope", caller.scope()).param("subject", &caller.principal.subject)
        }
        name if name == MODERATION.name => query.param("as_of_us", window.as_of_us.unwrap_or(i64::MIN)),
        _ => query,
    };
    let rows = api.rows::<GroupRow>(question, query).await?;
    let figure = Figure {
        figure: path.rsplit('/').next().unwrap_or_default().to_owned(),
        from: range.from,
        to: range.to,
        as_of: window.as_of_us.map(Moment),
        is_final: window.is_final,
        groups: rows
            .into_iter()
            .map(|row| Group { name: row.name, values: row.figures.into_iter().collect() })
            .collect(),
    };
    if answer::is_csv(headers)? {
        return answer::page(headers, &Page { items: lines(&figure), next: None });
    }
    answer::one(headers, &figure)
}

fn lines(figure: &Figure) -> Vec<Line<'_>> {
    let Figure { figure, from, to, as_of, is_final, groups } = figure;
    let values = groups.iter().flat_map(|group| group.values.iter().map(|value| (&group.name, value)));
    values
        .map(|(group, (name, value))| Line {
            figure,
            from: *from,
            to: *to,
            as_of: *as_of,
            is_final: *is_final,
            group,
            name,
            value,
        })
        .collect()
}
