//! The API under `/api/v1`: read-only over the store, but for revocations and replays of dead letters.
//!
//! ```text
//! request ─▶ guard (token ▶ principal ▶ rights ▶ rate) ─▶ handler ─▶ named SQL, ownership in it ─▶ masks ─▶ JSON or CSV
//! ```
//! A handler gets a [`Caller`]: it cannot be reached without one. What of a row somebody sees is asked of `rights`.

mod answer;
pub(crate) mod answers;
mod audit;
mod cases;
mod cursor;
mod dead;
mod dictionary;
mod evidence;
mod figures;
mod guard;
mod ledger;
mod licenses;
mod moment;
mod openapi;
mod panels;
mod proofs;
mod query;
mod replays;
mod revocations;
mod store;
mod task_evidence;
mod tasks;
mod timeline;
mod wallets;

pub(crate) use evidence::segment;
pub use guard::{Caller, SESSION_COOKIE, session_cookie};
pub(crate) use guard::{scope, token};
pub(crate) use moment::{FIGURE_US_MAX, Moment};
pub use openapi::document;
pub(crate) use replays::NewReplay;
pub(crate) use store::Unanswered;
pub use store::{Api, ApiConfig, Limits, SealSource};
pub(crate) use task_evidence::{letters as letters_of_task, taken as receipts_of_events};

use axum::Router;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every route with its operation in the document.
fn operations() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(guard::me))
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::one))
        .routes(routes!(task_evidence::task))
        .routes(routes!(wallets::list))
        .routes(routes!(wallets::one))
        .routes(routes!(licenses::list))
        .routes(routes!(licenses::one))
        .routes(routes!(cases::list))
        .routes(routes!(cases::one))
        .routes(routes!(figures::revenue))
        .routes(routes!(figures::task_success))
        .routes(routes!(figures::queues))
        .routes(routes!(figures::acceleration))
        .routes(routes!(figures::supplements))
        .routes(routes!(figures::endpoints))
        .routes(routes!(figures::moderation))
        .routes(routes!(figures::quotas))
        .routes(routes!(panels::list))
        .routes(routes!(panels::one))
        .routes(routes!(ledger::live))
        .routes(routes!(ledger::deliveries))
        .routes(routes!(dead::list))
        .routes(routes!(dead::one))
        .routes(routes!(dead::raw))
        .routes(routes!(replays::decoded))
        .routes(routes!(replays::list))
        .routes(routes!(replays::replay))
        .routes(routes!(audit::results))
        .routes(routes!(audit::result))
        .routes(routes!(evidence::offenders))
        .routes(routes!(evidence::verdicts))
        .routes(routes!(evidence::tiling))
        .routes(routes!(evidence::verifications))
        .routes(routes!(proofs::seals))
        .routes(routes!(proofs::proof))
        .routes(routes!(dictionary::schemas))
        .routes(routes!(dictionary::schema))
        .routes(routes!(dictionary::policy_tags_list))
        .routes(routes!(revocations::list, revocations::revoke))
}

/// The routes, behind their guard, and the document beside them, which is no data and open to all.
pub fn router(api: Api) -> Router {
    let (router, _) = operations().split_for_parts();
    let guarded = router.route_layer(axum::middleware::from_fn_with_state(api.clone(), guard::guard));
    guarded.merge(openapi::router()).with_state(api)
}
