//! The platform adapter: credits and licences called safely, every attempt an event.
//!
//! ```text
//! caller ─▶ server ─▶ ask ─▶ store: request, attempt ─▶ upstream ─▶ store: answer, the attempt's event ─▶ caller
//!           token,    key                                              │
//!           scope                                                      └▶ outbox ─▶ publish ─▶ Kafka
//! ```
//! One rule: nothing is sent to the platform that is not written before, and nothing is answered that is not written before.
//! So a process that dies leaves requests that the next one follows up under their own keys, and attempts that become events.
//! Read `ask.rs`, then `run.rs`.

mod answer;
mod ask;
mod breaker;
pub mod code;
pub mod contract;
mod credential;
mod endpoint;
mod event;
pub mod flow;
mod follow;
mod metrics;
pub mod mock;
mod moment;
pub mod openapi;
pub mod platform;
mod publish;
mod run;
mod serve;
mod server;
mod settings;
mod store;
mod upstream;

pub use ask::{Caller, Gateway, Told};
pub use breaker::BreakerConfig;
pub use credential::{Credential, CredentialError, ReadSecret};
pub use metrics::Metrics;
pub use publish::Acknowledged;
pub use serve::{GatewayConfig, GatewayError, Serving, serve};
pub use server::Callers;
pub use settings::Settings;
pub use store::{Durability, OpenError, StoreConfig, StoreError};
pub(crate) use upstream::{ANSWER_BYTES_MAX, whole};
