//! Configuration: `tally.toml` < environment (`TALLY_…`) < flags. The doc comment of a field is its help text,
//! and its `id` is its key in the file.

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tally_schemas::Topic;
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

/// An address that carries no user or password: addresses are shown in messages and by `tally config`.
fn without_password(url: &str) -> Result<String, String> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?', '#']).next();
    match authority.is_some_and(|authority| authority.contains('@')) {
        false => Ok(url.to_owned()),
        true => {
            Err("user and password do not belong in an address: give them by their own flags or variables"
                .to_owned())
        }
    }
}

/// Kafka: where events come from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
pub struct Kafka {
    /// Kafka brokers, host:port with commas between.
    #[arg(
        id = "kafka.brokers",
        long = "brokers",
        env = "TALLY_KAFKA_BROKERS",
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT,…"
    )]
    pub brokers: String,
    /// Consumer group; instances of one group share the partitions.
    #[arg(
        id = "kafka.group",
        long = "group",
        env = "TALLY_KAFKA_GROUP",
        default_value = "tally",
        value_name = "NAME"
    )]
    pub group: String,
    /// Prefix of the Kafka topics' names: with `eu.`, the contract task-events is read from eu.task-events.
    #[arg(
        id = "kafka.topic_prefix",
        long = "topic-prefix",
        env = "TALLY_KAFKA_TOPIC_PREFIX",
        default_value = "",
        value_name = "PREFIX"
    )]
    pub topic_prefix: String,
    /// Any property of librdkafka, such as security.protocol=SASL_SSL; may be given more than once. In the file: the table [kafka.properties].
    #[arg(
        id = "kafka.properties",
        long = "kafka-property",
        env = "TALLY_KAFKA_PROPERTIES",
        value_delimiter = ';',
        value_name = "KEY=VALUE"
    )]
    pub properties: Vec<String>,
}

impl Kafka {
    /// The Kafka topic of a contract.
    pub fn topic(&self, contract: Topic) -> String {
        format!("{}{}", self.topic_prefix, contract.name())
    }

    /// The connection properties, without anything that belongs to one role only.
    ///
    /// # Errors
    /// The first property that is not `key=value`.
    pub fn client(&self) -> Result<rdkafka::ClientConfig, String> {
        let mut client = rdkafka::ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        for property in &self.properties {
            let Some((key, value)) = property.split_once('=') else {
                return Err(format!("kafka.properties: '{property}' is not key=value"));
            };
            client.set(key.trim(), value.trim());
        }
        Ok(client)
    }
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
        value_parser = without_password,
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
        value_parser = without_password,
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
    #[arg(id = "ingest.buffer_bytes_max", long = "buffer-bytes-max", env = "TALLY_INGEST_BUFFER_BYTES_MAX", default_value_t = 56 << 20, value_parser = clap::value_parser!(u32).range(1_048_576..), value_name = "BYTES")]
    pub buffer_bytes_max: u32,
    /// The bound of one event.
    #[command(flatten)]
    pub event: EventBound,
    /// How long a revoked or stopping lane may take to finish its block before it is abandoned. 0 to 120 s.
    #[arg(id = "ingest.stop_seconds_max", long = "stop-seconds-max", env = "TALLY_INGEST_STOP_SECONDS_MAX", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=120), value_name = "SECONDS")]
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
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| vec![e.to_string()])?;
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

/// What may be shown of a value: nothing of a password, a secret or a key.
pub fn redacted(key: &str, value: &str) -> String {
    let secret =
        |name: &str| ["password", "secret", "token", "key.pem", "sasl.jaas"].iter().any(|s| name.contains(s));
    match value.split_once('=') {
        _ if secret(key) && !value.is_empty() => "***".to_owned(),
        Some((name, _)) if secret(name) => format!("{name}=***"),
        _ => value.to_owned(),
    }
}

impl SchemaRegistry {
    /// A client, if a registry is configured.
    ///
    /// # Errors
    /// Where the address is not one.
    pub fn client(&self) -> Result<Option<crate::registry::Registry>, crate::registry::RegistryError> {
        let Some(url) = &self.url else { return Ok(None) };
        let password = self.password.as_ref().map(|p| SecretString::from(p.expose_secret().to_owned()));
        let config = crate::registry::RegistryConfig {
            user: self.user.clone(),
            password,
            ..crate::registry::RegistryConfig::at(url)
        };
        crate::registry::Registry::new(config).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::{read_file, redacted};

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
        assert_eq!(redacted("kafka.properties", "sasl.password=x"), "sasl.password=***");
        assert_eq!(redacted("clickhouse.password", "x"), "***");
        assert_eq!(redacted("kafka.brokers", "a:1"), "a:1");
    }
}
