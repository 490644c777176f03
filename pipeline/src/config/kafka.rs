//! Kafka: where it is, who we are there, and whom we believe.

use super::secret::is_secret;
use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use secrecy::{ExposeSecret, SecretString};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use tally_schemas::Topic;

/// Properties of librdkafka that name a file with a private key in it.
const KEY_FILES: [&str; 3] =
    ["ssl.key.location", "ssl.keystore.location", "sasl.oauthbearer.assertion.private.key.file"];
/// Rights of everybody to read or write.
const EVERYBODY: u32 = 0o006;

/// Kafka: where events come from.
#[derive(Args, Clone)]
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
    /// This instance's own name, which outlives its process, such as the pod's in a StatefulSet (group.instance.id); empty for none. One that is
    /// killed and back within the session goes on at once, and no partition of another moves. Of two with one name the older ends.
    /// Only an ingest that goes on until it is stopped has it.
    #[arg(
        id = "kafka.instance",
        long = "kafka-instance",
        env = "TALLY_KAFKA_INSTANCE",
        default_value = "",
        value_name = "NAME"
    )]
    pub instance: String,
    /// Prefix of the Kafka topics' names: with `eu.`, the contract task-events is read from eu.task-events.
    #[arg(
        id = "kafka.topic_prefix",
        long = "topic-prefix",
        env = "TALLY_KAFKA_TOPIC_PREFIX",
        default_value = "",
        value_name = "PREFIX"
    )]
    pub topic_prefix: String,
    /// TLS to the brokers: their certificates and host names are checked. true or false; a file of authorities makes it true.
    #[arg(
        id = "kafka.tls",
        long = "kafka-tls",
        env = "TALLY_KAFKA_TLS",
        value_name = "BOOL",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        action = clap::ArgAction::Set
    )]
    pub tls: bool,
    /// File of the certificate authorities (PEM) that vouch for the brokers; without it the system's. Implies kafka.tls.
    #[arg(id = "kafka.ca", long = "kafka-ca", env = "TALLY_KAFKA_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// User for SASL; empty for none.
    #[arg(
        id = "kafka.user",
        long = "kafka-user",
        env = "TALLY_KAFKA_USER",
        default_value = "",
        value_name = "NAME"
    )]
    pub user: String,
    /// Password for SASL; better given in the environment than as a flag.
    #[arg(
        id = "kafka.password",
        long = "kafka-password",
        env = "TALLY_KAFKA_PASSWORD",
        default_value = "",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub password: SecretString,
    /// How the password is shown to the brokers. PLAIN sends it as it is, and so only over TLS.
    #[arg(id = "kafka.mechanism", long = "kafka-mechanism", env = "TALLY_KAFKA_MECHANISM", default_value = "SCRAM-SHA-512", value_parser = ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"], value_name = "NAME")]
    pub mechanism: String,
    /// Any property of librdkafka, such as ssl.certificate.location=FILE; may be given more than once, and stands above the
    /// settings before it. In the file: the table [kafka.properties]; in the environment with semicolons between. Flags stand in the place of
    /// the environment and the file, and the environment in the place of the file: what they name is all there is.
    #[arg(
        id = "kafka.properties",
        long = "kafka-property",
        env = "TALLY_KAFKA_PROPERTIES",
        value_delimiter = ';',
        hide_env_values = true,
        value_name = "KEY=VALUE"
    )]
    pub properties: Vec<String>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Kafka { brokers, group, topic_prefix, .. } = self; // a property may be a password
        let mut shown = f.debug_struct("Kafka");
        shown.field("brokers", brokers).field("group", group).field("topic_prefix", topic_prefix);
        shown.finish_non_exhaustive()
    }
}

/// Sets properties that hold unless they are configured otherwise.
pub fn set_defaults(config: &mut ClientConfig, defaults: &[(&str, &str)]) {
    for (key, default) in defaults {
        if config.get(key).is_none() {
            config.set(*key, *default);
        }
    }
}

impl Kafka {
    /// Brokers without credentials, `host:port` with commas between; everything else as by default.
    pub fn at(brokers: impl Into<String>) -> Kafka {
        Kafka {
            brokers: brokers.into(),
            group: "tally".to_owned(),
            instance: String::new(),
            topic_prefix: String::new(),
            tls: false,
            ca: None,
            user: String::new(),
            password: SecretString::default(),
            mechanism: "SCRAM-SHA-512".to_owned(),
            properties: Vec::new(),
        }
    }

    /// The Kafka topic of a contract.
    pub fn topic(&self, contract: Topic) -> String {
        format!("{}{}", self.topic_prefix, contract.name())
    }

