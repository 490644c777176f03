//! For Rust services: publish events without thinking about Kafka or Avro, and call the gateway without thinking about retries.
//!
//! [`Publisher`] takes the typed events of [`events`], holds each against its contract *before* it is sent, and says where
//! Kafka keeps it. [`GatewayClient`] has the gateway's four calls: it sends a charge again only under its key, waits as the
//! gateway says, and tells apart what was refused, what may have been done, and what was not done.
//!
//! A task that is estimated, held, charged and told of:
//!
//! ```no_run
//! use tally_pipeline::client::events::{ActorRole, Author, PolicyTag, TaskEvent, TaskKind};
//! use tally_pipeline::client::{
//!     About, CallError, ChargePurpose, ChargeRequest, EstimateRequest, GatewayClient, IdempotencyKey, Patience, Publisher,
//!     PublisherConfig, Queue, SecretString, Want,
//! };
//!
//! # async fn renewed(_: Want) -> Result<SecretString, tally_pipeline::client::BoxError> { Ok("token".into()) }
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let publisher = Publisher::new(PublisherConfig::at("127.0.0.1:9092"))?;
//! let gateway = GatewayClient::new("http://127.0.0.1:8485".parse()?, renewed, Patience::default())?;
//! let about = About {
//!     wallet_id: "wallet-1".to_owned(),
//!     policy_tag: PolicyTag::GeneralUse.symbol().to_owned(),
//!     task_id: Some("task-1".to_owned()),
//!     ..About::default()
//! };
//!
//! let estimate = EstimateRequest { about: about.clone(), queue: Queue::Normal, compute_units: 2_000 };
//! let estimate = gateway.estimate(&estimate).await?;
//!
//! let mut charge = ChargeRequest {
//!     about,
//!     purpose: ChargePurpose::Hold,
//!     amount_micros: estimate.amount_micros,
//!     estimate_id: Some(estimate.estimate_id),
//!     queue: Some(Queue::Normal),
//! };
//! // One key for one request. It is made of what the service keeps anyway, so that a restart asks under the same one.
//! let key = IdempotencyKey::new("task-1-hold")?;
//! match gateway.charge(&key, &charge).await {
//!     Ok(held) => println!("held: {} micros", held.held_micros),
//!     Err(CallError::Refused(problem)) => return Err(problem.title.into()), // no credits moved
//!     Err(CallError::Unknown { key, .. }) => return Err(format!("ask again under {key}").into()),
//!     Err(error) => return Err(error.into()),
//! }
//! charge.purpose = ChargePurpose::Charge;
//! gateway.charge(&IdempotencyKey::new("task-1-charge")?, &charge).await?;
//!
//! let author = Author::new("scheduler", "service-scheduler", ActorRole::Service);
//! let event = TaskEvent::new(TaskKind::Succeeded, "task-1", (Queue::Normal, 4), PolicyTag::GeneralUse, &author);
//! let placed = publisher.publish(&event).await?;
//! println!("{} stands at {}/{}", event.event_id(), placed.partition, placed.offset);
//! # Ok(())
//! # }
//! ```
//!
//! A gateway behind TLS whose authority is your own: [`GatewayClient::trusting`] takes the file of it; Kafka's is `ca` of [`Kafka`].
//!
//! What is published here and what the gateway does meet in the same tables: the gateway tells of its calls itself, so a
//! service publishes no event of a call that went through it. `pipeline/docs/api.md` is the guide, with examples for Python
//! and `curl`.

pub mod events;
mod gateway;
mod key;
mod publisher;
mod retries;
mod symbols;
mod tokens;

pub use crate::config::Kafka;
pub use crate::gateway::code::{Code, Problem, Retry};
pub use crate::gateway::contract::{
    About, Audience, Charge, ChargePurpose, ChargeRequest, Estimate, EstimateRequest, LicenseCheck,
    LicenseCheckRequest, Queue, Refund, RefundOf, RefundReason, RefundRequest,
};
pub use gateway::{CallError, ClientError, GatewayClient};
pub use key::{IdempotencyKey, NotAKey};
pub use publisher::{Placed, PublishError, Publisher, PublisherConfig, PublisherError};
pub use retries::{Patience, Trouble};
pub use secrecy::SecretString;
pub use tokens::{BoxError, Tokens, Want};
