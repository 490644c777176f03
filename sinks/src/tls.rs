//! TLS to ClickHouse: the system's certificate authorities, and one's own.

use crate::error::StoreError;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// As the clickhouse crate has it: ClickHouse lets an idle connection go after 3 s.
const IDLE: Duration = Duration::from_secs(2);
/// As above.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A client that speaks to servers for which the system's authorities vouch, or those of the file.
///
/// # Errors
/// [`StoreError::Authorities`].
pub(crate) fn client(ca: Option<&Path>) -> Result<clickhouse::Client, StoreError> {
    let mut roots = RootCertStore::empty();
    // one of the system's that cannot be read vouches for nobody; the others do
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let unusable = |said: String| StoreError::Authorities(format!("{}: {said}", path.display()));
        let all = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let all = all.map_err(|error| unusable(error.to_string()))?;
        if all.is_empty() {
            return Err(unusable("no certificate in it".to_owned()));
        }
        for one in all {
            roots.add(one).map_err(|error| unusable(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Authorities(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connector = HttpConnector::new();
    connector.set_keepalive(Some(KEEPALIVE));
    connector.enforce_http(false);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_http1()
        .wrap_connector(connector);
    let client = HyperClient::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
    Ok(clickhouse::Client::with_http_client(client))
}

/// What is wrong with the server's certificate, where that is why there is no answer.
pub(crate) fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(said)) = error.downcast_ref() {
            return Some(said.to_string());
        }
        // an I/O error's source is that of what it holds, which would pass over the very error that is looked for
        next = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
