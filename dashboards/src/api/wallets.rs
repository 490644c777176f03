//! Wallets: what moved, and what the platform last said is left.

use super::answer::{self, Page};
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::Moment;
use super::query::{Asked, Named, Part, id};
use super::store::Api;
use super::timeline::{self, About, Event};
use crate::problem::{Code, Problem};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::service::WALLETS;
use utoipa::ToSchema;

/// A wallet's movements so far. Amounts are micros of a credit, as text.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(super) struct Wallet {
    /// Its id.
    wallet_id: String,
    /// Whose it is.
    user_id: String,
    /// When its latest event happened.
    changed_at: Moment,
    /// What the last event that states a balance says; null where none does.
    balance_micros: Option<String>,
    /// Bought.
    purchased_micros: String,
    /// Charged for tasks.
    charged_micros: String,
    /// Charged as supplements.
    supplements_micros: String,
    /// Paid back.
    refunded_micros: String,
    /// Events about it.
    events: u64,
}

/// One wallet, and what happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WalletTimeline {
    /// Its sums.
    wallet: Wallet,
    /// Events about it, the earliest first, as far as the caller may see them.
    events: Vec<Event>,
    /// Give it as `cursor` for the events that follow; null at the end.
    next: Option<String>,
}

/// Wallets by id
#[utoipa::path(get, path = "/api/v1/wallets", params(Part), responses((status = 200, body = Page<Wallet>)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Asked(part): Asked<Part>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let portion = Portion::asked("wallets", (part.cursor, part.limit), String::new())?;
    let wallets = find(&api, &caller, "", (&portion.after, portion.rows())).await?;
    portion.answer(&headers, wallets, |wallet| wallet.wallet_id.clone())
}

/// One wallet with its movements
#[utoipa::path(get, path = "/api/v1/wallets/{wallet_id}", params(("wallet_id" = String, Path), Part),
    responses((status = 200, body = WalletTimeline)))]
pub(super) async fn one(
    State(api): State<Api>,
    caller: Caller,
    Named(wallet_id): Named<String>,
    Asked(part): Asked<Part>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let wallet_id = id(wallet_id)?;
    let wallet = find(&api, &caller, &wallet_id, ("", 1)).await?.pop();
    let wallet = wallet.ok_or_else(|| Problem::new(Code::NotFound))?;
    let events = timeline::page(&api, &caller, (About::Wallet, &wallet_id), part).await?;
    answer::one(&headers, &WalletTimeline { wallet, events: events.items, next: events.next })
}

async fn find(
    api: &Api,
    caller: &Caller,
    wallet_id: &str,
    (after, limit): (&str, u32),
) -> Result<Vec<Wallet>, Problem> {
    let query = api.ask(WALLETS).param("scope", caller.scope()).param("subject", &caller.principal.subject);
    let query = query.param("wallet_id", wallet_id).param("after_id", after).param("limit", limit);
    api.rows(WALLETS, query).await
}
