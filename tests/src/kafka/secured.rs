//! A broker with a second listener, which takes users with passwords over TLS only.

use crate::certificates::Certificates;
use crate::kafka::Kafka;
use crate::kafka::broker::{Broker, Role};
use crate::place::free_port;

/// What the second listener asks for.
#[derive(Debug)]
struct OverTls {
    port: u16,
    keystore: String,
    user: String,
    password: String,
}

/// A Kafka whose topics are made at the plain listener, and the other one.
#[derive(Debug)]
pub struct Secured {
    /// The broker, by its plain listener.
    pub kafka: Kafka,
    /// `host:port` of the listener that speaks SASL over TLS: SCRAM-SHA-512, SCRAM-SHA-256 and PLAIN.
    pub bootstrap: String,
}

impl Secured {
    /// Starts one that knows this user.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start(certificates: &Certificates, user: &str, password: &str) -> Secured {
        let keystore = certificates.keystore().display().to_string();
        let listeners =
            OverTls { port: free_port(), keystore, user: user.to_owned(), password: password.to_owned() };
        let broker = Broker::in_role(Some(&listeners));
        let bootstrap = format!("127.0.0.1:{}", listeners.port);
        Secured { kafka: Kafka::of(broker), bootstrap }
    }
}

impl Role for OverTls {
    fn properties(&self, client_port: u16, controller_port: u16) -> String {
        let OverTls { port, keystore, user, password } = self;
        let plain = format!("listeners=PLAINTEXT://127.0.0.1:{client_port},SASL_SSL://127.0.0.1:{port}");
        let advertised = plain.replacen("listeners=", "advertised.listeners=", 1);
        let jaas = "org.apache.kafka.common.security";
        format!(
            "{plain},CONTROLLER://127.0.0.1:{controller_port}
{advertised}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.sasl_ssl.ssl.keystore.type=PEM
listener.name.sasl_ssl.ssl.keystore.location={keystore}
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={jaas}.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config={jaas}.plain.PlainLoginModule required user_{user}=\"{password}\";
connection.failed.authentication.delay.ms=50
"
        )
    }

    fn scram(&self) -> Vec<String> {
        let of = |mechanism| format!("{mechanism}=[name={},password={}]", self.user, self.password);
        ["SCRAM-SHA-512", "SCRAM-SHA-256"]
            .into_iter()
            .flat_map(|one| ["--add-scram".to_owned(), of(one)])
            .collect()
    }
}
