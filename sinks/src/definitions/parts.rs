//! The parts of a definition: out of our own statements, and out of what a server says of a table.

/// A table of a migration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// Names and types.
    pub(super) columns: Vec<(String, String)>,
    /// Of its engine: the version column, if it has one.
    pub(super) arguments: Vec<String>,
    /// Without parentheses; empty for none.
    pub(super) partition: String,
    pub(super) sorting: String,
}

/// A view of a migration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) name: String,
    /// The table whose columns it has.
    pub(super) of: String,
    pub(super) select: String,
}

/// A column that has another type since a migration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) table: String,
    pub(super) column: String,
    pub(super) of: String,
}

/// What a statement makes, or makes of something that is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Defined {
    Table(Table),
    View(View),
    Changed(Changed),
}

impl Defined {
    pub(super) fn name(&self) -> &str {
        match self {
            Defined::Table(table) => &table.name,
            Defined::View(view) => &view.name,
            Defined::Changed(changed) => &changed.table,
        }
    }
}

/// The tables, views and changed columns of a migration's text. Indices are left out.
pub(super) fn defined(sql: &str) -> impl Iterator<Item = Defined> + '_ {
    sql.split(";\n").filter_map(|statement| {
        let lines: Vec<&str> = statement.lines().filter(|line| !line.starts_with("--")).collect();
        let text = lines.join("\n");
        let made = view(text.trim()).map(Defined::View).or_else(|| table(text.trim()).map(Defined::Table));
        made.or_else(|| changed(text.trim()).map(Defined::Changed))
    })
}

fn changed(text: &str) -> Option<Changed> {
    let (table, rest) = text.strip_prefix("ALTER TABLE ")?.split_once(" MODIFY COLUMN ")?;
    let (column, of) = rest.trim_end_matches(';').split_once(' ')?;
    Some(Changed { table: table.to_owned(), column: column.to_owned(), of: of.trim().to_owned() })
}

fn view(text: &str) -> Option<View> {
    let made = text.strip_prefix("CREATE VIEW IF NOT EXISTS ");
    let rest = made.or_else(|| text.strip_prefix("CREATE OR REPLACE VIEW "))?;
    let name = rest.split_whitespace().next()?.to_owned();
    let select = rest.split_once(" AS ")?.1.trim_end_matches(';').trim().to_owned();
    let of = select.split_once(" FROM ")?.1.split_whitespace().next()?.to_owned();
    Some(View { name, of, select })
}

fn table(text: &str) -> Option<Table> {
    let rest = text.strip_prefix("CREATE TABLE IF NOT EXISTS ")?;
    let (name, rest) = rest.split_once("\n(\n")?;
    let (columns, rest) = rest.split_once("\n)\n")?;
    let column = |line: &str| {
        let (name, of) = line.trim().split_once(' ')?;
        Some((name.to_owned(), of.trim().trim_end_matches(',').to_owned()))
    };
    let columns = columns.lines().filter(|line| !line.trim().starts_with("INDEX ")).map(column);
    let after = |what: &str| rest.lines().find_map(|line| line.strip_prefix(what)).unwrap_or_default();
    let bare =
        |key: &str| key.strip_prefix('(').and_then(|key| key.strip_suffix(')')).unwrap_or(key).to_owned();
    Some(Table {
        name: name.trim().to_owned(),
        columns: columns.collect::<Option<_>>()?,
        arguments: arguments(after("ENGINE = ")),
        partition: bare(after("PARTITION BY ")),
        sorting: bare(after("ORDER BY ")),
    })
}

/// The words, quoted texts and signs of a piece of SQL; only the space between them is of no matter.
pub(super) fn tokens(sql: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), sql.trim_start());
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let end = match first {
            '\'' | '`' | '"' => quoted(rest, first),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(end);
        found.push(token);
        rest = after.trim_start();
    }
    found
}

/// The length of the quoted text at the beginning, quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// The arguments of the engine at the beginning of `engine`: `ReplacingMergeTree(rank) ORDER BY …` has `rank`.
pub(super) fn arguments(engine: &str) -> Vec<String> {
    let all = tokens(engine);
    if all.get(1) != Some(&"(") {
        return Vec::new();
    }
    let (mut found, mut depth) = (vec![String::new()], 1);
    for token in &all[2..] {
        match *token {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        match (*token, depth) {
            (_, 0) => break,
            (",", 1) => found.push(String::new()),
            (token, _) => {
                if let Some(last) = found.last_mut() {
                    last.push_str(token);
                }
            }
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::{Defined, arguments, defined, tokens};
    use crate::migrate::MIGRATIONS;

    /// Scenario: every statement of every migration.
    /// Guarantees: each makes a table or a view that is understood whole, an index or a setting, or another type of a column; a new kind of
    /// statement fails here.
    #[test]
    fn every_statement_is_understood() {
        let (mut tables, beside) = (0, [" ADD INDEX IF NOT EXISTS ", " MODIFY SETTING "]);
        for migration in MIGRATIONS {
            let statements = migration
                .sql()
                .split(";\n")
                .filter(|text| text.lines().any(|line| !line.starts_with("--") && !line.trim().is_empty()));
            let (indices, made): (Vec<_>, Vec<_>) = statements.partition(|text| {
                text.contains("ALTER TABLE") && beside.iter().any(|what| text.contains(what))
            });
            let understood: Vec<Defined> = defined(migration.sql()).collect();
            assert_eq!(understood.len(), made.len(), "{}, beside {} indices", migration.name, indices.len());
            for one in &understood {
                if let Defined::Table(table) = one {
                    assert!(table.columns.len() >= 6 && !table.sorting.is_empty(), "{table:?}");
                    assert!(
                        made.iter().any(|text| text.contains(&format!("\nORDER BY ({})\n", table.sorting)))
                    );
                    tables += 1;
                }
            }
        }
        assert!(tables >= 12, "{tables}");
    }

    /// Scenario: engines and types as servers write them.
    /// Guarantees: space between words is of no matter, space in names is; arguments are taken apart at their own commas.
    #[test]
    fn words_are_not_merged() {
        assert_eq!(tokens("Enum8('' = 0,'A B'=1)"), tokens(" Enum8( ''=0, 'A B' = 1 )"));
        assert_ne!(tokens("Enum8('A B'=1)"), tokens("Enum8('AB'=1)"));
        assert_ne!(tokens("gaps FINAL"), tokens("gapsFINAL"));
        assert_eq!(tokens(r"'it\'s' x"), [r"'it\'s'", "x"]);
        assert_eq!(arguments("ReplacingMergeTree(rank) ORDER BY (a, b)"), ["rank"]);
        assert_eq!(arguments("ReplacingMergeTree ORDER BY (a, b)"), Vec::<String>::new());
        let over = "Distributed('main', 'tally', 'gaps_local', cityHash64(topic_id, partition))";
        assert_eq!(arguments(over), ["'main'", "'tally'", "'gaps_local'", "cityHash64(topic_id,partition)"]);
    }
}
