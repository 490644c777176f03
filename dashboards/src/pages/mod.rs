//! Pages, rendered here: markup from the same answers that the API gives, in the reader's language, zone and colours.
//!
//! ```text
//! request ─▶ guard (cookie or header ▶ principal ▶ whose page) ─▶ page ─▶ panels, side by side ─▶ shell ─▶ HTML
//! ```
//! A page gets a [`Visitor`]; it cannot be reached without one. What a script adds (pictures of tables, what happens live) stands
//! in `assets/`; without it every number is there all the same.

mod asset;
mod case;
mod compliance;
mod controls;
mod creator;
mod figure;
mod form;
mod guard;
mod hint;
mod home;
mod jobs;
mod letter;
mod letters;
mod live;
mod moderation;
mod my;
mod number;
mod overview;
mod picture;
mod piece;
mod product;
mod session;
mod sheet;
mod shell;
mod symbols;
mod task;
mod tasks;
mod verdict;
mod view;

pub(crate) use number::DIGITS;
pub use session::PageTokens;
pub(crate) use shell::Rendered;

use crate::api::Api;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::sync::Arc;
use tower_http::compression::CompressionLayer;

/// What pages work with.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    /// The store, the authority, bounds.
    pub(crate) api: Api,
    /// In a demo: who signs tokens for whoever is on this machine.
    pub(crate) tokens: Option<Arc<PageTokens>>,
    /// Whether this service has the feed.
    pub(crate) has_feed: bool,
}

/// The routes.
pub(crate) fn router(api: Api, tokens: Option<PageTokens>, has_feed: bool) -> Router {
    let pages = Pages { api, tokens: tokens.map(Arc::new), has_feed };
    let guarded = Router::new()
        .route("/overview", get(overview::page))
        .route("/product", get(product::page))
        .route("/compliance", get(compliance::page))
        .route("/verdict/{result_id}", get(verdict::page))
        .route("/moderation", get(moderation::page))
        .route("/case/{case_id}", get(case::page))
        .route("/dead", get(letters::page))
        .route("/dead/{topic}/{partition}/{offset}", get(letter::page))
        .route("/dead/{topic}/{partition}/{offset}/replay", post(letter::publish))
        .route("/creator", get(creator::page))
        .route("/my", get(my::page))
        .route("/task/{task_id}", get(task::page))
        .route_layer(from_fn_with_state(pages.clone(), guard::guard));
    let open = Router::new()
        .route("/", get(home::page))
        .route("/session", post(session::begin))
        .route("/session/end", post(session::end))
        .merge(asset::router());
    guarded.merge(open).layer(CompressionLayer::new()).with_state(pages)
}
