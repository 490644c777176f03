//! Whether tables and views are still those that [`Store::migrate`] makes: a replaced view, or a symbol that was given
//! another number, changes every figure and no row.
//!
//! Only what the migrations write is compared: columns with their types and numbers of symbols, the family of the engine
//! and its version column, partition and sorting key, the text of a view. Settings, indices, replication, further columns
//! and time to live are the operator's. A distributed table is looked through: its `_local` table is held instead, on the
//! server that was asked.

mod parts;

use crate::error::StoreError;
use crate::migrate::MIGRATIONS;
use crate::store::Store;
use parts::{Defined, Table, View, arguments, defined, tokens};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};

/// A table or view that is not what this version makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Whether it is one of our views, which [`Store::restore_views`] can put right: they hold no rows.
    pub is_view: bool,
    /// What differs. Types and texts in it are the store's: they may hold anything.
    pub what: String,
}

/// Characters of the store's own words that a difference repeats.
const WORDS_CHARS_MAX: usize = 200;

#[derive(clickhouse::Row, Deserialize)]
struct FoundTable {
    name: String,
    engine: String,
    engine_full: String,
    partition_key: String,
    sorting_key: String,
    as_select: String,
}

#[derive(clickhouse::Row, Deserialize)]
struct FoundColumn {
    table: String,
    name: String,
    of: String,
    default_kind: String,
}

/// What a database holds.
#[derive(Default)]
struct Found {
    database: String,
    tables: HashMap<String, FoundTable>,
    /// By table and name: type, and how it is computed, if it is.
    columns: HashMap<(String, String), (String, String)>,
}

const TABLES: &str =
    "SELECT name, engine, engine_full, partition_key, sorting_key, as_select FROM system.tables
WHERE database = {database:String} AND has({names:Array(String)}, name)";
const COLUMNS: &str = "SELECT table, name, type AS of, default_kind FROM system.columns
WHERE database = {database:String} AND has({names:Array(String)}, table)";
const APPLIED: &str = "SELECT DISTINCT version FROM schema_migrations";

impl Store {
    /// What differs from the definitions of this version. What belongs to a migration that was never applied here may be
    /// absent; a later version's tables are held to what this one knows of them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn differences(&self) -> Result<Vec<Difference>, StoreError> {
        let applied: HashSet<u32> =
            self.client.query(APPLIED).fetch_all::<u32>().await?.into_iter().collect();
        let all = standing(|version| applied.contains(&version));
        let found = self.found(all.iter().map(|(_, defined)| defined.name())).await?;
        let tables: HashMap<&str, &Table> = all
            .iter()
            .filter_map(|(_, defined)| match defined {
                Defined::Table(table) => Some((table.name.as_str(), table)),
                Defined::View(_) | Defined::Changed(_) => None,
            })
            .collect();
        let mut differences = Vec::new();
        for (version, defined) in &all {
            let absent = !found.tables.contains_key(defined.name());
            if absent && !applied.contains(version) {
                continue;
            }
            let (is_view, what) = match defined {
                Defined::Table(table) => (false, found.table(table, &table.name)),
                Defined::View(view) => (true, found.view(view, tables.get(view.of.as_str()).copied())),
                Defined::Changed(_) => continue, // it stands in its table
            };
            let name = defined.name().to_owned();
            differences.extend(what.map(|what| Difference { name, is_view, what }));
        }
        Ok(differences)
    }

    /// Makes every view that differs anew; gives their names. Tables are left alone.
    ///
    /// # Errors
    /// See [`StoreError`], such as where a table stands in a view's place.
    pub async fn restore_views(&self) -> Result<Vec<String>, StoreError> {
        let differing = self.differences().await?;
        let differing: Vec<String> =
            differing.into_iter().filter(|differs| differs.is_view).map(|differs| differs.name).collect();
        for statement in MIGRATIONS.iter().flat_map(|migration| self.render(migration.sql())) {
            let Some(Defined::View(view)) = defined(&statement).next() else { continue };
            if differing.contains(&view.name) {
                let again = statement.replacen("CREATE VIEW IF NOT EXISTS", "CREATE OR REPLACE VIEW", 1);
                self.execute(&again).await?;
            }
        }
        Ok(differing)
    }

    async fn found(&self, names: impl Iterator<Item = &str>) -> Result<Found, StoreError> {
        let names: Vec<String> = names.flat_map(|name| [name.to_owned(), format!("{name}_local")]).collect();
        let ask = |sql| self.client.query(sql).param("database", &self.database).param("names", &names);
        let tables = ask(TABLES).fetch_all::<FoundTable>().await?;
        let columns = ask(COLUMNS).fetch_all::<FoundColumn>().await?;
        let tables = tables.into_iter().map(|table| (table.name.clone(), table)).collect();
        let column = |one: FoundColumn| ((one.table, one.name), (one.of, one.default_kind));
        Ok(Found {
            database: self.database.clone(),
            tables,
            columns: columns.into_iter().map(column).collect(),
        })
    }
}

