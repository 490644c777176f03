//! Configuration: `tally.toml` < environment (`TALLY_…`) < flags. The doc comment of a field is its help text,
//! and its `id` is its key in the file.

mod kafka;
mod secret;

pub use kafka::{Kafka, set_defaults};
pub use secret::redacted;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use secret::Address;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tally_sinks::StoreConfig;

/// The four sections of whoever runs the route.
#[derive(Args, Clone, Debug)]
pub struct Sections {
    /// Where events come from.
    #[command(flatten)]
    pub kafka: Kafka,
    /// Where rows go.
    #[command(flatten)]
    pub clickhouse: ClickHouse,
    /// Who knows schema ids.
    #[command(flatten)]
    pub registry: SchemaRegistry,
    /// Bounds of the route.
    #[command(flatten)]
    pub bounds: Bounds,
}

/// ClickHouse: where rows go.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "ClickHouse")]
pub struct ClickHouse {
    /// Address of ClickHouse's HTTP interface.
    #[arg(
        id = "clickhouse.url",
        long = "clickhouse",
        env = "TALLY_CLICKHOUSE_URL",
        value_parser = Address,
        value_name = "URL"
    )]
    pub url: Option<String>,
    /// Folder of the embedded ClickHouse: joined if one is serving it, else started for as long as the command runs.
    #[arg(
        id = "clickhouse.data",
        long = "data",
        env = "TALLY_CLICKHOUSE_DATA",
        value_name = "DIR",
        conflicts_with = "clickhouse.url"
    )]
    pub data: Option<PathBuf>,
    /// Database; `tally migrate` creates it.
    #[arg(
        id = "clickhouse.database",
        long = "database",
        env = "TALLY_CLICKHOUSE_DATABASE",
        default_value = "tally",
        value_name = "NAME"
    )]
    pub database: String,
    /// User.
    #[arg(
        id = "clickhouse.user",
        long = "clickhouse-user",
        env = "TALLY_CLICKHOUSE_USER",
        default_value = "",
        value_name = "NAME"
    )]
    pub user: String,
    /// Password; better given in the environment than as a flag.
    #[arg(
        id = "clickhouse.password",
        long = "clickhouse-password",
        env = "TALLY_CLICKHOUSE_PASSWORD",
        default_value = "",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub password: SecretString,
    /// File of certificate authorities (PEM) that may vouch for an https address, beside the system's.
    #[arg(id = "clickhouse.ca", long = "clickhouse-ca", env = "TALLY_CLICKHOUSE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Cluster over which the tables are replicated and distributed; empty for a single server.
    #[arg(
        id = "clickhouse.cluster",
        long = "cluster",
        env = "TALLY_CLICKHOUSE_CLUSTER",
        default_value = "",
        value_name = "NAME"
    )]
    pub cluster: String,
}

impl ClickHouse {
    /// The connection to a server at `url`.
    pub fn at(&self, url: &str) -> StoreConfig {
        StoreConfig {
            url: url.to_owned(),
            database: self.database.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            ca: self.ca.clone(),
            cluster: self.cluster.clone(),
        }
    }
}

/// The schema registry: needed for the Confluent wire format only.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Schema registry")]
pub struct SchemaRegistry {
    /// Address of a Confluent-compatible registry. Without one, only single-object encoding with a contract's fingerprint is understood.
    #[arg(
        id = "registry.url",
        long = "registry",
        env = "TALLY_REGISTRY_URL",
        value_parser = Address,
        value_name = "URL"
    )]
    pub url: Option<String>,
    /// User for basic authentication.
    #[arg(id = "registry.user", long = "registry-user", env = "TALLY_REGISTRY_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// Password for basic authentication.
    #[arg(
        id = "registry.password",
        long = "registry-password",
        env = "TALLY_REGISTRY_PASSWORD",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub password: Option<SecretString>,
    /// File of certificate authorities (PEM) that may vouch for an https address, beside the system's.
    #[arg(id = "registry.ca", long = "registry-ca", env = "TALLY_REGISTRY_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// What may be an event at all: whoever judges one needs it, the route and those who ask beforehand.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Ingest")]
pub struct EventBound {
    /// Bytes of one event; a larger one is a dead letter. 1 KiB to 64 MiB.
    #[arg(id = "ingest.value_bytes_max", long = "value-bytes-max", env = "TALLY_INGEST_VALUE_BYTES_MAX", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1024..=67_108_864), value_name = "BYTES")]
    pub value_bytes_max: u32,
}

