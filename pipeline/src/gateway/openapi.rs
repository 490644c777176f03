//! The documents: what the gateway answers to callers, what it asks of the platform, and every error with its remedy. They are
//! committed in `pipeline/docs`, where a test holds them to the code; `TALLY_WRITE_DOCS=1 cargo test --workspace --lib openapi`
//! writes them anew.

use super::code::{Code, Problem, Retry};
use super::contract::{
    Charge, ChargeRequest, Endpoint, Estimate, EstimateRequest, ID_BYTES_MAX, KEY_BYTES_MAX, LicenseCheck,
    LicenseCheckRequest, Refund, RefundRequest,
};
use super::platform::{ATTEMPT_HEADER, Revocation, RevokeRequest, Transition, TransitionRequest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use tally_schemas::policy_tags;
use utoipa::ToSchema;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, Schema};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, HeaderBuilder, Info, ObjectBuilder, OpenApi, Ref, RefOr, Required, ResponseBuilder, Type,
};

pub(super) const BEARER: &str = "access_token";

/// An operation before it is written: its path, texts, bodies, and the problems that are its own.
struct Call {
    path: &'static str,
    summary: &'static str,
    request: (&'static str, Value),
    response: &'static str,
    has_key: bool,
    codes: Vec<Code>,
}

/// What the gateway answers to its callers.
pub fn gateway_document() -> OpenApi {
    let mut document = OpenApi::new(Info::new("Tally gateway", "v1"), utoipa::openapi::Paths::new());
    document.info.description = Some(
        "The platform's credit and licence services, called safely. Amounts are whole numbers of micros: 1 credit = 1,000,000. \
         A charge or refund is done once for each Idempotency-Key, however often it is sent. `errors.md` has every problem's \
         cause and remedy."
            .to_owned(),
    );
    let scheme = Http::builder().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(
        "RFC 9068 access token of a service, whose scope claim holds the scope of the path.",
    ));
    let more = [
        Code::ScopeMissing,
        Code::PlatformRefused,
        Code::CircuitOpen,
        Code::OutboxFull,
        Code::IdentityUnavailable,
        Code::UpstreamUnavailable,
        Code::UpstreamTimeout,
        Code::UpstreamInvalid,
        Code::AdapterStopped,
    ];
    for endpoint in Endpoint::CALLS {
        let mut call = call(endpoint);
        call.codes.extend(more);
        let scopes: Vec<String> = endpoint.scope().into_iter().map(str::to_owned).collect();
        add(&mut document, call, &scopes);
    }
    super::flow::describe(&mut document);
    finish(&mut document, scheme.build());
    document
}

/// What the gateway asks of the platform: the same four calls, and what its flows need beside them.
pub fn platform_document() -> OpenApi {
    let mut document = OpenApi::new(Info::new("Platform", "v1"), utoipa::openapi::Paths::new());
    document.info.description = Some(
        "The credit and licence services behind the gateway. What has an Idempotency-Key is done once for each: the same key \
         with the same body is answered as the first time, refusals too; with another body it is a conflict. What the request \
         asks is looked at behind the key; a problem of another code than those named here says nothing of an earlier request \
         under the key, and with `retry: same_key` that one may be under way."
            .to_owned(),
    );
    for endpoint in Endpoint::ALL {
        add(&mut document, call(endpoint), &[]);
    }
    finish(&mut document, Http::builder().scheme(HttpAuthScheme::Bearer).build());
    document
}

/// The errors by their code: status, cause, remedy, and whether to ask again. Markdown.
pub fn errors_document() -> String {
    let mut text = "# Errors of the gateway\n\nMade from `pipeline/src/gateway/code.rs`; a test holds this file to it. To write it \
                    anew: `TALLY_WRITE_DOCS=1 cargo test --workspace --lib openapi`.\n\nEvery error is a problem document \
                    (RFC 9457, `application/problem+json`) with `code` and `retry`. Codes are never renamed.\n\n\
                    - `never`: the same request would be answered the same. Change it, or what it depends on, first.\n\
                    - `later`: after the time in `Retry-After`; a charge or refund under its key.\n\
                    - `same_key`: it may have been done. Ask again under the same `Idempotency-Key`, and only under it.\n\n\
                    | code | status | cause | remedy | retry |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    for code in Code::ALL {
        let retry = match code.retry() {
            Retry::Never => "never",
            Retry::Later => "later",
            Retry::SameKey => "same_key",
        };
        let (name, status, cause, remedy) =
            (code.name(), code.status().as_u16(), code.cause(), code.remedy());
        let _ = writeln!(text, "| `{name}` | {status} | {cause} | {remedy} | {retry} |"); // writing to a String cannot fail
    }
    text
}

