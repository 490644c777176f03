//! The dictionary of policy tags, `policy_tags.toml`.

use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// One policy tag.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTag {
    /// The Avro symbol.
    pub symbol: String,
    /// Meaning in English.
    pub en: String,
    /// Meaning in Chinese.
    pub zh: String,
    /// Minutes from a report to the decision that is due.
    pub review_sla_minutes: u32,
    /// `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
    pub default_risk: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dictionary {
    tag: Vec<PolicyTag>,
}

static TAGS: LazyLock<Vec<PolicyTag>> = LazyLock::new(|| {
    let dictionary: Result<Dictionary, _> = toml::from_str(include_str!("../policy_tags.toml"));
    dictionary.unwrap_or_else(|e| panic!("policy_tags.toml: {e}")).tag
});

/// All tags; a tag's place, counted from 1, is its number in the store.
pub fn policy_tags() -> &'static [PolicyTag] {
    &TAGS
}

#[cfg(test)]
mod tests {
    use super::policy_tags;
    use crate::{contract, contracts};

    /// Scenario: somebody adds a tag in one place only.
    /// Guarantees: the dictionary and the enum of every latest contract list the same symbols in the same order.
    #[test]
    fn the_dictionary_is_the_avro_enum() {
        let symbols: Vec<&str> = policy_tags().iter().map(|t| t.symbol.as_str()).collect();
        assert!(symbols.len() >= 12);
        for contract in contracts() {
            let latest = contract::latest(contract.topic).version == contract.version;
            let json: serde_json::Value = serde_json::from_str(&contract.json).expect("a contract is JSON");
            let field = json["fields"].as_array().and_then(|f| f.iter().find(|f| f["name"] == "policy_tag"));
            let field = field.expect("every contract has policy_tag");
            assert!(field.get("default").is_none() && field["type"].get("default").is_none());
            let avro: Vec<&str> = field["type"]["symbols"]
                .as_array()
                .expect("enum")
                .iter()
                .filter_map(|s| s.as_str())
                .collect();
            assert!(symbols.starts_with(&avro), "{}: {avro:?}", contract.topic);
            assert!(!latest || avro == symbols, "{} v{}", contract.topic, contract.version);
        }
    }
}
