//! The platform adapter: credits and licences called safely, every attempt an event.
//!
//! ```text
//! caller ─▶ door ─▶ ask ─▶ store: request and attempt are written ─▶ platform ─▶ store: answer, attempt's event ─▶ caller
//!           token,  key                                                             │
//!           scope                                                                   └▶ outbox ─▶ Kafka
//! ```
//! One rule: nothing is sent to the platform that is not written before, and nothing is answered that is not written before.
//! So a process that dies leaves requests that the next one follows up under their own keys, and attempts that become events.

pub mod code;
pub mod contract;
pub mod mock;
pub mod openapi;
pub mod platform;