/// What is asked of the platform, with the problems that it has, before the gateway and behind it.
fn call(endpoint: Endpoint) -> Call {
    let about = |more: Value| {
        let mut about = json!({"wallet_id": "wallet-1", "policy_tag": "GENERAL_USE", "task_id": "task-1"});
        if let (Value::Object(about), Value::Object(more)) = (&mut about, more) {
            about.extend(more);
        }
        about
    };
    let (summary, request, response, codes) = match endpoint {
        Endpoint::CreditsEstimate => (
            "What would it cost?",
            (
                "EstimateRequest",
                json!({"about": about(json!({})), "queue": "NORMAL", "compute_units": 2_000}),
            ),
            "Estimate",
            vec![Code::WalletUnknown],
        ),
        Endpoint::CreditsCharge => (
            "Hold or take credits",
            (
                "ChargeRequest",
                json!({"about": about(json!({})), "purpose": "HOLD", "amount_micros": 2_000_000}),
            ),
            "Charge",
            vec![
                Code::InsufficientBalance,
                Code::HoldFailed,
                Code::WalletUnknown,
                Code::WalletFrozen,
                Code::EstimateUnknown,
                Code::EstimateExpired,
            ],
        ),
        Endpoint::CreditsRefund => (
            "Give credits back, or let a hold go",
            (
                "RefundRequest",
                json!({"about": about(json!({})), "of": "HOLD", "amount_micros": 500_000, "reason": "ROLLBACK"}),
            ),
            "Refund",
            vec![Code::WalletUnknown, Code::RefundExceedsCharge],
        ),
        Endpoint::LicensesCheck => (
            "May this user run this template?",
            (
                "LicenseCheckRequest",
                json!({"about": about(json!({"license_id": "license-1", "user_id": "user-1"})), "needed_micros": 1_000}),
            ),
            "LicenseCheck",
            vec![
                Code::LicenseUnknown,
                Code::LicenseDenied,
                Code::LicenseExpired,
                Code::LicenseRevoked,
                Code::LicenseQuotaExhausted,
            ],
        ),
        Endpoint::TasksTransitions => return transitions(),
        Endpoint::LicensesRevoke => return revocations(),
    };
    Call { path: endpoint.path(), summary, request, response, has_key: endpoint.moves_money(), codes }
}

fn transitions() -> Call {
    let about = json!({"wallet_id": "wallet-1", "policy_tag": "GENERAL_USE", "task_id": "task-1", "user_id": "user-1"});
    Call {
        path: Endpoint::TasksTransitions.path(),
        summary: "Take one step with a task",
        request: ("TransitionRequest", json!({"about": about, "step": "SUBMITTED", "queue": "NORMAL"})),
        response: "Transition",
        has_key: true,
        codes: vec![Code::WalletUnknown, Code::NotFound, Code::FlowConflict],
    }
}

fn revocations() -> Call {
    let about = json!({
        "wallet_id": "wallet-1", "policy_tag": "GENERAL_USE", "license_id": "license-1", "case_id": "case-1",
    });
    Call {
        path: Endpoint::LicensesRevoke.path(),
        summary: "Revoke a licence: no task runs under it any more",
        request: ("RevokeRequest", json!({"about": about, "moderator_id": "moderator-1"})),
        response: "Revocation",
        has_key: true,
        codes: vec![Code::LicenseUnknown],
    }
}