/// What the migrations leave: each table and view with the number of the migration that made it. What a later one makes of a column
/// counts once it was applied.
fn standing(is_applied: impl Fn(u32) -> bool) -> Vec<(u32, Defined)> {
    let mut all: Vec<(u32, Defined)> = Vec::new();
    for migration in MIGRATIONS {
        for one in defined(migration.sql()) {
            let before = all.iter_mut().map(|(_, known)| known).find(|known| known.name() == one.name());
            match (one, before) {
                (Defined::Changed(changed), Some(Defined::Table(table))) if is_applied(migration.version) => {
                    let columns = table.columns.iter_mut().filter(|(name, _)| *name == changed.column);
                    columns.for_each(|(_, of)| of.clone_from(&changed.of));
                }
                (Defined::Changed(_), _) => {}
                (one, Some(before)) => *before = one, // a view that was made anew
                (one, None) => all.push((migration.version, one)),
            }
        }
    }
    all
}

fn short(text: &str) -> String {
    text.chars().take(WORDS_CHARS_MAX).collect()
}

impl Found {
    /// What differs of a table that stands under `name`.
    fn table(&self, table: &Table, name: &str) -> Option<String> {
        let Some(found) = self.tables.get(name) else { return Some("it is not there".to_owned()) };
        if found.engine == "Distributed" && name == table.name {
            return self.distributed(table, found);
        }
        let family = found.engine.ends_with("ReplacingMergeTree");
        let own = arguments(&found.engine_full).into_iter().filter(|argument| !argument.starts_with('\''));
        if !family || own.collect::<Vec<_>>() != table.arguments {
            return Some(format!("its engine is {}", short(&found.engine_full)));
        }
        for (what, is, must) in [
            ("partition", &found.partition_key, &table.partition),
            ("sorting", &found.sorting_key, &table.sorting),
        ] {
            if tokens(is) != tokens(must) {
                return Some(format!("its {what} key is {}", short(is)));
            }
        }
        self.columns(table, name)
    }

    fn distributed(&self, table: &Table, found: &FoundTable) -> Option<String> {
        let local = format!("{}_local", table.name);
        let over = arguments(&found.engine_full);
        let over: Vec<&str> = over.iter().map(|argument| argument.trim_matches(['\'', '`'])).collect();
        let here = [self.database.as_str(), "currentDatabase()"];
        let ours = over.get(1).is_some_and(|of| here.contains(of)) && over.get(2) == Some(&local.as_str());
        if !ours {
            return Some(format!("its engine is {}", short(&found.engine_full)));
        }
        let beneath = self.table(table, &local).map(|what| format!("{local}: {what}"));
        beneath.or_else(|| self.columns(table, &table.name))
    }

    /// What differs of the columns of `name`, which must be those of `table`.
    fn columns(&self, table: &Table, name: &str) -> Option<String> {
        for (column, must) in &table.columns {
            match self.columns.get(&(name.to_owned(), column.clone())) {
                None => return Some(format!("it has no column {column}")),
                Some((of, computed)) if tokens(of) != tokens(must) || !computed.is_empty() => {
                    return Some(format!(
                        "its column {column} is {}",
                        short(format!("{computed} {of}").trim())
                    ));
                }
                Some(_) => {}
            }
        }
        None
    }

