//! TLS in front of a server that has none, as a load balancer would be.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Certificates;

/// A running proxy. Dropped, it ends with all its connections.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    // its tasks end with it
    _runtime: Runtime,
}

impl TlsProxy {
    /// Listens on a free port of loopback with that certificate and passes on to `target`, `host:port`.
    ///
    /// # Panics
    /// When it cannot.
    pub fn before(target: &str, certificates: &Certificates) -> TlsProxy {
        let chain = CertificateDer::pem_file_iter(certificates.server()).expect("a certificate");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_file(certificates.server_key()).expect("a private key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("protocols").with_no_client_auth().with_single_cert(chain, key);
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a key that fits its certificate")));
        let target: SocketAddr = target.parse().expect("an address and its port");
        let builder = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = builder.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // a client that does not believe the certificate ends here
                    let Ok(mut near) = acceptor.accept(near).await else { return };
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        TlsProxy { address, _runtime: runtime }
    }

    /// `https://` and its address.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}
