//! The world that the integration tests live in: real servers, started and stopped by the tests.
//!
//! | piece | what it starts |
//! | --- | --- |
//! | [`Kafka`] | Apache Kafka in KRaft mode, one node; the in-process broker where that cannot be had |
//! | [`ClickHouse`] | `tally clickhouse`: the real engine behind its HTTP interface |
//! | [`ObjectStore`] | an S3-compatible object store, moto's server |
//! | [`Registry`] | Apicurio Registry, by its Confluent-compatible API |
//! | [`Tally`] | the binary under test |
//! | [`MockPlatform`] | `tally mock-platform`: the services behind the gateway, with what goes wrong |
//! | [`Stage`] | topics, group and database of one test, and `tally` pointed at them |
//! | [`python`], [`kcat`] | clients that share no code with Tally |
//! | [`Prometheus`] | Prometheus over the rules that operators get |
//! | [`Browser`] | headless Chromium, for pages |
//! | [`Proxy`], [`ProxiedKafka`] | a network that fails on request; a Kafka behind one |
//! | [`Group`] | what a group has committed, without joining it |
//! | [`Clock`] | a clock that a process goes by, and that jumps |
//! | [`trickle`], [`at_once`] | clients that send byte by byte, or too much |
//! | [`Certificates`], [`TlsProxy`] | an authority of one's own, and TLS in front of a server that has none |
//!
//! Everything listens on loopback, on ports that were free, and keeps its files in a
//! [`TempFolder`]. Nothing outlives the test process, however that ends: see [`guard`].
//! `tests/setup/install.sh` fetches what is started here. `KAFKA_BROKERS` and `CLICKHOUSE_URL`
//! point the tests at servers of your own; `TALLY_KEEP=1` keeps the folders to look into.
//!
//! Start with `tests/tests/integration/world.rs`, which proves each piece.
//!
//! The pieces panic with a sentence that says what to do: a test has no better way to go on.

pub mod account;
mod browser;
mod certificates;
mod clickhouse;
mod clock;
pub mod examples;
pub mod feed;
pub mod gateway;
mod group;
pub mod guard;
pub mod kafka;
pub mod kcat;
mod mock_platform;
mod need;
mod object_store;
mod place;
mod process;
pub mod prometheus;
mod proxy;
pub mod python;
mod registry;
pub mod service;
mod slow;
pub mod stage;
mod tally;
mod tls_proxy;
mod wait;

pub use browser::Browser;
pub use certificates::Certificates;
pub use clickhouse::{ClickHouse, Database, Refused};
pub use clock::Clock;
pub use group::{Committed, Group};
pub use kafka::{Kafka, KafkaCluster, ProxiedKafka, Secured};
pub use mock_platform::MockPlatform;
pub use need::{Missing, skip_without};
pub use object_store::ObjectStore;
pub use place::{TempFolder, cache, free_port, repository, unique};
pub use process::{Ended, Process};
pub use prometheus::Prometheus;
pub use proxy::{Met, Proxy};
pub use registry::Registry;
pub use slow::{at_once, trickle};
pub use stage::Stage;
pub use tally::{Tally, cargo};
pub use tls_proxy::TlsProxy;
pub use wait::{Raised, eventually};
