//! Flows over HTTP: begun under a key, told what happened, looked at.

use super::kind::{Command, Kind};
use super::life::{Begun, COMMANDS_MAX, Flow, Obeyed};
use super::machine::By;
use super::requests::Start;
use super::{record, view};
use crate::gateway::ask::{Caller, Told, store_failed};
use crate::gateway::code::{Code, Problem};
use crate::gateway::moment::now_us;
use crate::gateway::server::{Server, answer, json, key, trace_id};
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use sha2::{Digest, Sha256};
use std::time::Duration;
use uuid::Builder;

/// So long a call waits for the flow to come to rest; then it is told how far it has come.
const PATIENCE: Duration = Duration::from_millis(300);
/// A command that others overtake is tried so often.
const OVERTAKEN_MAX: u32 = 20;

/// The routes of flows.
pub(in crate::gateway) fn routes() -> Router<Server> {
    let starts = Kind::ALL.into_iter().fold(Router::new(), |router, kind| {
        let start = move |State(server): State<Server>, request: Request| async move {
            respond(begin(&server, kind, request).await)
        };
        router.route(&format!("/flows/{}", kind.name()), post(start))
    });
    starts.route("/flows/{id}", get(show)).route("/flows/{id}/{command}", post(command))
}

/// Why a call is answered with something else than a flow.
enum Stop {
    Problem(Problem),
    Told(Told),
}