    /// The connection properties, without anything that belongs to one role only.
    ///
    /// # Errors
    /// A property that is not `key=value` or that librdkafka refuses, a user without a password, a password that would go
    /// over the network as it is, a private key that everybody may read. No sentence holds a value.
    pub fn client(&self) -> Result<ClientConfig, String> {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        client.set("reconnect.backoff.max.ms", "1000"); // a broker that is back is found within a second, not ten
        self.secure(&mut client)?;
        for property in &self.properties {
            let Some((key, value)) = property.split_once('=') else {
                return Err("kafka.properties: one of them is not key=value; a value with a semicolon \
                            can only stand in the file"
                    .to_owned());
            };
            let key = match key.trim() {
                "group.instance.id" => {
                    return Err(
                        "kafka.properties: group.instance.id is a setting of its own: kafka.instance"
                            .to_owned(),
                    );
                }
                "sasl.mechanisms" => "sasl.mechanism", // two names of one: the last given must win, and no other
                key => key,
            };
            client.set(key, value.trim());
        }
        hidden(&client)?;
        keys_are_private(&client)?;
        Ok(client)
    }

    fn secure(&self, client: &mut ClientConfig) -> Result<(), String> {
        let tls = self.tls || self.ca.is_some();
        let sasl = !self.user.is_empty();
        if !sasl && !self.password.expose_secret().is_empty() {
            return Err("kafka.password is set and kafka.user is not".to_owned());
        }
        if let Some(ca) = &self.ca {
            std::fs::File::open(ca).map_err(|error| format!("kafka.ca: {}: {error}", ca.display()))?;
            client.set("ssl.ca.location", ca.display().to_string());
        }
        match (tls, sasl) {
            (false, false) => return Ok(()),
            (true, false) => client.set("security.protocol", "SSL"),
            (true, true) => client.set("security.protocol", "SASL_SSL"),
            (false, true) => client.set("security.protocol", "SASL_PLAINTEXT"),
        };
        if sasl {
            if self.password.expose_secret().is_empty() {
                return Err("kafka.user is set and kafka.password is not".to_owned());
            }
            client.set("sasl.mechanism", &self.mechanism);
            client.set("sasl.username", &self.user);
            client.set("sasl.password", self.password.expose_secret());
        }
        Ok(())
    }
}

