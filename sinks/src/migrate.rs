//! The numbered migrations in `ddl/`, rendered for one server or for a cluster.

use crate::error::StoreError;
use crate::store::Store;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// One numbered step of the tables' history.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// 1 for the first; numbers have no holes.
    pub version: u32,
    /// The file's name less number and ending.
    pub name: &'static str,
    sql: &'static str,
}

impl Migration {
    pub(crate) const fn sql(&self) -> &'static str {
        self.sql
    }
}

/// Every migration, in order. A published one is never edited: its digest is kept in the database.
pub const MIGRATIONS: [Migration; 10] = [
    Migration { version: 1, name: "facts", sql: include_str!("../ddl/0001_facts.sql") },
    Migration { version: 2, name: "ledger", sql: include_str!("../ddl/0002_ledger.sql") },
    Migration { version: 3, name: "audit", sql: include_str!("../ddl/0003_audit.sql") },
    Migration { version: 4, name: "access", sql: include_str!("../ddl/0004_access.sql") },
    Migration { version: 5, name: "offsets", sql: include_str!("../ddl/0005_offsets.sql") },
    Migration { version: 6, name: "evidence", sql: include_str!("../ddl/0006_evidence.sql") },
    Migration { version: 7, name: "event time", sql: include_str!("../ddl/0007_event_time.sql") },
    Migration { version: 8, name: "acts", sql: include_str!("../ddl/0008_acts.sql") },
    Migration { version: 9, name: "timelines", sql: include_str!("../ddl/0009_timelines.sql") },
    Migration { version: 10, name: "durability", sql: include_str!("../ddl/0010_durability.sql") },
];

/// Why the tables could not be brought up to date.
#[derive(Debug, Error)]
pub enum MigrationError {
    /// The database has seen a later program than this one.
    #[error("the database is at schema version {found}, this program knows {known}: use a newer tally")]
    Newer {
        /// Version in the database.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
    /// A migration that was applied is not the one in this program.
    #[error("migration {version} was applied with another text: this database was made by another build")]
    Edited {
        /// Its number.
        version: u32,
    },
    /// A name that cannot stand in a statement.
    #[error("{what} '{name}' may hold letters, digits and underscores only")]
    Name {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// ClickHouse refused or did not answer.
    #[error("while applying migration {version}")]
    Store {
        /// The migration, 0 for the bookkeeping before the first.
        version: u32,
        /// What ClickHouse said.
        #[source]
        source: StoreError,
    },
}

const HISTORY: &str = "CREATE TABLE IF NOT EXISTS schema_migrations
(version UInt32, name String, sha256 String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))
ENGINE = ReplacingMergeTree
ORDER BY (version, sha256)";

#[derive(clickhouse::Row, serde::Deserialize)]
struct Applied {
    version: u32,
    sha256: String,
}

impl Store {
    /// Brings the tables up to date. Safe to run twice and by two at once: every statement can be repeated.
    ///
    /// # Errors
    /// See [`MigrationError`]; what was applied stays, and the next run goes on from there.
    pub async fn migrate(&self) -> Result<Vec<Migration>, MigrationError> {
        name("database", &self.database)?;
        self.cluster.as_deref().map_or(Ok(()), |cluster| name("cluster", cluster))?;
        let create = format!("CREATE DATABASE IF NOT EXISTS {}{}", self.database, self.on_cluster());
        let at = |version| move |source| MigrationError::Store { version, source };
        let anywhere = self.client.clone().with_database("default");
        anywhere.query(&create).execute().await.map_err(StoreError::from).map_err(at(0))?;
        for statement in self.render(&format!("-- shard by version\n{HISTORY}")) {
            self.execute(&statement).await.map_err(at(0))?;
        }
        let history = self.applied().await.map_err(at(0))?;
        let known = MIGRATIONS.last().map_or(0, |m| m.version);
        if let Some(found) = history.iter().map(|a| a.version).max().filter(|found| *found > known) {
            return Err(MigrationError::Newer { found, known });
        }
        let mut fresh = Vec::new();
        for migration in MIGRATIONS {
            let version = migration.version;
            let sha256 = hex::encode(Sha256::digest(migration.sql));
            if let Some(applied) = history.iter().find(|a| a.version == version) {
                match applied.sha256 == sha256 {
                    true => continue,
                    false => return Err(MigrationError::Edited { version }),
                }
            }
            for statement in self.render(migration.sql) {
                self.execute(&statement).await.map_err(at(version))?;
            }
            let record = format!(
                "INSERT INTO schema_migrations (version, name, sha256) VALUES ({version}, '{}', '{sha256}')",
                migration.name
            );
            self.execute(&record).await.map_err(at(version))?;
            fresh.push(migration);
        }
        Ok(fresh)
    }

