//! A broker with more listeners, each of which is reached over a network of its own that fails.

use std::fmt::Write as _;

use crate::kafka::Kafka;
use crate::kafka::broker::{Broker, Role};
use crate::place::free_port;
use crate::proxy::Proxy;

/// A Kafka, and ways to it that may fail: it tells who comes by such a listener to come back by its proxy, always.
#[derive(Debug)]
pub struct ProxiedKafka {
    /// The broker, by its plain listener.
    pub kafka: Kafka,
    /// What lies before the others. Who comes over one names its address as the broker's.
    pub networks: Vec<Proxy>,
}

/// The listeners' ports, and the addresses of the proxies before them.
struct ProxiedListeners(Vec<(u16, String)>);

impl ProxiedKafka {
    /// Starts one, with so many networks before it.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start(networks: usize) -> ProxiedKafka {
        let ports: Vec<u16> = (0..networks).map(|_| free_port()).collect();
        let networks: Vec<Proxy> =
            ports.iter().map(|port| Proxy::before(&format!("127.0.0.1:{port}"))).collect();
        let addresses = networks.iter().map(|network| network.address().to_string());
        let broker = Broker::in_role(Some(&ProxiedListeners(ports.into_iter().zip(addresses).collect())));
        ProxiedKafka { kafka: Kafka::of(broker), networks }
    }
}

impl Role for ProxiedListeners {
    fn properties(&self, client_port: u16, controller_port: u16) -> String {
        let mut listeners =
            format!("PLAINTEXT://127.0.0.1:{client_port},CONTROLLER://127.0.0.1:{controller_port}");
        let mut advertised = format!("PLAINTEXT://127.0.0.1:{client_port}");
        let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        for (number, (port, address)) in self.0.iter().enumerate() {
            let _ = write!(listeners, ",PROXIED{number}://127.0.0.1:{port}");
            let _ = write!(advertised, ",PROXIED{number}://{address}");
            let _ = write!(protocols, ",PROXIED{number}:PLAINTEXT");
        }
        format!(
            "listeners={listeners}\nadvertised.listeners={advertised}\nlistener.security.protocol.map={protocols}\n"
        )
    }
}
