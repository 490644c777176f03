//! What may be shown of a value.

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use std::ffi::OsStr;

/// Parts of names whose values are secrets, ours and librdkafka's.
const SECRET: [&str; 9] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "key.pem",
    "sasl.jaas",
    "oauthbearer.config",
    "assertion",
    "credential",
];

/// Whether the value of that name is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|part| name.contains(part))
}

/// What may be shown of a value: nothing of a password, a secret or a key.
pub fn redacted(key: &str, value: &str) -> String {
    match value.split_once('=') {
        _ if is_secret(key) && !value.is_empty() => "***".to_owned(),
        Some((name, _)) if key == "kafka.properties" && is_secret(name) => format!("{name}=***"),
        None if key == "kafka.properties" => "***".to_owned(), // the rest of a value with a semicolon in it, perhaps
        _ => value.to_owned(),
    }
}

/// Takes an address that carries no user or password: addresses are shown in messages and by `tally config`. One that does,
/// or may, is refused and no part of it repeated: with a slash in a password nobody knows where the host begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address;

impl TypedValueParser for Address {
    type Value = String;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<String, Error> {
        let text = value.to_string_lossy();
        let mistake = if text.contains('@') {
            "user and password do not belong in an address, nor an @: give them by their own flags or variables"
        } else if !has_port_or_none(&text) {
            "what follows the host's colon is no port: http://HOST:PORT or https://HOST:PORT"
        } else {
            return Ok(text.into_owned());
        };
        let argument = argument.map(ToString::to_string).unwrap_or_default();
        let told = format!("'{argument}': {mistake}");
        let mut error = Error::raw(ErrorKind::ValueValidation, told).with_cmd(command);
        error.insert(ContextKind::InvalidArg, ContextValue::String(argument)); // by it the other mistakes are found
        Err(error)
    }
}

/// Whether only a number stands behind the host: `user:password` without the rest of an address is no host and port.
fn has_port_or_none(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split(['/', '\\', '?', '#']).next().unwrap_or_default();
    let behind = authority.rsplit_once(']').map_or(authority, |(_, behind)| behind); // an IPv6 host has colons of its own
    behind.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::{Address, redacted};
    use clap::{Arg, Command};

    /// Scenario: secrets of ours and of librdkafka, and values that are none.
    /// Guarantees: only the former are left out.
    #[test]
    fn secrets_are_left_out() {
        for (key, value, shown) in [
            ("kafka.properties", "sasl.password=x", "sasl.password=***"),
            ("kafka.properties", "ssl.key.pem=x", "ssl.key.pem=***"),
            ("kafka.properties", "sasl.oauthbearer.config=principal=x", "sasl.oauthbearer.config=***"),
            ("kafka.properties", "left over", "***"),
            ("kafka.properties", "client.id=a", "client.id=a"),
            ("kafka.password", "x", "***"),
            ("clickhouse.password", "x", "***"),
            ("registry.password", "x", "***"),
            ("kafka.brokers", "a:1", "a:1"),
        ] {
            assert_eq!(redacted(key, value), shown);
        }
    }

    /// Scenario: addresses with and without a password, some with a slash, a question mark or an @ in it, or cut short.
    /// Guarantees: the former are refused with the flag's name and what to do, and no part of them is repeated.
    #[test]
    fn an_address_with_a_password_is_not_repeated() {
        let command =
            Command::new("x").no_binary_name(true).arg(Arg::new("url").long("url").value_parser(Address));
        let told = |url: &str| {
            command.clone().try_get_matches_from(["--url", url]).map(drop).map_err(|e| e.to_string())
        };
        for url in [
            "http://127.0.0.1:8123/a%40b",
            "https://host",
            "http://host/a:b?c=d:e",
            "http://[::1]:8123/x",
            "http://[::1]",
            "host:1",
        ] {
            assert_eq!(told(url), Ok(()));
        }
        for url in [
            "http://u:planted@host:1/x",
            "u:pl@planted@host:1",
            "https://planted@host:1?x",
            "http://u:pa/planted@host",
            "http://u:1/planted@host",
            "http://u:planted?planted@host:1",
            "http://a@planted:pa/ss@host",
            "http:/u:planted@host",
        ] {
            let said = told(url).expect_err("a mistake");
            assert!(said.contains("--url") && said.contains("their own flags"), "{said}");
            assert!(!said.contains("planted") && !said.contains("host"), "{said}");
        }
        for url in [
            "http://u:planted",
            "http://u:planted/x",
            "http://[::1]:planted",
            "u:planted\\x",
            "http://u:99999",
        ] {
            let said = told(url).expect_err("a mistake");
            assert!(said.contains("--url") && said.contains("no port"), "{said}");
            assert!(!said.contains("planted") && !said.contains("99999"), "{said}");
        }
    }
}
