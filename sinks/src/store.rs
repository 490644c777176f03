//! The connection to ClickHouse.

use crate::error::StoreError;
use crate::tls;
use clickhouse::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;

/// How to reach ClickHouse. An operator's own cluster or the embedded engine: the same interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Address of the HTTP interface, such as `http://127.0.0.1:8123`.
    pub url: String,
    /// Database; `tally migrate` creates it.
    pub database: String,
    /// User; empty for the server's default.
    pub user: String,
    /// Password; empty for none.
    pub password: SecretString,
    /// File of certificate authorities (PEM) that may vouch for an https address, beside the system's.
    pub ca: Option<PathBuf>,
    /// Name of a cluster: tables become replicated and distributed over it. Empty for a single server.
    pub cluster: String,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            url: String::new(),
            database: "tally".to_owned(),
            user: String::new(),
            password: SecretString::default(),
            ca: None,
            cluster: String::new(),
        }
    }
}

/// A connection pool to one database of ClickHouse.
#[derive(Clone)]
pub struct Store {
    pub(crate) client: Client,
    pub(crate) database: String,
    pub(crate) cluster: Option<String>,
    config: Arc<StoreConfig>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("database", &self.database).finish_non_exhaustive()
    }
}

impl Store {
    /// Whether there are replicas, one of which may answer before it has what another was given.
    pub fn has_replicas(&self) -> bool {
        self.cluster.is_some()
    }

    /// A pool; nothing is sent yet.
    ///
    /// # Errors
    /// An https address without authorities that can be read; authorities without an https address.
    pub fn new(config: &StoreConfig) -> Result<Store, StoreError> {
        let client = match (config.url.starts_with("https:"), &config.ca) {
            (true, ca) => tls::client(ca.as_deref())?,
            (false, Some(_)) => return Err(StoreError::AuthoritiesWithoutTls),
            (false, None) => Client::default(),
        };
        let mut client = client.with_url(&config.url).with_database(&config.database);
        if !config.user.is_empty() {
            client = client.with_user(&config.user);
        }
        if !config.password.expose_secret().is_empty() {
            client = client.with_password(config.password.expose_secret());
        }
        let cluster = (!config.cluster.is_empty()).then(|| config.cluster.clone());
        Ok(Store { client, database: config.database.clone(), cluster, config: Arc::new(config.clone()) })
    }

    /// The same database over connections of its own, for those who must not wait behind others.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub fn apart(&self) -> Result<Store, StoreError> {
        Store::new(&self.config)
    }

    /// The client, for those who read.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks ClickHouse for a sign of life.
    ///
    /// # Errors
    /// What came back instead.
    pub async fn ping(&self) -> Result<(), StoreError> {
        // the database may not exist yet: ask in the one that always does
        let client = self.client.clone().with_database("default");
        let one: u8 = client.query("SELECT 1").fetch_one().await.map_err(StoreError::from)?;
        debug_assert_eq!(one, 1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Store, StoreConfig};
    use crate::error::{Retry, StoreError};

    /// Scenario: a file of authorities for an address without TLS, and with it.
    /// Guarantees: the former is refused before the file is read, in words that say what to do; the latter reads it.
    #[test]
    fn authorities_need_tls() {
        let at = |url: &str| {
            let ca = Some("nowhere.pem".into());
            Store::new(&StoreConfig { url: url.to_owned(), ca, ..StoreConfig::default() })
                .expect_err("a mistake")
        };
        let error = at("http://host:8123");
        assert!(error.to_string().contains("clickhouse.ca"), "{error}");
        assert_eq!(error.retry(), (Retry::Stop, "begin the address with https, or leave clickhouse.ca out"));
        assert!(matches!(at("https://host:8443"), StoreError::Authorities(_)));
    }
}