    fn view(&self, view: &View, table: Option<&Table>) -> Option<String> {
        let Some(found) = self.tables.get(&view.name) else { return Some("it is not there".to_owned()) };
        if found.engine != "View" {
            return Some(format!("it is no view, its engine is {}", short(&found.engine_full)));
        }
        if !self.says(&found.as_select, &view.select) {
            return Some(format!("it says {}", short(&found.as_select)));
        }
        self.columns(table?, &view.name)
    }

    /// Whether a view's text is ours: the store puts the database before the table's name.
    fn says(&self, is: &str, must: &str) -> bool {
        let (is, must) = (tokens(is), tokens(must));
        let quoted = format!("`{}`", self.database);
        let from = must.iter().position(|token| *token == "FROM").map_or(0, |place| place + 1);
        let under = |database: &str| {
            let (before, after) = must.split_at(from);
            [before, &[database, "."], after].concat() == is
        };
        is == must || under(&self.database) || under(&quoted)
    }
}

#[cfg(test)]
mod tests {
    use super::{Defined, Found, FoundTable, standing};

    /// What a server makes of the migrations, under a cluster if one is given: replicated tables and distributed ones over them.
    fn server(cluster: bool) -> Found {
        let mut found = Found { database: "tally".to_owned(), ..Found::default() };
        let mut add = |name: &str, engine: &str, full: String, keys: (&str, &str), select: String| {
            let (partition_key, sorting_key) = (keys.0.to_owned(), keys.1.to_owned());
            let (name, engine) = (name.to_owned(), engine.to_owned());
            let table =
                FoundTable { name, engine, engine_full: full, partition_key, sorting_key, as_select: select };
            found.tables.insert(table.name.clone(), table);
        };
        let all: Vec<Defined> = standing(|_| true).into_iter().map(|(_, one)| one).collect();
        for one in &all {
            match one {
                Defined::Table(table) => {
                    let version = table.arguments.join(", ");
                    let keys = (table.partition.as_str(), table.sorting.as_str());
                    let name = &table.name;
                    if cluster {
                        let over =
                            format!("Distributed('main', 'tally', '{name}_local', cityHash64(event_id))");
                        add(name, "Distributed", over, ("", ""), String::new());
                        let comma = if version.is_empty() { "" } else { ", " };
                        let full = format!(
                            "ReplicatedReplacingMergeTree('/a/{{shard}}', '{{replica}}'{comma}{version}) ORDER BY x"
                        );
                        add(
                            &format!("{name}_local"),
                            "ReplicatedReplacingMergeTree",
                            full,
                            keys,
                            String::new(),
                        );
                    } else {
                        let version = if version.is_empty() { version } else { format!("({version})") };
                        let full = format!(
                            "ReplacingMergeTree{version} ORDER BY x SETTINGS index_granularity = 8192"
                        );
                        add(name, "ReplacingMergeTree", full, keys, String::new());
                    }
                }
                Defined::View(view) => {
                    let select = view.select.replace("FROM ", "FROM tally.");
                    add(&view.name, "View", String::new(), ("", ""), select);
                }
                Defined::Changed(changed) => panic!("{changed:?} stands alone"),
            }
        }
        for one in &all {
            let Defined::Table(table) = one else { continue };
            for (column, of) in &table.columns {
                for name in
                    [table.name.clone(), format!("{}_local", table.name), format!("{}_final", table.name)]
                {
                    let of = of.replace("'=", "' = ");
                    found.columns.insert((name, column.clone()), (of, String::new()));
                }
            }
        }
        found
    }

    fn differing(found: &Found) -> Vec<String> {
        let all: Vec<Defined> = standing(|_| true).into_iter().map(|(_, one)| one).collect();
        let of = |name: &str| {
            all.iter().find_map(|one| match one {
                Defined::Table(table) if table.name == name => Some(table),
                _ => None,
            })
        };
        let what = |one: &Defined| match one {
            Defined::Table(table) => found.table(table, &table.name),
            Defined::View(view) => found.view(view, of(&view.of)),
            Defined::Changed(changed) => panic!("{changed:?} stands alone"),
        };
        all.iter().filter(|one| what(one).is_some()).map(|one| one.name().to_owned()).collect()
    }

