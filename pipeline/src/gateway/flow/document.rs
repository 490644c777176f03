//! The flows in the gateway's document.

use super::kind::Kind;
use super::requests::{
    AccelerationStart, ComputeStart, Decide, GiveBack, ModerationStart, Nothing, Review, Settle,
};
use super::view::FlowView;
use crate::gateway::code::Code;
use crate::gateway::openapi::{BEARER, key_header, named, problems};
use serde_json::{Value, json};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, ObjectBuilder, OpenApi, Ref, Required, ResponseBuilder, Type};

/// Codes of every path of flows.
const ALWAYS: [Code; 6] = [
    Code::TokenMissing,
    Code::TokenInvalid,
    Code::ScopeMissing,
    Code::IdentityUnavailable,
    Code::OutboxFull,
    Code::Internal,
];
/// Codes of those that take a body.
const BODY: [Code; 3] = [Code::InvalidRequest, Code::TooLarge, Code::UnsupportedMediaType];

/// Adds the flows: how they begin, their commands, and how they are looked at.
pub(in crate::gateway) fn describe(document: &mut OpenApi) {
    for kind in Kind::ALL {
        let (summary, schema, example) = start(kind);
        let mut operation = operation(&format!("flows_{}", kind.name()), summary, &[kind.scope()]);
        take(&mut operation, schema, Some(example));
        operation.parameters = Some(vec![key_header(kind.name()).into()]);
        let mut codes = [&ALWAYS[..], &BODY].concat();
        codes.extend([Code::IdempotencyKeyMissing, Code::IdempotencyConflict]);
        problems(&mut operation, &codes);
        add(document, &format!("/flows/{}", kind.name()), HttpMethod::Post, operation);
    }
    let commands = Kind::ALL.into_iter().flat_map(|kind| kind.commands());
    let mut commands: Vec<&str> = commands.copied().collect();
    commands.sort_unstable();
    commands.dedup();
    for command in commands {
        let (summary, schema) = told(command);
        let takers = Kind::ALL.into_iter().filter(|kind| kind.commands().contains(&command));
        let scopes: Vec<&str> = takers.map(Kind::scope).collect();
        let mut operation = operation(&format!("flow_{command}"), summary, &scopes);
        take(&mut operation, schema, None);
        operation.parameters = Some(vec![id_parameter().into()]);
        let mut codes = [&ALWAYS[..], &BODY].concat();
        codes.extend([Code::NotFound, Code::FlowConflict, Code::Overloaded]);
        if command == "refund" {
            codes.push(Code::RefundExceedsCharge);
        }
        problems(&mut operation, &codes);
        add(document, &format!("/flows/{{id}}/{command}"), HttpMethod::Post, operation);
    }
    let scopes: Vec<&str> = Kind::ALL.into_iter().map(Kind::scope).collect();
    let mut operation = operation("flow", "A flow as it stands", &scopes);
    operation.parameters = Some(vec![id_parameter().into()]);
    problems(&mut operation, &[&ALWAYS[..], &[Code::NotFound]].concat());
    add(document, "/flows/{id}", HttpMethod::Get, operation);
    let mut schemas = Vec::new();
    named::<ComputeStart>(&mut schemas);
    named::<AccelerationStart>(&mut schemas);
    named::<ModerationStart>(&mut schemas);
    named::<Settle>(&mut schemas);
    named::<GiveBack>(&mut schemas);
    named::<Review>(&mut schemas);
    named::<Decide>(&mut schemas);
    named::<Nothing>(&mut schemas);
    named::<FlowView>(&mut schemas);
    document.components.get_or_insert_default().schemas.extend(schemas);
}

fn start(kind: Kind) -> (&'static str, &'static str, Value) {
    let about = json!({
        "wallet_id": "wallet-1", "policy_tag": "GENERAL_USE", "task_id": "task-1", "user_id": "user-1",
    });
    match kind {
        Kind::Compute => (
            "Estimate a task and hold its credits",
            "ComputeStart",
            json!({"about": about, "queue": "NORMAL", "compute_units": 2_000}),
        ),
        Kind::Acceleration => (
            "Price a place in the accelerated queue and offer it",
            "AccelerationStart",
            json!({"about": about, "compute_units": 2_000, "normal_micros": 2_000_000}),
        ),
        Kind::Moderation => (
            "Report a licence, and what runs under it",
            "ModerationStart",
            json!({
                "about": {"wallet_id": "wallet-1", "policy_tag": "LIKENESS", "case_id": "case-1", "license_id": "license-1"},
                "reporter_id": "user-2", "risk_level": "HIGH",
            }),
        ),
    }
}

fn told(command: &str) -> (&'static str, &'static str) {
    match command {
        "settle" => ("The task is done and has cost so much", "Settle"),
        "accept" => ("The buyer takes what he was offered, or pays what he was asked for", "Nothing"),
        "decline" => ("The buyer does not", "Nothing"),
        "fail" => ("The task failed: all is given back", "Nothing"),
        "cancel" => ("Somebody has ended the task: all is given back", "Nothing"),
        "refund" => ("Give back some of what was charged", "GiveBack"),
        "rollback" => ("The place in the accelerated queue is given up, and paid back", "Nothing"),
        "review" => ("A moderator begins", "Review"),
        _ => ("A moderator has decided", "Decide"),
    }
}

/// An operation that answers a flow; one of the scopes is needed: that of the flow's kind.
fn operation(id: &str, summary: &str, scopes: &[&str]) -> Operation {
    let flow = || ContentBuilder::new().schema(Some(Ref::from_schema_name("FlowView"))).build();
    let answer =
        |text: &str| ResponseBuilder::new().description(text).content("application/json", flow()).build();
    let mut operation = OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .response("200", answer("The flow, which waits for a command or has ended"))
        .response("202", answer("The flow, which goes on by itself: look at it again"));
    for scope in scopes {
        operation = operation.security(SecurityRequirement::new(BEARER, vec![(*scope).to_owned()]));
    }
    operation.build()
}

fn take(operation: &mut Operation, schema: &str, example: Option<Value>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).example(example).build();
    let body = RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
    operation.request_body = Some(body.build().into());
}

fn id_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The flow's id, as its start has answered it."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).build()))
        .build()
}

fn add(document: &mut OpenApi, path: &str, method: HttpMethod, operation: Operation) {
    document.paths.paths.insert(path.to_owned(), PathItem::new(method, operation));
}