impl From<Code> for Stop {
    fn from(code: Code) -> Stop {
        Stop::Problem(Problem::new(code))
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Stop {
        Stop::Problem(problem)
    }
}

/// A path that is no text is no path of ours.
type Read<T> = Result<Path<T>, PathRejection>;

async fn show(State(server): State<Server>, path: Read<String>, headers: HeaderMap) -> Response {
    let found = async {
        let caller = server.caller(&headers).await?;
        let Path(id) = path.map_err(|_| Code::NotFound)?;
        Ok((own(&server, &caller, &id).await?, false))
    };
    respond(found.await)
}

async fn command(State(server): State<Server>, path: Read<(String, String)>, request: Request) -> Response {
    match path {
        Ok(Path((id, name))) => respond(obey(&server, &id, &name, request).await),
        Err(_) => respond(Err(Code::NotFound.into())),
    }
}

fn respond(result: Result<(Flow, bool), Stop>) -> Response {
    let (flow, replayed) = match result {
        Ok(found) => found,
        Err(Stop::Problem(problem)) => return answer(Told::problem(&problem)),
        Err(Stop::Told(told)) => return answer(told),
    };
    let status = if flow.rests() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let body = serde_json::to_vec(&view::of(&flow)).unwrap_or_default(); // texts and numbers: nothing there can fail
    answer(Told { status: status.as_u16(), body: body.into(), replayed, retry_after_s: None })
}

async fn begin(server: &Server, kind: Kind, request: Request) -> Result<(Flow, bool), Stop> {
    let (parts, body) = request.into_parts();
    let caller = server.admit(&parts.headers, kind.scope()).await?;
    let body = json(&parts.headers, body, server.gateway.inner.settings.body_bytes_max).await?;
    let key = key(&parts.headers)?.ok_or(Code::IdempotencyKeyMissing)?;
    let start = Start::read(kind, &body).map_err(|error| Problem::because(error.code, error.detail))?;
    if server.gateway.inner.store.is_full() {
        return Err(Code::OutboxFull.into()); // no move without its events
    }
    let (id, now_us) = (id_of(&caller.subject, &key), now_us());
    let digest = hex::encode(Sha256::digest(start.canonical()));
    let about = start.about().clone();
    let (of, tells) = start.machine(By { id: caller.subject.clone(), role: caller.role }, now_us);
    let begun = Begun {
        id: id.clone(),
        caller: caller.subject.clone(),
        role: caller.role.to_owned(),
        trace_id: trace_id(&parts.headers),
        digest: digest.clone(),
        about,
        of,
    };
    let fresh = server.flows.put(&Flow::begin(begun, now_us), &tells, now_us).await;
    let fresh = fresh.map_err(|error| Stop::Told(store_failed(&error)))?;
    let found = own(server, &caller, &id).await?;
    if found.digest != digest {
        return Err(Code::IdempotencyConflict.into());
    }
    Ok((rested(server, &caller, found).await?, !fresh))
}

async fn obey(server: &Server, id: &str, name: &str, request: Request) -> Result<(Flow, bool), Stop> {
    let (parts, body) = request.into_parts();
    let caller = server.caller(&parts.headers).await?;
    let mut flow = own(server, &caller, id).await?;
    if !flow.kind().commands().contains(&name) {
        return Err(Problem::because(Code::NotFound, "flows of this kind take no such command").into());
    }
    let body = json(&parts.headers, body, server.gateway.inner.settings.body_bytes_max).await?;
    let command = Command::read(name, &body).map_err(|error| Problem::because(error.code, error.detail))?;
    let command = command.ok_or(Code::NotFound)?;
    if server.gateway.inner.store.is_full() {
        return Err(Code::OutboxFull.into());
    }
    for _ in 0..OVERTAKEN_MAX {
        let now_us = now_us();
        let tells = match flow.command(command.clone(), now_us) {
            Obeyed::Before => return Ok((rested(server, &caller, flow).await?, true)),
            Obeyed::Refused(Code::FlowConflict) => return Err(conflict(&flow, &flow.takes())),
            Obeyed::Refused(code) => return Err(code.into()),
            Obeyed::Conflict(takes) => return Err(conflict(&flow, &takes)),
            Obeyed::Spent => {
                let said = format!(
                    "the flow has taken {COMMANDS_MAX} commands and takes no more; what is left is refunded by /credits/refund"
                );
                return Err(Problem::because(Code::FlowConflict, said).into());
            }
            Obeyed::Now(tells) => tells,
        };
        let put = server.flows.put(&flow, &tells, now_us).await;
        if put.map_err(|error| Stop::Told(store_failed(&error)))? {
            return Ok((rested(server, &caller, flow).await?, false));
        }
        flow = own(server, &caller, id).await?; // an act has ended meanwhile, or another command came
    }
    Err(Code::Overloaded.into())
}

fn conflict(flow: &Flow, takes: &[&str]) -> Stop {
    let takes = if takes.is_empty() { "no command".to_owned() } else { takes.join(", ") };
    Problem::because(Code::FlowConflict, format!("the flow is {}, which takes: {takes}", flow.state())).into()
}

/// The flow once it rests, or as far as it has come by the time that a call waits.
async fn rested(server: &Server, caller: &Caller, flow: Flow) -> Result<Flow, Stop> {
    if flow.rests() {
        return Ok(flow);
    }
    server.flows.wait_for(&flow.id, PATIENCE).await;
    own(server, caller, &flow.id).await
}

/// The caller's own flow: that of another is none.
async fn own(server: &Server, caller: &Caller, id: &str) -> Result<Flow, Stop> {
    let may = |kind: Kind| caller.scopes.iter().any(|scope| scope == kind.scope());
    if !Kind::ALL.into_iter().any(may) {
        return Err(Code::ScopeMissing.into());
    }
    let row = server.flows.get(id).await.map_err(|error| Stop::Told(store_failed(&error)))?;
    let row = row.filter(|row| row.caller == caller.subject).ok_or(Code::NotFound)?;
    let flow = record::read(&row).ok_or(Code::Internal)?;
    if may(flow.kind()) { Ok(flow) } else { Err(Code::ScopeMissing.into()) }
}

/// The id of the flow that this caller began, or begins, under that key.
fn id_of(caller: &str, key: &str) -> String {
    let digest = Sha256::new().chain_update(caller).chain_update([0]).chain_update(key).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
