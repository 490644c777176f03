//! The contracts and the dictionary of policy tags: the same for everybody who is let in.

use super::answer::{self, Page};
use super::guard::Caller;
use super::query::{Asked, Named};
use crate::problem::{Code, Problem};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tally_schemas::{Topic, contracts, latest, policy_tags, versions};
use utoipa::{IntoParams, ToSchema};

/// One version of a contract.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Schema {
    /// Which contract, such as `task-events`.
    topic: String,
    /// 1 for the first.
    version: u32,
    /// Full name of the record.
    record: String,
    /// CRC-64-AVRO of the canonical form, hex, in the byte order of single-object encoding.
    fingerprint: String,
    /// Whether it is the newest of its topic.
    latest: bool,
}

/// One version of a contract, with its text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SchemaText {
    /// Which.
    #[serde(flatten)]
    about: Schema,
    /// The Avro schema.
    #[schema(value_type = Object)]
    schema: Value,
}

/// One policy tag.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyTag {
    /// The symbol in events.
    symbol: String,
    /// Meaning in English.
    en: String,
    /// Meaning in Chinese.
    zh: String,
    /// Minutes from a report to the decision that is due.
    review_sla_minutes: u32,
    /// `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
    default_risk: String,
}

/// Takes no parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

fn about(contract: &tally_schemas::Contract) -> Schema {
    Schema {
        topic: contract.topic.name().to_owned(),
        version: contract.version,
        record: contract.record_name(),
        fingerprint: contract.fingerprint.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
        latest: latest(contract.topic).version == contract.version,
    }
}

/// Every version of every contract
#[utoipa::path(get, path = "/api/v1/schemas", responses((status = 200, body = Page<Schema>)))]
pub(super) async fn schemas(
    _: Caller,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer::page(&headers, &Page { items: contracts().iter().map(about).collect(), next: None })
}

/// One version of a contract, with its Avro schema
#[utoipa::path(get, path = "/api/v1/schemas/{topic}/{version}", params(("topic" = String, Path), ("version" = u32, Path)),
    responses((status = 200, body = SchemaText)))]
pub(super) async fn schema(
    _: Caller,
    Named((topic, version)): Named<(String, u32)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = || Problem::new(Code::NotFound);
    let topic = Topic::ALL.into_iter().find(|known| known.name() == topic).ok_or_else(missing)?;
    let contract = versions(topic).find(|contract| contract.version == version).ok_or_else(missing)?;
    let schema = serde_json::from_str(&contract.json).map_err(|_| Problem::new(Code::Internal))?;
    answer::one(&headers, &SchemaText { about: about(contract), schema })
}

/// The dictionary of policy tags
#[utoipa::path(get, path = "/api/v1/policy-tags", responses((status = 200, body = Page<PolicyTag>)))]
pub(super) async fn policy_tags_list(
    _: Caller,
    Asked(Nothing {}): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tag = |tag: &tally_schemas::PolicyTag| PolicyTag {
        symbol: tag.symbol.clone(),
        en: tag.en.clone(),
        zh: tag.zh.clone(),
        review_sla_minutes: tag.review_sla_minutes,
        default_risk: tag.default_risk.clone(),
    };
    answer::page(&headers, &Page { items: policy_tags().iter().map(tag).collect(), next: None })
}
