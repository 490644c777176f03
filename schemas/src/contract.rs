//! The contracts: one Avro record per topic, every version that was ever published kept in `avro/`.

use apache_avro::Schema;
use apache_avro::rabin::Rabin;
use std::sync::LazyLock;
use thiserror::Error;

/// The four topics, each with a contract and a fact table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// `credit-events`, keyed by wallet.
    #[serde(rename = "credit-events")]
    Credit,
    /// `license-events`, keyed by licence.
    #[serde(rename = "license-events")]
    License,
    /// `task-events`, keyed by task.
    #[serde(rename = "task-events")]
    Task,
    /// `moderation-events`, keyed by case.
    #[serde(rename = "moderation-events")]
    Moderation,
}

impl Topic {
    /// All topics, in the order in which people see them.
    pub const ALL: [Topic; 4] = [Topic::Credit, Topic::License, Topic::Task, Topic::Moderation];

    /// The contract's name, which is the Kafka topic's name less a configured prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Credit => "credit-events",
            Topic::License => "license-events",
            Topic::Task => "task-events",
            Topic::Moderation => "moderation-events",
        }
    }

    /// The table of facts in ClickHouse.
    pub const fn table(self) -> &'static str {
        match self {
            Topic::Credit => "credit_events",
            Topic::License => "license_events",
            Topic::Task => "task_events",
            Topic::Moderation => "moderation_events",
        }
    }

    /// The field whose value is the Kafka key, so that one subject's events keep their order.
    pub const fn key_field(self) -> &'static str {
        match self {
            Topic::Credit => "wallet_id",
            Topic::License => "license_id",
            Topic::Task => "task_id",
            Topic::Moderation => "case_id",
        }
    }

    /// The topic of that contract name.
    pub fn from_name(name: &str) -> Option<Topic> {
        Topic::ALL.into_iter().find(|t| t.name() == name)
    }
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A schema text that is not Avro.
#[derive(Debug, Error)]
#[error("{what} is not an Avro schema: {reason}")]
pub struct NotAvro {
    what: String,
    reason: String,
}

/// One version of one topic's contract.
#[derive(Debug)]
pub struct Contract {
    /// The topic it governs.
    pub topic: Topic,
    /// 1 for the first; numbers have no holes.
    pub version: u32,
    /// The `.avsc` text as committed.
    pub json: String,
    /// The parsed schema.
    pub schema: Schema,
    /// CRC-64-AVRO of the parsing canonical form: the id in single-object encoding.
    pub fingerprint: u64,
}

impl Contract {
    /// Parses a contract's text. Errors name `version` and what Avro has against it.
    pub fn parse(topic: Topic, version: u32, json: &str) -> Result<Contract, NotAvro> {
        let schema = parse_schema(&format!("{topic} version {version}"), json)?;
        let fingerprint = fingerprint(&schema);
        Ok(Contract { topic, version, json: json.to_owned(), schema, fingerprint })
    }

    /// The full name of its record, such as `tally.events.TaskEvent`.
    pub fn record_name(&self) -> String {
        record_name(&self.schema).unwrap_or_default()
    }
}

/// Parses any Avro schema text; `what` names it in the error.
pub fn parse_schema(what: &str, json: &str) -> Result<Schema, NotAvro> {
    Schema::parse_str(json).map_err(|e| NotAvro { what: what.to_owned(), reason: e.to_string() })
}

/// CRC-64-AVRO of the schema's parsing canonical form.
///
/// `apache-avro` strips a logical type and leaves `{"type":"string"}`, where the specification's PRIMITIVES rule, and
/// every other implementation, has `"string"`: what it made is parsed once more, which leaves nothing to strip.
pub fn fingerprint(schema: &Schema) -> u64 {
    let stripped = Schema::parse_str(&schema.canonical_form());
    let bytes = stripped.as_ref().unwrap_or(schema).fingerprint::<Rabin>().bytes;
    let mut le = [0; 8];
    for (to, from) in le.iter_mut().zip(bytes) {
        *to = from;
    }
    u64::from_le_bytes(le)
}

/// The full name of a record schema; `None` for any other type.
pub fn record_name(schema: &Schema) -> Option<String> {
    match schema {
        Schema::Record(r) => Some(r.name.fullname(None)),
        _ => None,
    }
}

const TEXTS: [(Topic, u32, &str); 8] = [
    (Topic::Credit, 1, include_str!("../avro/credit-events.v1.avsc")),
    (Topic::Credit, 2, include_str!("../avro/credit-events.v2.avsc")),
    (Topic::Credit, 3, include_str!("../avro/credit-events.v3.avsc")),
    (Topic::License, 1, include_str!("../avro/license-events.v1.avsc")),
    (Topic::License, 2, include_str!("../avro/license-events.v2.avsc")),
    (Topic::Task, 1, include_str!("../avro/task-events.v1.avsc")),
    (Topic::Task, 2, include_str!("../avro/task-events.v2.avsc")),
    (Topic::Moderation, 1, include_str!("../avro/moderation-events.v1.avsc")),
];

static CONTRACTS: LazyLock<Vec<Contract>> = LazyLock::new(|| {
    let parse = |(topic, version, json)| {
        Contract::parse(topic, version, json).unwrap_or_else(|e| panic!("a committed contract: {e}"))
    };
    TEXTS.into_iter().map(parse).collect()
});

/// Every version of every topic's contract, oldest first within a topic.
pub fn contracts() -> &'static [Contract] {
    &CONTRACTS
}

/// Every version of one topic's contract, oldest first.
pub fn versions(topic: Topic) -> impl DoubleEndedIterator<Item = &'static Contract> {
    contracts().iter().filter(move |c| c.topic == topic)
}

/// The newest contract of a topic: what rows are shaped by.
pub fn latest(topic: Topic) -> &'static Contract {
    versions(topic).next_back().unwrap_or_else(|| panic!("{topic} has a contract"))
}

#[cfg(test)]
mod tests {
    use super::contracts;

    /// Scenario: services in other languages frame events with the fingerprints of their own Avro library.
    /// Guarantees: ours are those that fastavro 1.13 computes for the committed files (bytes in wire order).
    #[test]
    fn fingerprints_are_those_of_other_implementations() {
        let wire = |fingerprint: u64| hex::encode(fingerprint.to_le_bytes());
        let found: Vec<String> = contracts().iter().map(|c| wire(c.fingerprint)).collect();
        assert_eq!(
            found,
            [
                "6e584e5dd3ce54ca",
                "0c13efae84870e88",
                "b37af583c6648a41",
                "01ad3b890f03dc72",
                "60739dd85a11f472",
                "e323395084d1c12c",
                "a153870d160b6760",
                "c4bf0fb774bd76be",
            ]
        );
    }
}
