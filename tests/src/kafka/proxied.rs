//! A broker with more listeners, each of which is reached over a network of its own that fails.

use std::fmt::Write as _;

use crate::kafka::Kafka;
use crate::kafka::broker::{Broker, Door};
use crate::place::free_port;
use crate::proxy::Proxy;

/// A Kafka, and ways to it that may fail: it tells who comes by such a listener to come back by its proxy, always.
#[derive(Debug)]
pub struct Distant {
    /// The broker, by its plain listener.
    pub kafka: Kafka,
    /// What lies before the others. Who comes over one names its address as the broker's.
    pub networks: Vec<Proxy>,
}

/// The listeners' ports, and the addresses of the proxies before them.
struct Behind(Vec<(u16, String)>);

impl Distant {
    /// Starts one, with so many networks before it.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start(networks: usize) -> Distant {
        let ports: Vec<u16> = (0..networks).map(|_| free_port()).collect();
        let networks: Vec<Proxy> =
            ports.iter().map(|port| Proxy::before(&format!("127.0.0.1:{port}"))).collect();
        let addresses = networks.iter().map(|network| network.address().to_string());
        let broker = Broker::with_door(Some(&Behind(ports.into_iter().zip(addresses).collect())));
        Distant { kafka: Kafka::of(broker), networks }
    }
}

impl Door for Behind {
    fn properties(&self, client_port: u16, controller_port: u16) -> String {
        let mut listeners =
            format!("PLAINTEXT://127.0.0.1:{client_port},CONTROLLER://127.0.0.1:{controller_port}");
        let mut advertised = format!("PLAINTEXT://127.0.0.1:{client_port}");
        let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        for (number, (port, address)) in self.0.iter().enumerate() {
            let _ = write!(listeners, ",DISTANT{number}://127.0.0.1:{port}");
            let _ = write!(advertised, ",DISTANT{number}://{address}");
            let _ = write!(protocols, ",DISTANT{number}:PLAINTEXT");
        }
        format!(
            "listeners={listeners}\nadvertised.listeners={advertised}\nlistener.security.protocol.map={protocols}\n"
        )
    }
}