/// Whether no password goes over the network as it is: asked of what librdkafka makes of settings and properties together,
/// since either may name the mechanism and the protocol.
fn hidden(client: &ClientConfig) -> Result<(), String> {
    let native = client.create_native_config().map_err(|error| refused(&error))?;
    let is = |key: &str, value: &str| {
        native.get(key).map(|said| said.eq_ignore_ascii_case(value)).map_err(|error| refused(&error))
    };
    if is("sasl.mechanisms", "PLAIN")? && is("security.protocol", "SASL_PLAINTEXT")? {
        return Err(
            "the mechanism PLAIN would send the password as it is: set kafka.tls or kafka.ca, and no \
                    security.protocol in kafka.properties"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether nobody but owner and group may read the files of private keys. One that is not there is librdkafka's to refuse.
fn keys_are_private(client: &ClientConfig) -> Result<(), String> {
    for key in KEY_FILES {
        let Some(Ok(about)) = client.get(key).map(std::fs::metadata) else { continue };
        let mode = about.mode() & 0o7777;
        if mode & EVERYBODY != 0 {
            return Err(format!(
                "kafka.properties: {key}: everybody may read or write this file (mode {mode:04o}): chmod 600 it, and make \
                 a new key if somebody may have read it"
            ));
        }
    }
    Ok(())
}

/// rdkafka's own sentence ends in the value, which is a password where somebody mistyped the name of one.
fn refused(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, said, key, value) => {
            // librdkafka may repeat the value too
            let hide = is_secret(key) || !value.is_empty() && said.contains(value.as_str());
            let said = if hide { "no property of librdkafka, or not with this value" } else { said.as_str() };
            format!("kafka.properties: {key}: {said}")
        }
        other => format!("kafka.properties: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::Kafka;
    use clap::{Args, Command, FromArgMatches};
    use secrecy::ExposeSecret;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn kafka(flags: &[&str]) -> Kafka {
        let matches = Kafka::augment_args(Command::new("x").no_binary_name(true)).get_matches_from(flags);
        Kafka::from_arg_matches(&matches).expect("flags")
    }

    /// Scenario: a service names nothing but brokers.
    /// Guarantees: everything else is what the command line has by default.
    #[test]
    fn brokers_alone_are_the_defaults() {
        let (ours, flags) = (Kafka::at("b:1"), kafka(&["--brokers", "b:1"]));
        let fields = |kafka: &Kafka| {
            let Kafka {
                brokers,
                group,
                instance,
                topic_prefix,
                tls,
                ca,
                user,
                password,
                mechanism,
                properties,
            } = kafka.clone();
            let password = password.expose_secret().to_owned();
            (brokers, group, instance, topic_prefix, tls, ca, user, password, mechanism, properties)
        };
        assert_eq!(fields(&ours), fields(&flags));
    }

    /// Scenario: TLS alone, SCRAM with and without it, PLAIN with it, a property above a setting, and mistakes.
    /// Guarantees: each becomes librdkafka's properties; half of a credential and a readable password are refused; no sentence
    /// and no debug form holds a value.
    #[test]
    fn settings_become_properties() {
        let protocol =
            |flags: &[&str]| kafka(flags).client().map(|c| c.get("security.protocol").map(str::to_owned));
        let user = ["--kafka-user", "u", "--kafka-password", "planted"];
        assert_eq!(protocol(&[]), Ok(None));
        assert_eq!(protocol(&["--kafka-tls"]), Ok(Some("SSL".to_owned())));
        assert_eq!(protocol(&["--kafka-ca", "/dev/null"]), Ok(Some("SSL".to_owned())));
        assert_eq!(protocol(&user), Ok(Some("SASL_PLAINTEXT".to_owned())));
        assert_eq!(
            protocol(&[&user[..], &["--kafka-tls", "true"]].concat()),
            Ok(Some("SASL_SSL".to_owned()))
        );
        assert_eq!(
            protocol(&["--kafka-tls", "true", "--kafka-property", "security.protocol=PLAINTEXT"]),
            Ok(Some("PLAINTEXT".to_owned()))
        );
        let plain = [&user[..], &["--kafka-mechanism", "PLAIN"]].concat();
        assert_eq!(
            kafka(&[&plain[..], &["--kafka-tls"]].concat()).client().expect("good").get("sasl.mechanism"),
            Some("PLAIN")
        );
        for wrong in [
            &plain[..],
            &["--kafka-user", "u"],
            &["--kafka-password", "planted"],
            &["--kafka-ca", "/nowhere/planted-file-is-named"],
            &["--kafka-property", "planted"],
            &["--kafka-property", "group.instance.id=planted"],
            &["--kafka-property", "sasl.pasword=planted"],
            &["--kafka-property", "enable.idempotence=planted"],
        ] {
            let said = kafka(wrong).client().expect_err("a mistake");
            assert!(!said.contains("planted") || said.contains("named"), "{said}");
        }
        assert!(!format!("{:?}", kafka(&["--kafka-property", "sasl.password=planted"])).contains("planted"));
    }

    /// Scenario: mechanism and protocol, each by a setting or by a property, in either name and in capitals or not.
    /// Guarantees: whatever adds up to PLAIN without TLS is refused, with what to do; whatever does not is taken.
    #[test]
    fn no_password_goes_as_it_is() {
        let user = ["--kafka-user", "u", "--kafka-password", "planted"];
        let client = |flags: &[&str], properties: &[&str]| {
            let properties = properties.iter().flat_map(|property| ["--kafka-property", property]);
            kafka(&flags.iter().copied().chain(properties).collect::<Vec<_>>()).client()
        };
        let (tls, plain) = (["--kafka-tls"], ["--kafka-mechanism", "PLAIN"]);
        let bare = ["sasl.username=u", "sasl.password=planted", "security.protocol=sasl_plaintext"];
        for (flags, properties) in [
            (&user[..], &["sasl.mechanism=PLAIN"][..]),
            (&user, &["sasl.mechanisms=PLAIN"]),
            (&user, &["sasl.mechanism=SCRAM-SHA-256", "sasl.mechanisms=PLAIN"]),
            (&[&user[..], &plain].concat(), &[]),
            (&[&user[..], &plain, &tls].concat(), &["security.protocol=SASL_PLAINTEXT"]),
            (&[&user[..], &plain, &tls].concat(), &["security.protocol=sasl_plaintext"]),
            (&[], &[&bare[..], &["sasl.mechanism=PLAIN"]].concat()),
        ] {
            for _ in 0..8 {
                // properties are a map, whose order differs each time
                let said = client(flags, properties).expect_err("a password that can be read");
                assert!(said.contains("as it is: set kafka.tls") && !said.contains("planted"), "{said}");
            }
        }
        for (flags, properties) in [
            (&user[..], &["sasl.mechanism=PLAIN", "sasl.mechanisms=SCRAM-SHA-256"][..]),
            (&[&user[..], &tls].concat(), &["sasl.mechanism=PLAIN"]),
            (&[&user[..], &plain].concat(), &["security.protocol=SASL_SSL"]),
            (&[&user[..], &plain, &tls].concat(), &[]),
        ] {
            assert!(client(flags, properties).is_ok(), "{properties:?}");
        }
    }

    /// Scenario: a private key of librdkafka's, with the rights of its owner, its group and everybody.
    /// Guarantees: only the last is refused, by the property's name and with what to do.
    #[test]
    fn a_key_that_everybody_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("planted");
        std::fs::write(&path, "a key").expect("a file");
        for name in ["ssl.key.location", "ssl.keystore.location"] {
            let property = format!("{name}={}", path.display());
            for (mode, open) in [(0o600, false), (0o660, false), (0o604, true), (0o602, true), (0o644, true)]
            {
                std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
                let made = kafka(&["--kafka-property", &property]).client();
                assert_eq!(made.is_err(), open, "{mode:o}");
                let said = made.err().unwrap_or_default();
                assert!(!open || said.contains(name) && said.contains("chmod 600"), "{said}");
                assert!(!said.contains("planted"), "{said}");
            }
        }
    }
}