    /// Scenario: tables and views as a single server and as a cluster has them; then one part of one of them is another.
    /// Guarantees: nothing differs at first; each part that decides about figures is held, and the table or view is named.
    #[test]
    fn each_part_that_decides_is_held() {
        for cluster in [false, true] {
            assert!(differing(&server(cluster)).is_empty(), "{:?}", differing(&server(cluster)));
        }
        type Change = fn(&mut Found);
        let changes: [(&str, Change); 10] = [
            ("gaps_final", |f| f.tables.get_mut("gaps_final").expect("it").as_select.push_str(" WHERE 1")),
            ("gaps_final", |f| {
                f.tables.get_mut("gaps_final").expect("it").as_select =
                    "SELECT * FROM tally.gapsFINAL".to_owned()
            }),
            ("gaps_final", |f| {
                f.tables.get_mut("gaps_final").expect("it").as_select =
                    "SELECT * FROM tally.`gaps FINAL`".to_owned()
            }),
            ("gaps_final", |f| {
                f.tables.get_mut("gaps_final").expect("it").as_select =
                    "SELECT * FROM other.gaps FINAL".to_owned()
            }),
            ("gaps_final", |f| {
                f.tables.get_mut("gaps_final").expect("it").engine = "MaterializedView".to_owned()
            }),
            ("task_events_final", |f| {
                let key = ("task_events_final".to_owned(), "state_version".to_owned());
                f.columns.get_mut(&key).expect("it").0 = "Int8".to_owned();
            }),
            ("credit_events", |f| {
                let of =
                    &mut f.columns.get_mut(&("credit_events".to_owned(), "kind".to_owned())).expect("it").0;
                *of =
                    of.replace("'CHARGED' = 4", "'REFUNDED' = 4").replace("'REFUNDED' = 8", "'CHARGED' = 8");
            }),
            ("credit_events", |f| {
                let of =
                    &mut f.columns.get_mut(&("credit_events".to_owned(), "kind".to_owned())).expect("it").0;
                *of = of.replace("'CHARGED'", "'CHARGED '");
            }),
            ("audit_log", |f| {
                f.tables.get_mut("audit_log").expect("it").sorting_key = "topic_id, partition".to_owned()
            }),
            ("task_events", |f| {
                f.tables.get_mut("task_events").expect("it").engine_full =
                    "ReplacingMergeTree(offset)".to_owned()
            }),
        ];
        for (name, change) in changes {
            let mut found = server(false);
            change(&mut found);
            assert_eq!(differing(&found), [name]);
        }
        let mut found = server(true);
        found.tables.get_mut("gaps").expect("it").engine_full =
            "Distributed('main', 'other', 'gaps_local')".to_owned();
        found.tables.get_mut("task_events_local").expect("it").engine = "MergeTree".to_owned();
        assert_eq!(differing(&found), ["task_events", "gaps"]);
    }

    /// Scenario: a column has got more symbols; the migration was applied, or was not yet.
    /// Guarantees: the table is held to what it was made of then, and its view with it, each once.
    #[test]
    fn a_column_is_held_to_the_migrations_that_were_applied() {
        let symbols = |applied: u32| {
            let all = standing(|version| version <= applied);
            assert_eq!(all.iter().filter(|(_, one)| one.name() == "credit_events_final").count(), 1);
            let table = all.into_iter().find_map(|(_, one)| match one {
                Defined::Table(table) if table.name == "credit_events" => Some(table),
                _ => None,
            });
            let columns = table.expect("the table").columns;
            let (_, of) = columns.into_iter().find(|(name, _)| name == "endpoint").expect("the column");
            of.matches('=').count()
        };
        assert_eq!((symbols(7), symbols(8)), (5, 7));
    }
}
