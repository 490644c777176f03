//! The committed examples, `examples/<topic>/{valid,invalid}`: read by tests, never by the program.

use crate::contract::Topic;
use serde::Deserialize;
use serde_json::Value as Json;
use std::path::PathBuf;

/// An event that encodes and still breaks a rule of its contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invalid {
    pub(crate) event: Json,
    pub(crate) reason: String,
    pub(crate) path: String,
}

/// The valid examples of a topic by kind, sorted.
pub(crate) fn valid(topic: Topic) -> Vec<(String, Json)> {
    read(topic, "valid")
}

/// The invalid examples of a topic by file name, sorted.
pub(crate) fn invalid(topic: Topic) -> Vec<(String, Invalid)> {
    read(topic, "invalid")
}

fn read<T: serde::de::DeserializeOwned>(topic: Topic, folder: &str) -> Vec<(String, T)> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "examples", topic.name(), folder].iter().collect();
    let mut examples = Vec::new();
    for entry in std::fs::read_dir(&path).expect("the folder of examples") {
        let file = entry.expect("an entry").path();
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let example = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        examples.push((name, example));
    }
    examples.sort_by(|a: &(String, T), b| a.0.cmp(&b.0));
    examples
}

mod tests {
    use super::{invalid, valid};
    use crate::contract::{Contract, Topic, latest, versions};
    use crate::encode::Encoder;
    use crate::explain::explain;
    use apache_avro::Schema;
    use serde_json::Value as Json;

    fn kinds(contract: &Contract) -> Vec<String> {
        let Schema::Record(record) = &contract.schema else { panic!("a contract is a record") };
        let kind = record.fields.iter().find(|field| field.name == "kind").expect("kind");
        let Schema::Enum(kinds) = &kind.schema else { panic!("kind is an enum") };
        kinds.symbols.clone()
    }

    fn without_nulls(fields: Vec<(String, Json)>) -> Json {
        fields.into_iter().filter(|(_, value)| !value.is_null()).collect::<serde_json::Map<_, _>>().into()
    }

    /// Scenario: somebody adds a kind and forgets its example.
    /// Guarantees: every kind of every topic has exactly one valid example, named by it.
    #[test]
    fn every_kind_has_an_example() {
        for topic in Topic::ALL {
            let mut kinds = kinds(latest(topic));
            kinds.sort();
            let examples = valid(topic);
            assert_eq!(examples.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), kinds, "{topic}");
            for (name, event) in examples {
                assert_eq!(event["kind"], Json::String(name), "{topic}");
            }
        }
    }

    /// Scenario: a service publishes an example under any version of the contract that was ever published.
    /// Guarantees: it encodes (less the fields that version does not have) and reads back as what was sent.
    #[test]
    fn valid_examples_encode_under_every_version() {
        for topic in Topic::ALL {
            for contract in versions(topic) {
                let encoder = Encoder::new(contract).expect("a plan");
                for (name, mut event) in valid(topic) {
                    if contract.version == 1 {
                        event.as_object_mut().expect("an object").remove("audience");
                    }
                    let body = encoder.encode(&event).unwrap_or_else(|e| panic!("{topic} {name}: {e}"));
                    let explained = explain(&contract.schema, &body);
                    assert_eq!(
                        (&explained.stopped_at, explained.trailing_bytes),
                        (&None, 0),
                        "{topic} {name}"
                    );
                    assert_eq!(without_nulls(explained.fields), event, "{topic} {name}");
                }
            }
        }
    }

    /// Scenario: a service breaks a rule of the contract in a way that Avro does not see.
    /// Guarantees: the example encodes, so that it is the rule and not the encoder that refuses it; its file's name
    /// starts with the reason, and its path is a field of the contract.
    #[test]
    fn invalid_examples_encode() {
        for topic in Topic::ALL {
            let encoder = Encoder::new(latest(topic)).expect("a plan");
            for (name, example) in invalid(topic) {
                encoder.encode(&example.event).unwrap_or_else(|e| panic!("{topic} {name}: {e}"));
                assert_eq!(name.split("__").next(), Some(example.reason.as_str()), "{topic} {name}");
                let Schema::Record(record) = &latest(topic).schema else { panic!("a record") };
                assert!(record.lookup.contains_key(&example.path), "{topic} {name}: {}", example.path);
            }
        }
    }
}
