//! The columns of every topic, as everything behind them relies on.

use std::fmt::Write as _;
use tally_schemas::{Kind, Topic, arrow_schema, columns};

/// Scenario: a contract changes.
/// Guarantees: names, numbers, types and order of the columns change only where this snapshot does; numbers are in
/// every digest ever written, and the order is that of the tables.
#[test]
fn the_columns_of_every_topic() {
    let mut text = String::new();
    for topic in Topic::ALL {
        writeln!(text, "{topic}").expect("text");
        for (column, field) in columns(topic).iter().zip(arrow_schema(topic).fields()) {
            assert_eq!(&column.name, field.name());
            let symbols = match &column.kind {
                Kind::Enum(symbols) => format!(" {}", symbols.join(" ")),
                _ => String::new(),
            };
            let null = if field.is_nullable() { "?" } else { "" };
            let default = if column.default_code == 0 {
                String::new()
            } else {
                format!(" default {}", column.default_code)
            };
            let (id, name, kind) = (column.field_id, &column.name, field.data_type());
            writeln!(text, "  {id:>2} {name}: {kind}{null}{default}{symbols}").expect("text");
        }
    }
    insta::assert_snapshot!(text);
}
