//! What tests ask of the mock beside the contract: wallets, licences, the script, the tokens, and what the ledger says.

use super::super::code::{Code, Problem};
use super::super::contract;
use super::call::Answer;
use super::faults::Script;
use super::ledger::{Movement, NewWallet, Wallet};
use super::receipts::Receipt;
use super::tasks::{License, NewLicense, Task};
use super::{ADMIN_BYTES_MAX, Platform};
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// By wallet and kind of event: how many movements, and how many micros they moved.
pub type Sums = BTreeMap<(String, String), (u64, i64)>;

/// What `GET /_mock/ledger` answers.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Statement {
    /// Every wallet, by its id.
    pub wallets: BTreeMap<String, Wallet>,
    /// Every movement of credits, in order.
    pub movements: Vec<Movement>,
    /// Every attempt of every key that arrived.
    pub receipts: Vec<Receipt>,
    /// Every task, by its id.
    pub tasks: BTreeMap<String, Task>,
    /// Every licence, by its id.
    pub licenses: BTreeMap<String, License>,
}

impl Statement {
    /// What its movements are as events: by wallet and kind of event, how often and how many micros. Grants are no calls and have none.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::new();
        for movement in &self.movements {
            let Some(kind) = movement.kind.event() else { continue };
            let (movements, micros) = sums.entry((movement.wallet_id.clone(), kind.to_owned())).or_default();
            *movements += 1;
            *micros += movement.amount_micros;
        }
        sums
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    tokens: Vec<String>,
}

pub(super) fn router() -> Router<Arc<Platform>> {
    Router::new()
        .route("/_mock/wallets", post(wallets))
        .route("/_mock/licenses", post(licenses))
        .route("/_mock/script", post(script))
        .route("/_mock/credentials", post(credentials))
        .route("/_mock/ledger", get(ledger))
        .layer(DefaultBodyLimit::max(ADMIN_BYTES_MAX))
}

async fn wallets(State(platform): State<Arc<Platform>>, body: Bytes) -> Response {
    let grant = |new: Vec<NewWallet>| {
        let (now_us, mut books) = ((platform.now_us)(), platform.books());
        new.iter().try_for_each(|wallet| books.ledger.grant(wallet, now_us))
    };
    done(read(&body).and_then(grant))
}

async fn licenses(State(platform): State<Arc<Platform>>, body: Bytes) -> Response {
    let grant = |new: Vec<NewLicense>| {
        let mut books = platform.books();
        new.into_iter().try_for_each(|license| books.ledger.tasks.license(license))
    };
    done(read(&body).and_then(grant))
}

async fn script(State(platform): State<Arc<Platform>>, body: Bytes) -> Response {
    let play = |script: Script| {
        script.check().map_err(|error| Problem::because(Code::InvalidRequest, error.to_string()))?;
        platform.play(script);
        Ok(())
    };
    done(read(&body).and_then(play))
}

async fn credentials(State(platform): State<Arc<Platform>>, body: Bytes) -> Response {
    done(read(&body).map(|given: Credentials| platform.authentication.accept(&given.tokens)))
}

async fn ledger(State(platform): State<Arc<Platform>>) -> Json<Statement> {
    Json(platform.statement())
}

impl Platform {
    /// Everything that it knows.
    pub(super) fn statement(&self) -> Statement {
        let books = self.books();
        Statement {
            wallets: books.ledger.wallets().clone(),
            movements: books.ledger.movements().to_vec(),
            receipts: self.receipts().all(),
            tasks: books.ledger.tasks.tasks().clone(),
            licenses: books.ledger.tasks.licenses().clone(),
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    contract::parse(body).map_err(|wrong| Problem::because(wrong.code, wrong.detail))
}

fn done(result: Result<(), Problem>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => Answer::problem(&problem).into_response(),
    }
}
