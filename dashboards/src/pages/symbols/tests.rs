//! Every symbol that a page can show has its word.

use super::{FIELDS, SOURCES, SYMBOLS, VERDICTS, field, kind, source, symbol, verdict_word};
use crate::pages::view::Lang;
use crate::panel::{Unit, panels};
use serde_json::Value;
use std::collections::BTreeSet;
use tally_queries::audit::result::Verdict;
use tally_schemas::contracts;

fn is_chinese(text: &str) -> bool {
    text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
}

/// The enums of a schema, each with its symbols.
fn enums(schema: &Value, found: &mut Vec<(String, Vec<String>)>) {
    match schema {
        Value::Array(parts) => parts.iter().for_each(|part| enums(part, found)),
        Value::Object(object) => {
            if schema["type"] == "enum" {
                let symbols = schema["symbols"].as_array().into_iter().flatten();
                let symbols = symbols.filter_map(Value::as_str).map(str::to_owned).collect();
                found.push((schema["name"].as_str().unwrap_or_default().to_owned(), symbols));
            }
            object.values().for_each(|part| enums(part, found));
        }
        _ => {}
    }
}

/// Scenario: every enum of every version of every contract.
/// Guarantees: each of its symbols has a word for people in English, that is not the symbol itself, and one in Chinese; a path of the
/// platform is the same in both.
#[test]
fn every_symbol_of_the_contracts_has_its_words() {
    let (mut missing, mut seen) = (BTreeSet::new(), 0);
    for contract in contracts() {
        let mut found = Vec::new();
        enums(&serde_json::from_str(&contract.json).expect("a contract"), &mut found);
        for (name, symbols) in found {
            for value in symbols {
                seen += 1;
                let is_tag = name == "PolicyTag";
                let (en, zh) = match name.ends_with("Kind") {
                    true => (kind(&value, Lang::En), kind(&value, Lang::Zh)),
                    false => (symbol(&value, Lang::En), symbol(&value, Lang::Zh)),
                };
                let is_path = name == "Endpoint" && en.starts_with('/') && en == zh;
                let is_said = is_tag || value == "OK" || en != value;
                if !is_path && (!is_said || !is_chinese(&zh)) {
                    missing.insert(format!("{name}.{value}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "without a word: {missing:#?}");
    assert!(seen > 300, "contracts were not read: {seen}");
}

/// Scenario: the texts between quotes in the SQL of panels that give symbols, in capitals.
/// Guarantees: each has its words, so that what a panel makes itself is said, too.
#[test]
fn every_symbol_that_a_panel_makes_has_its_words() {
    let mut missing = Vec::new();
    let shows = |panel: &&crate::panel::Panel| panel.columns.iter().any(|column| column.unit == Unit::Symbol);
    // what is asked of the store, and not shown
    let asked = ["CREDITS_ROLLED_BACK", "DEAD"];
    for panel in panels().iter().filter(shows) {
        let sql = panel.sql();
        let code: String =
            sql.lines().filter(|line| !line.trim().starts_with("--")).collect::<Vec<_>>().join("\n");
        for text in code.split('\'').skip(1).step_by(2) {
            let is_symbol =
                text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            let is_known = SYMBOLS.iter().any(|(known, ..)| *known == text)
                || verdict_word(text, Lang::Zh) != text.replace('_', " ");
            if is_symbol && !is_known && text != "UTC" && !asked.contains(&text) {
                missing.push(format!("{}: {text}", panel.id));
            }
        }
    }
    assert!(missing.is_empty(), "without a word: {missing:#?}");
}

/// Scenario: verdicts of the audit and of verifications, the fields that a line of an event says, and what every panel and threshold
/// rests on.
/// Guarantees: each has its Chinese; in English nothing is said otherwise than it was.
#[test]
fn verdicts_fields_and_sources_have_their_words() {
    let verified = ["VERIFIED", "TAMPERED", "INCOMPLETE", "UNCHECKED"];
    for name in Verdict::ALL.map(Verdict::name).into_iter().chain(verified) {
        assert!(is_chinese(&verdict_word(name, Lang::Zh)), "{name}");
        assert_eq!(verdict_word(name, Lang::En), name.replace('_', " "));
    }
    assert_eq!(VERDICTS.len(), Verdict::ALL.len() + verified.len());
    for name in crate::pages::task::told_fields() {
        assert!(FIELDS.iter().any(|(known, _)| *known == name), "{name}");
    }
    assert_eq!(field("balance_after_micros", Lang::En), "balance after");
    let mut unused: BTreeSet<&str> = SOURCES.iter().map(|(en, _)| *en).collect();
    for panel in panels() {
        for text in
            [&panel.source].into_iter().chain(panel.thresholds.iter().map(|threshold| &threshold.source))
        {
            unused.remove(text.as_str());
            // the number of a section is the same in both
            let numbers = text.trim_start_matches("METRICS ").trim_start_matches("DESIGN ");
            let is_section = numbers.bytes().all(|byte| byte.is_ascii_digit());
            assert!(is_section || is_chinese(source(text, Lang::Zh)), "{}: {text}", panel.id);
            assert_eq!(source(text, Lang::En), text);
        }
    }
    assert!(unused.is_empty(), "nothing rests on: {unused:?}");
}