    pub(crate) async fn execute(&self, statement: &str) -> Result<(), StoreError> {
        self.client
            .query_raw(statement)
            .with_setting("async_insert", "0")
            .execute()
            .await
            .map_err(StoreError::from)
    }

    async fn applied(&self) -> Result<Vec<Applied>, StoreError> {
        let sql = "SELECT version, sha256 FROM schema_migrations FINAL ORDER BY version, applied_at";
        self.client.query(sql).fetch_all().await.map_err(StoreError::from)
    }

    fn on_cluster(&self) -> String {
        self.cluster.as_ref().map_or(String::new(), |cluster| format!(" ON CLUSTER {cluster}"))
    }

    /// The statements of a migration for this store.
    pub(crate) fn render(&self, sql: &str) -> Vec<String> {
        let statements = sql
            .split(";\n")
            .map(str::trim)
            .filter(|s| s.lines().any(|l| !l.starts_with("--") && !l.is_empty()));
        match &self.cluster {
            None => statements.map(str::to_owned).collect(),
            Some(cluster) => statements.flat_map(|s| distributed(s, cluster)).collect(),
        }
    }
}

/// A table becomes a replicated one per shard and a distributed one over them; an index and a setting are the replicated one's, a column both have;
/// a view is made everywhere.
fn distributed(statement: &str, cluster: &str) -> Vec<String> {
    let key = statement.lines().find_map(|line| line.strip_prefix("-- shard by "));
    let body: Vec<&str> = statement.lines().filter(|line| !line.starts_with("--")).collect();
    let body = body.join("\n").trim().to_owned();
    if let Some(table) = body.strip_prefix("ALTER TABLE ").and_then(|rest| rest.split_whitespace().next()) {
        let here = format!("ALTER TABLE {table} ");
        let of = |name: &str| body.replacen(&here, &format!("ALTER TABLE {name} ON CLUSTER {cluster} "), 1);
        let mut made = vec![of(&format!("{table}_local"))];
        if body.starts_with(&format!("{here}MODIFY COLUMN ")) {
            made.push(of(table)); // the beneath before the above: what comes through it fits
        }
        return made;
    }
    let table =
        body.strip_prefix("CREATE TABLE IF NOT EXISTS ").and_then(|rest| rest.split_whitespace().next());
    let (Some(key), Some(table)) = (key, table) else {
        return vec![body.replacen(" AS SELECT", &format!(" ON CLUSTER {cluster} AS SELECT"), 1)];
    };
    let local = format!("{table}_local");
    let path = format!("'/clickhouse/tables/{{shard}}/{{database}}/{local}', '{{replica}}'");
    let replicated = body
        .replacen(
            &format!("CREATE TABLE IF NOT EXISTS {table}"),
            &format!("CREATE TABLE IF NOT EXISTS {local} ON CLUSTER {cluster}"),
            1,
        )
        .replacen("ReplacingMergeTree(", &format!("ReplicatedReplacingMergeTree({path}, "), 1)
        .replacen(
            "ENGINE = ReplacingMergeTree\n",
            &format!("ENGINE = ReplicatedReplacingMergeTree({path})\n"),
            1,
        )
        .replacen("non_replicated_deduplication_window", "replicated_deduplication_window", 1);
    let over = format!(
        "CREATE TABLE IF NOT EXISTS {table} ON CLUSTER {cluster} AS {local}\n\
         ENGINE = Distributed({cluster}, currentDatabase(), {local}, {key})"
    );
    vec![replicated, over]
}

fn name(what: &'static str, name: &str) -> Result<(), MigrationError> {
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain { Ok(()) } else { Err(MigrationError::Name { what, name: name.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use super::{MIGRATIONS, distributed};
    use tally_schemas::{Kind, Topic, columns, policy_tags};

    fn table_of<'a>(sql: &'a str, table: &str) -> &'a str {
        let start = sql.find(&format!("CREATE TABLE IF NOT EXISTS {table}\n")).expect("the table");
        let rest = &sql[start..];
        &rest[..rest.find("ENGINE").expect("an engine")]
    }

    fn enum8(symbols: &[String], nullable: bool) -> String {
        let absent = if nullable { vec!["''=0".to_owned()] } else { vec![] };
        let places = symbols.iter().zip(1..).map(|(s, n)| format!("'{s}'={n}"));
        format!("Enum8({})", absent.into_iter().chain(places).collect::<Vec<_>>().join(", "))
    }

    /// Scenario: a field or a symbol is added to a contract and forgotten in the tables, or the other way round.
    /// Guarantees: every field of the newest contract is a column of a fitting type, enums number for number.
    #[test]
    fn tables_follow_the_contracts() {
        let facts = MIGRATIONS[0].sql;
        for topic in Topic::ALL {
            let ddl = table_of(facts, topic.table());
            for column in columns(topic) {
                let line = ddl.lines().find(|l| l.split_whitespace().next() == Some(&column.name));
                let line = line.unwrap_or_else(|| panic!("{} has no {}", topic.table(), column.name)).trim();
                let first = line.split_once(' ').expect("a type").1.trim().trim_end_matches(',');
                let change = format!("ALTER TABLE {} MODIFY COLUMN {} ", topic.table(), column.name);
                let mut changes =
                    MIGRATIONS.iter().flat_map(|m| m.sql.lines()).filter_map(|l| l.strip_prefix(&change));
                let found = changes.next_back().map_or(first, |l| l.trim_end_matches(';'));
                let or_null = |t: &str| if column.nullable { format!("Nullable({t})") } else { t.to_owned() };
                let expected = match &column.kind {
                    Kind::Text => vec!["String".to_owned(), "LowCardinality(String)".to_owned()],
                    Kind::Long => vec![or_null("Int64")],
                    Kind::Int => vec![or_null("Int32")],
                    Kind::Boolean => vec![or_null("Bool")],
                    Kind::Timestamp => vec![or_null("DateTime64(6, 'UTC')")],
                    Kind::Uuid => vec![or_null("UUID")],
                    Kind::Enum(symbols) => vec![enum8(symbols, column.nullable)],
                };
                assert!(expected.iter().any(|e| e == found), "{}.{}: {found}", topic.table(), column.name);
            }
        }
        let tags: Vec<String> = policy_tags().iter().map(|t| t.symbol.clone()).collect();
        assert!(table_of(MIGRATIONS[1].sql, "audit_log").contains(&enum8(&tags, true)));
    }

    /// Scenario: a cluster.
    /// Guarantees: every table becomes replicated and distributed with a sharding key that keeps equal keys together.
    #[test]
    fn cluster_rendering() {
        for statement in
            MIGRATIONS.iter().flat_map(|m| m.sql.split(";\n")).filter(|s| s.contains("CREATE TABLE"))
        {
            let made = distributed(statement.trim(), "main");
            assert_eq!(made.len(), 2, "{statement}");
            assert!(
                made[0].contains("_local ON CLUSTER main")
                    && made[0].contains("ENGINE = ReplicatedReplacingMergeTree('"),
                "{}",
                made[0]
            );
            assert!(
                made[1].contains("Distributed(main, currentDatabase(), ") && made[1].contains("cityHash64("),
                "{}",
                made[1]
            );
        }
        let index = "ALTER TABLE facts ADD INDEX IF NOT EXISTS i offset TYPE minmax";
        let local = "ALTER TABLE facts_local ON CLUSTER main ADD INDEX IF NOT EXISTS i offset TYPE minmax";
        assert_eq!(distributed(index, "main"), [local]);
        let column = "ALTER TABLE facts MODIFY COLUMN kind Enum8('A'=1)";
        let made = ["facts_local", "facts"]
            .map(|name| format!("ALTER TABLE {name} ON CLUSTER main MODIFY COLUMN kind Enum8('A'=1)"));
        assert_eq!(distributed(column, "main"), made);
        let view = "CREATE OR REPLACE VIEW facts_final AS SELECT * FROM facts FINAL";
        let made = "CREATE OR REPLACE VIEW facts_final ON CLUSTER main AS SELECT * FROM facts FINAL";
        assert_eq!(distributed(view, "main"), [made]);
    }
}