/// Bounds of the route.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Ingest")]
pub struct Bounds {
    /// Records of one block: the unit of an INSERT, an attestation and a commit. 1 to 500000.
    #[arg(id = "ingest.block_rows_max", long = "block-rows-max", env = "TALLY_INGEST_BLOCK_ROWS_MAX", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=500_000), value_name = "ROWS")]
    pub block_rows_max: u32,
    /// Bytes of keys and values of one block. 1 KiB to 256 MiB.
    #[arg(id = "ingest.block_bytes_max", long = "block-bytes-max", env = "TALLY_INGEST_BLOCK_BYTES_MAX", default_value_t = 14 << 20, value_parser = clap::value_parser!(u32).range(1024..=268_435_456), value_name = "BYTES")]
    pub block_bytes_max: u32,
    /// How long the oldest record of a block waits for company before the block is closed. 1 to 60000 ms.
    #[arg(id = "ingest.linger_ms", long = "linger-ms", env = "TALLY_INGEST_LINGER_MS", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=60_000), value_name = "MS")]
    pub linger_ms: u32,
    /// Bytes of records held in memory, all lanes together, before fetching pauses. 1 MiB to 4 GiB.
    #[arg(id = "ingest.buffer_bytes_max", long = "buffer-bytes-max", env = "TALLY_INGEST_BUFFER_BYTES_MAX", default_value_t = 32 << 20, value_parser = clap::value_parser!(u32).range(1_048_576..), value_name = "BYTES")]
    pub buffer_bytes_max: u32,
    /// The bound of one event.
    #[command(flatten)]
    pub event: EventBound,
    /// How long a revoked or stopping lane may take to finish its block before it is abandoned. 0 to 20 s: the source, which waits for it,
    /// must ask Kafka again within `max.poll.interval.ms` (30 s).
    #[arg(id = "ingest.stop_seconds_max", long = "stop-seconds-max", env = "TALLY_INGEST_STOP_SECONDS_MAX", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=20), value_name = "SECONDS")]
    pub stop_seconds_max: u32,
}

/// How to log.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logging")]
pub struct Logging {
    /// What to log, in the syntax of tracing's EnvFilter, such as info or tally_pipeline=debug.
    #[arg(
        id = "log.filter",
        long = "log",
        env = "TALLY_LOG",
        default_value = "info,librdkafka=warn",
        global = true,
        value_name = "FILTER"
    )]
    pub filter: String,
    /// Form of a log line.
    #[arg(id = "log.format", long = "log-format", env = "TALLY_LOG_FORMAT", default_value = "text", value_parser = ["text", "json"], global = true, value_name = "FORM")]
    pub format: String,
}

/// The values of a configuration file by key, or everything that is wrong with it.
///
/// # Errors
/// A sentence for each mistake.
pub fn read_file(text: &str, known: &[String]) -> Result<BTreeMap<String, Vec<String>>, Vec<String>> {
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| vec![not_toml(text, &e)])?;
    let (mut values, mut mistakes) = (BTreeMap::new(), Vec::new());
    for (section, entries) in table {
        let toml::Value::Table(entries) = entries else {
            mistakes.push(format!("'{section}' stands outside a section"));
            continue;
        };
        for (key, value) in entries {
            let key = format!("{section}.{key}");
            if !known.contains(&key) {
                let near = known
                    .iter()
                    .filter(|k| k.starts_with(&format!("{section}.")))
                    .cloned()
                    .collect::<Vec<_>>();
                let hint = if near.is_empty() { known.join(", ") } else { near.join(", ") };
                mistakes.push(format!("unknown key {key}; known here: {hint}"));
                continue;
            }
            match scalars(value) {
                Some(scalars) => drop(values.insert(key, scalars)),
                None => mistakes.push(format!("{key}: expected a text, a number or true/false")),
            }
        }
    }
    if mistakes.is_empty() { Ok(values) } else { Err(mistakes) }
}

/// What is wrong and where, without the line itself: a password may stand in it.
fn not_toml(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", error.message())
}

fn scalars(value: toml::Value) -> Option<Vec<String>> {
    Some(match value {
        toml::Value::String(text) => vec![text],
        toml::Value::Integer(number) => vec![number.to_string()],
        toml::Value::Boolean(flag) => vec![flag.to_string()],
        toml::Value::Table(table) => {
            let pair = |(key, value)| Some(format!("{key}={}", scalars(value)?.first()?));
            table.into_iter().map(pair).collect::<Option<_>>()?
        }
        _ => return None,
    })
}

impl SchemaRegistry {
    /// A client, if a registry is configured.
    ///
    /// # Errors
    /// Where the address is not one, or the authorities cannot be read.
    pub fn client(&self) -> Result<Option<crate::registry::Registry>, crate::registry::RegistryError> {
        let Some(url) = &self.url else { return Ok(None) };
        let password = self.password.as_ref().map(|p| SecretString::from(p.expose_secret().to_owned()));
        let config = crate::registry::RegistryConfig {
            user: self.user.clone(),
            password,
            ca: self.ca.clone(),
            ..crate::registry::RegistryConfig::at(url)
        };
        crate::registry::Registry::new(config).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::read_file;

    /// Scenario: a file with a good value, two unknown keys and a stray one.
    /// Guarantees: all mistakes come at once, each with what is known.
    #[test]
    fn all_mistakes_at_once() {
        let known = ["kafka.brokers".to_owned(), "kafka.properties".to_owned()];
        let text = "loose = 1\n[kafka]\nbrokers = 'a:1'\nbroker = 'b'\n[other]\nx = 1\n";
        let mistakes = read_file(text, &known).expect_err("mistakes");
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        let good = read_file("[kafka]\nbrokers='a:1'\n[kafka.properties]\n'sasl.password'='x'", &known)
            .expect("good");
        assert_eq!(good["kafka.properties"], ["sasl.password=x"]);
    }

    /// Scenario: a file whose line with a password is not TOML.
    /// Guarantees: the line is named and not shown.
    #[test]
    fn a_broken_line_is_not_shown() {
        let said =
            read_file("[clickhouse]\nuser = 'a'\npassword = planted-secret\n", &[]).expect_err("mistakes");
        assert!(said[0].contains("line 3") && !said[0].contains("planted"), "{said:?}");
    }
}
