use super::{Comparison, Direction, check, check_alone};
use crate::contract::{Topic, contracts, parse_schema, versions};
use Direction::{Backward, Both, Forward, Identity};
use apache_avro::Schema;

/// A record of the given fields, each with a `field_id` by its place unless it brings one.
fn record(fields: &[&str]) -> Schema {
    record_named(r#""name":"R","namespace":"n""#, fields)
}

fn record_named(head: &str, fields: &[&str]) -> Schema {
    let field = |(at, field): (usize, &&str)| match field.contains("field_id") {
        true => format!("{{{field}}}"),
        false => format!("{{{field},\"field_id\":{}}}", at + 1),
    };
    let fields: Vec<String> = fields.iter().enumerate().map(field).collect();
    let text = format!(r#"{{"type":"record",{head},"fields":[{}]}}"#, fields.join(","));
    parse_schema("a test", &text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn found(comparison: &Comparison) -> Vec<(&str, Direction)> {
    comparison.incompatibilities.iter().map(|i| (i.path.as_str(), i.direction)).collect()
}

const A: &str = r#""name":"a","type":"long""#;

/// What changes; before; after; what is found. A side is `-` or the rest of the field named `f`, or of the named one.
const CHANGES: &str = r#"
nothing                          | "type":"int" | "type":"int" |
added without default            | - | "type":"int" | f BACKWARD
added with default               | - | "type":"int","default":0 |
added nullable                   | - | "type":["null","int"],"default":null |
added nullable without default   | - | "type":["null","int"] | f BACKWARD
removed without default          | "type":"int" | - | f FORWARD
removed with default             | "type":"int","default":0 | - |
int to long                      | "type":"int" | "type":"long" | f FORWARD
long to int                      | "type":"long" | "type":"int" | f BACKWARD
float to double                  | "type":"float" | "type":"double" | f FORWARD
string to bytes                  | "type":"string" | "type":"bytes" |
int to string                    | "type":"int" | "type":"string" | f BACKWARD and FORWARD
became nullable                  | "type":"int" | "type":["null","int"] | f FORWARD
no longer nullable               | "type":["null","int"] | "type":"int" | f BACKWARD
branch changed                   | "type":["null","int"] | "type":["null","string"] | f BACKWARD and FORWARD
branch widened                   | "type":["null","int"] | "type":["null","long"] | f FORWARD
branch added                     | "type":["null","int"] | "type":["null","int","string"] | f FORWARD
branch removed                   | "type":["null","int","string"] | "type":["null","int"] | f BACKWARD
branches swapped                 | "type":["null","int"] | "type":["int","null"] |
uuid to string                   | "type":{"type":"string","logicalType":"uuid"} | "type":"string" | f BACKWARD and FORWARD
micros to long                   | "type":{"type":"long","logicalType":"timestamp-micros"} | "type":"long" | f BACKWARD and FORWARD
long to micros                   | "type":"long" | "type":{"type":"long","logicalType":"timestamp-micros"} | f BACKWARD and FORWARD
micros to millis                 | "type":{"type":"long","logicalType":"timestamp-micros"} | "type":{"type":"long","logicalType":"timestamp-millis"} | f BACKWARD and FORWARD
nullable micros to nullable long | "type":["null",{"type":"long","logicalType":"timestamp-micros"}] | "type":["null","long"] | f BACKWARD and FORWARD
fixed size                       | "type":{"type":"fixed","name":"F","size":2} | "type":{"type":"fixed","name":"F","size":3} | f BACKWARD and FORWARD
decimal scale                    | "type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2} | "type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":3} | f BACKWARD and FORWARD
array items                      | "type":{"type":"array","items":"int"} | "type":{"type":"array","items":"long"} | f.[] FORWARD
map values                       | "type":{"type":"map","values":"long"} | "type":{"type":"map","values":"int"} | f.{} BACKWARD
enum renamed                     | "type":{"type":"enum","name":"E","symbols":["X"]} | "type":{"type":"enum","name":"G","symbols":["X"]} | f BACKWARD and FORWARD
enum renamed with alias          | "type":{"type":"enum","name":"E","symbols":["X"]} | "type":{"type":"enum","name":"G","aliases":["E"],"symbols":["X"]} | f FORWARD
renamed                          | "type":"int" | g:"type":"int","field_id":3 | g BACKWARD, f FORWARD
renamed with alias               | "type":"int" | g:"aliases":["f"],"type":"int" | f FORWARD
renamed with alias and default   | "type":"int","default":0 | g:"aliases":["f"],"type":"int","default":0 |
default changed                  | "type":"int","default":0 | "type":"int","default":1 | f IDENTITY
field_id changed                 | "type":"int" | "type":"int","field_id":3 | f IDENTITY
field_id reused                  | "type":"int","default":0 | g:"type":"int","default":0 | g IDENTITY
field_id changed to another's    | "type":"int" | "type":"int","field_id":1 | f IDENTITY, f IDENTITY
"#;

/// Scenario: one field changes between two versions.
/// Guarantees: exactly the expected paths and directions are reported.
#[test]
fn changes_of_one_field() {
    let with = |side: &str| match (side, side.strip_prefix("g:")) {
        ("-", _) => record(&[A]),
        (_, Some(rest)) => record(&[A, &format!(r#""name":"g",{rest}"#)]),
        _ => record(&[A, &format!(r#""name":"f",{side}"#)]),
    };
    for line in CHANGES.trim().lines() {
        let [change, old, new, expected] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("four columns: {line}");
        };
        let comparison = check(&with(old), &with(new));
        let found = found(&comparison).into_iter().map(|(path, direction)| format!("{path} {direction}"));
        assert_eq!(found.collect::<Vec<_>>().join(", "), expected, "{change}");
        assert!(comparison.notices.is_empty(), "{change}");
    }
}

/// Scenario: the symbols of an enum change, bare or in a nullable field, with and without an Avro default.
/// Guarantees: only symbols appended at the end pass, with a notice; a removed, inserted or moved one does not.
#[test]
fn changes_of_symbols() {
    type Case<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, Direction)], usize);
    let cases: [Case<'_>; 9] = [
        ("same", "A,B", "A,B", &[], 0),
        ("appended", "A,B", "A,B,C", &[], 1),
        ("removed from the end", "A,B,C", "A,B", &[("e", Backward)], 0),
        ("removed from the middle", "A,B,C", "A,C", &[("e", Backward), ("e", Identity)], 0),
        ("inserted", "A,B", "A,X,B", &[("e", Forward), ("e", Identity)], 0),
        ("replaced", "A,B,C", "A,X,C", &[("e", Backward), ("e", Forward)], 0),
        ("reordered", "A,B", "B,A", &[("e", Identity)], 0),
        ("appended where the old has a default", "A,B/A", "A,B,C/A", &[], 0),
        ("removed where the new has a default", "A,B", "A/A", &[], 0),
    ];
    let text = |symbols: &str| {
        let (symbols, default) = symbols.split_once('/').map_or((symbols, None), |(s, d)| (s, Some(d)));
        let default = default.map_or(String::new(), |d| format!(r#","default":"{d}""#));
        format!(r#"{{"type":"enum","name":"E","symbols":["{}"]{default}}}"#, symbols.replace(',', "\",\""))
    };
    for (name, old, new, expected, notices) in cases {
        for nullable in [false, true] {
            let with = |symbols| {
                let inner = text(symbols);
                let schema = if nullable { format!(r#"["null",{inner}]"#) } else { inner };
                record(&[A, &format!(r#""name":"e","type":{schema}"#)])
            };
            let comparison = check(&with(old), &with(new));
            assert_eq!(found(&comparison), expected, "{name}: {:?}", comparison.incompatibilities);
            assert_eq!(comparison.notices.len(), notices, "{name}");
            assert!(comparison.notices.iter().all(|n| n.path == "e" && n.sentence.contains("Readers first")));
        }
    }
}

/// Scenario: the record itself is renamed, nested in another, or refers to itself.
/// Guarantees: names are compared in full; nested fields have dotted paths; recursion ends.
#[test]
fn changes_of_records() {
    let renamed = record_named(r#""name":"S","namespace":"n""#, &[A]);
    assert_eq!(found(&check(&record(&[A]), &renamed)), [("", Both)]);
    let moved = record_named(r#""name":"R","namespace":"m","aliases":["n.R"]"#, &[A]);
    assert_eq!(found(&check(&record(&[A]), &moved)), [("", Forward)]);
    let nested = |inner: &str| {
        record(&[&format!(
            r#""name":"f","type":["null",{{"type":"record","name":"I","fields":[{{{inner},"field_id":1}}]}}],"field_id":1"#
        )])
    };
    let comparison = check(&nested(r#""name":"x","type":"int""#), &nested(r#""name":"x","type":"long""#));
    assert_eq!(found(&comparison), [("f.x", Forward)]);
    let list = |value: &str| {
        record(&[&format!(r#""name":"v","type":"{value}""#), r#""name":"next","type":["null","R"]"#])
    };
    assert_eq!(found(&check(&list("int"), &list("long"))), [("v", Forward)]);
    let used_twice = |symbols: &str| {
        let first = format!(r#""name":"e","type":{{"type":"enum","name":"E","symbols":[{symbols}]}}"#);
        record(&[&first, r#""name":"again","type":"E""#])
    };
    let comparison = check(&used_twice(r#""X","Y""#), &used_twice(r#""Y","X""#));
    assert_eq!(found(&comparison), [("e", Identity), ("again", Identity)]);
}

/// Scenario: a contract is written from scratch.
/// Guarantees: a missing, zero, textual or doubled `field_id` is reported at its field.
#[test]
fn field_ids_of_one_contract() {
    let schema = record(&[
        r#""name":"a","type":"int","field_id":1"#,
        r#""name":"b","type":"int","field_id":1"#,
        r#""name":"c","type":"int","field_id":0"#,
        r#""name":"d","type":"int","field_id":"4""#,
        r#""name":"e","type":"int","field_id":5"#,
    ]);
    let found: Vec<String> =
        check_alone(&schema).into_iter().map(|i| format!("{} {}", i.path, i.problem)).collect();
    assert_eq!(found, ["b field_id 1 is also that of a", "c no field_id", "d no field_id"]);
}

/// Scenario: somebody edits a committed contract or adds a version.
/// Guarantees: every version is sound alone and fully compatible with every other version of its topic; the only symbols that came
/// later are those of calls, which `tally migrate` and readers must know first.
#[test]
fn the_committed_contracts_are_fully_compatible() {
    for contract in contracts() {
        assert_eq!(check_alone(&contract.schema), [], "{} {}", contract.topic, contract.version);
    }
    for topic in Topic::ALL {
        for new in versions(topic) {
            for old in versions(topic).take_while(|old| old.version < new.version) {
                let comparison = check(&old.schema, &new.schema);
                let which = format!("{topic} {} to {}", old.version, new.version);
                assert_eq!(comparison.incompatibilities, [], "{which}");
                assert!(comparison.notices.iter().all(|notice| notice.path == "endpoint"), "{which}");
            }
        }
    }
}

/// Scenario: the operator reads the line.
/// Guarantees: it names the field, the direction, what changed and what to do.
#[test]
fn the_line_for_people() {
    let comparison = check(&record(&[A]), &record(&[A, r#""name":"f","type":"int""#]));
    assert_eq!(
        comparison.incompatibilities[0].to_string(),
        "f: BACKWARD: a new field without a default; give it a default (null for a nullable field); an alias if it \
         was renamed"
    );
}
