//! A broker with a second listener that is reached over a network that fails.

use std::sync::Mutex;

use crate::kafka::broker::{Broker, Door};
use crate::kafka::{Kafka, Kind};
use crate::place::free_port;
use crate::proxy::Proxy;

/// A Kafka, and the way to it that may fail: it tells who comes by that listener to come back by the proxy, always.
#[derive(Debug)]
pub struct Distant {
    /// The broker, by its plain listener.
    pub kafka: Kafka,
    /// What lies between.
    pub network: Proxy,
}

struct Behind {
    port: u16,
    /// `host:port` of the proxy.
    advertised: String,
}

impl Distant {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start() -> Distant {
        let port = free_port();
        let network = Proxy::before(&format!("127.0.0.1:{port}"));
        let broker = Broker::with_door(Some(&Behind { port, advertised: network.address().to_string() }));
        let kafka = Kafka { bootstrap: broker.bootstrap(), kind: Kind::Broker(Box::new(Mutex::new(broker))) };
        Distant { kafka, network }
    }

    /// `host:port` for those who come over the network.
    pub fn bootstrap(&self) -> String {
        self.network.address().to_string()
    }
}

impl Door for Behind {
    fn properties(&self, client_port: u16, controller_port: u16) -> String {
        let Behind { port, advertised } = self;
        format!(
            "listeners=PLAINTEXT://127.0.0.1:{client_port},DISTANT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{client_port},DISTANT://{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,DISTANT:PLAINTEXT,CONTROLLER:PLAINTEXT
"
        )
    }
}