fn add(document: &mut OpenApi, call: Call, scopes: &[String]) {
    let (schema, example) = call.request;
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(Some(example));
    let good = ContentBuilder::new().schema(Some(Ref::from_schema_name(call.response))).build();
    let good = ResponseBuilder::new().description("It is done").content("application/json", good);
    let id = call.path.trim_start_matches('/').replace('/', "_");
    let body =
        RequestBodyBuilder::new().content("application/json", body.build()).required(Some(Required::True));
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id.as_str()))
        .summary(Some(call.summary))
        .request_body(Some(body.build()))
        .response("200", good.build())
        .security(SecurityRequirement::new(BEARER, scopes.to_vec()));
    let mut codes = vec![
        Code::InvalidRequest,
        Code::TokenMissing,
        Code::TokenInvalid,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::RateLimited,
        Code::Overloaded,
        Code::Internal,
    ];
    if call.has_key {
        codes.extend([Code::IdempotencyKeyMissing, Code::IdempotencyConflict]);
        operation = operation.parameter(key_header(&id));
    }
    if scopes.is_empty() {
        let attempt = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let attempt = ParameterBuilder::new()
            .name(ATTEMPT_HEADER)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The attempt, from 1: for the platform's log, never for its decisions."))
            .schema(Some(attempt.build()));
        operation = operation.parameter(attempt.build());
    }
    codes.extend(call.codes);
    let mut operation = operation.build();
    problems(&mut operation, &codes);
    document.paths.paths.insert(call.path.to_owned(), PathItem::new(HttpMethod::Post, operation));
}

pub(super) fn key_header(call: &str) -> utoipa::openapi::path::Parameter {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(KEY_BYTES_MAX))
        .pattern(Some("^[!-~]+$"));
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some("One key for one logical request, a UUID for example, kept on every retry."))
        .schema(Some(text.build()))
        .example(Some(json!(format!("{call}-0192d3b4-7c1e-7f5a"))))
        .build()
}

/// The problems that may come instead of an answer, by status; each names the codes that it has here.
pub(super) fn problems(operation: &mut Operation, codes: &[Code]) {
    let mut statuses: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.iter().filter(|code| codes.contains(code)) {
        statuses.entry(code.status().as_u16()).or_default().push(*code);
    }
    for (status, codes) in statuses {
        let titles: Vec<String> =
            codes.iter().map(|code| format!("`{}`: {}", code.name(), code.title())).collect();
        let names = ObjectBuilder::new().enum_values(Some(codes.iter().map(|code| code.name())));
        let named = ObjectBuilder::new().property("code", names.schema_type(Type::String).build());
        let schema = AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(named.build());
        let content = ContentBuilder::new().schema(Some(Schema::AllOf(schema.build()))).build();
        let mut response = ResponseBuilder::new()
            .description(titles.join("; "))
            .content("application/problem+json", content);
        if codes.iter().any(|code| code.retry() == Retry::Later) {
            let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0));
            let header =
                HeaderBuilder::new().schema(Some(seconds.build())).description(Some("Seconds to wait."));
            response = response.header("Retry-After", header.build());
        }
        operation.responses.responses.insert(status.to_string(), RefOr::T(response.build()));
    }
}

/// Adds the schemas and the scheme, and what the types do not say of their texts.
fn finish(document: &mut OpenApi, scheme: Http) {
    let mut schemas = Vec::new();
    named::<EstimateRequest>(&mut schemas);
    named::<Estimate>(&mut schemas);
    named::<ChargeRequest>(&mut schemas);
    named::<Charge>(&mut schemas);
    named::<RefundRequest>(&mut schemas);
    named::<Refund>(&mut schemas);
    named::<LicenseCheckRequest>(&mut schemas);
    named::<LicenseCheck>(&mut schemas);
    named::<Problem>(&mut schemas);
    if document.paths.paths.contains_key(Endpoint::TasksTransitions.path()) {
        named::<TransitionRequest>(&mut schemas);
        named::<Transition>(&mut schemas);
        named::<RevokeRequest>(&mut schemas);
        named::<Revocation>(&mut schemas);
    }
    let components = document.components.get_or_insert_default();
    components.schemas.extend(schemas);
    components.schemas.values_mut().for_each(bound_texts);
    if let Some(RefOr::T(Schema::Object(codes))) = components.schemas.get_mut("Code") {
        // names that a macro gives are not seen by the derive
        codes.enum_values = Some(Code::ALL.iter().map(|code| code.name().into()).collect());
    }
    components.security_schemes.insert(BEARER.to_owned(), RefOr::T(SecurityScheme::Http(scheme)));
}

pub(super) fn named<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// Ids have bounds, and a policy tag is one of the dictionary.
fn bound_texts(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    for (name, property) in &mut object.properties {
        let RefOr::T(Schema::Object(property)) = property else { continue };
        if name == "policy_tag" {
            property.enum_values = Some(policy_tags().iter().map(|tag| tag.symbol.as_str().into()).collect());
        } else if name.ends_with("_id") {
            property.min_length = Some(1);
            property.max_length = Some(ID_BYTES_MAX);
        }
    }
}

#[cfg(test)]
mod tests;
