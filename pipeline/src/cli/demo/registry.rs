//! The demo's schema registry: it answers one question of the Confluent API, which schema has this id.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use tally_pipeline::simulator::ForeignSchema;
use tokio::net::TcpListener;

/// Serves these schemas on loopback for as long as the process lives; gives the address.
pub(in crate::cli) async fn serve(schemas: Vec<ForeignSchema>) -> std::io::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/schemas/ids/{id}", get(schema)).with_state(Arc::new(schemas));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the demo's schema registry ended");
        }
    });
    Ok(format!("http://{address}"))
}

async fn schema(
    State(schemas): State<Arc<Vec<ForeignSchema>>>,
    Path(id): Path<u32>,
) -> (StatusCode, Json<Value>) {
    match schemas.iter().find(|schema| schema.id == id) {
        Some(found) => (StatusCode::OK, Json(json!({ "schema": found.json }))),
        None => (StatusCode::NOT_FOUND, Json(json!({ "error_code": 40403, "message": "Schema not found" }))),
    }
}
