//! What the service asks for whoever may see it: named SQL with bound parameters, under limits of time and size.
//!
//! Ownership is part of each text: `scope` says which rows count (`all`, `own`, `templates`, `grantees`, `work`) and `subject`
//! whose. Who decides on the scope is the service's table of rights.

use clickhouse::Client;
use clickhouse::query::Query;

/// One named question.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// For logs and errors.
    pub name: &'static str,
    sql: &'static str,
}

impl Question {
    /// Its SQL, parts included.
    pub fn text(self) -> String {
        whole(self.sql)
    }
}

macro_rules! questions {
    ($($(#[doc = $doc:literal])* $name:ident = $file:literal,)*) => {
        $(
            $(#[doc = $doc])*
            pub const $name: Question =
                Question { name: $file, sql: include_str!(concat!("../sql/api/", $file, ".sql")) };
        )*

        /// All of them.
        pub const ALL: &[Question] = &[$($name),*];
    };
}

questions! {
    /// Cases that a moderator has in work.
    WORK = "work",
    /// A page of tasks.
    TASKS = "tasks",
    /// A page of the events about one thing.
    TIMELINE = "timeline",
    /// Every fact of one event id.
    EVENT = "event",
    /// A page of wallets.
    WALLETS = "wallets",
    /// A page of licences.
    LICENSES = "licenses",
    /// A page of moderation cases.
    CASES = "cases",
    /// A page of dead letters.
    DEAD_LETTERS = "dead_letters",
    /// A page of results of audit jobs.
    RESULTS = "results",
    /// What each job said last, and before.
    VERDICTS = "verdicts",
    /// How receipts and gaps tile each partition.
    TILING = "tiling",
    /// A page of what `tally verify` found.
    VERIFICATIONS = "verifications",
    /// Who published a dead letter again.
    REPLAYS = "replays",
    /// Receipts of a task's events.
    TASK_RECEIPTS = "task_receipts",
    /// Receipts of some events of a task.
    EVENT_RECEIPTS = "event_receipts",
    /// Dead letters under a task's key.
    TASK_LETTERS = "task_letters",
    /// One result whole.
    RESULT = "result",
    /// A page of signed checkpoints.
    SEALS = "seals",
    /// A page of the delivery ledger.
    DELIVERIES = "deliveries",
    /// A page of revocations.
    REVOCATIONS = "revocations",
    /// Revenue.
    REVENUE = "figure_revenue",
    /// Task success rate.
    TASK_SUCCESS = "figure_task_success",
    /// Queue depth and waiting time.
    QUEUES = "figure_queues",
    /// Share of accelerated tasks.
    ACCELERATION = "figure_acceleration",
    /// Supplements.
    SUPPLEMENTS = "figure_supplements",
    /// Error rates of the interfaces.
    ENDPOINTS = "figure_endpoints",
    /// The moderation queue and its SLA.
    MODERATION = "figure_moderation",
    /// What is left of licences' quotas.
    QUOTAS = "figure_quotas",
    /// Of each role the one with the most to see.
    SOMEBODY = "somebody",
}

/// What one question may cost the store.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Seconds it may run.
    pub execution_s_max: u32,
    /// Rows that it may answer.
    pub result_rows_max: u64,
    /// Bytes of memory that it may take there.
    pub memory_bytes_max: u64,
}

/// A client that cannot write and whose questions the store breaks off beyond the limits.
pub fn limited(client: &Client, limits: ReadLimits) -> Client {
    let settings = [
        ("readonly", "2".to_owned()),
        ("max_execution_time", limits.execution_s_max.to_string()),
        ("timeout_overflow_mode", "throw".to_owned()),
        ("max_result_rows", limits.result_rows_max.to_string()),
        ("result_overflow_mode", "throw".to_owned()),
        ("max_memory_usage", limits.memory_bytes_max.to_string()),
        ("output_format_json_quote_64bit_integers", "1".to_owned()),
        ("date_time_output_format", "iso".to_owned()),
        // as in the views: equal keys have equal occurred_at, by which facts are partitioned, and nothing else is
        ("do_not_merge_across_partitions_select_final", "1".to_owned()),
        // compiled code is of one text with its constants, which are others every few seconds: it is made and not used again
        ("compile_expressions", "0".to_owned()),
        ("compile_aggregate_expressions", "0".to_owned()),
        ("compile_sort_description", "0".to_owned()),
    ];
    settings.into_iter().fold(client.clone(), |client, (name, value)| client.with_setting(name, value))
}

/// The question, ready for its parameters.
pub fn ask(client: &Client, question: Question) -> Query {
    client.query(&question.text())
}

macro_rules! parts {
    ($($name:literal = $file:literal,)*) => {
        /// Rules of METRICS that more than one question rests on, each stated once.
        const PARTS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../sql/", $file, ".sql")))),*];
    };
}

parts! {
    "attempts" = "parts/attempts",
    "money" = "parts/money",
    "task_ends" = "parts/task_ends",
    "task_waits" = "parts/task_waits",
    "supplements" = "parts/supplements",
    "accelerations" = "parts/accelerations",
    "tiling" = "parts/tiling",
    "cases" = "parts/cases",
    "event_us" = "parts/event_us",
    "results" = "parts/results",
    "latest_results" = "parts/latest_results",
    "accuracy_windows" = "parts/accuracy_windows",
    "accuracy_counters" = "parts/accuracy_counters",
    "receipts" = "parts/receipts",
    "licences" = "parts/licences",
    "figure_acceleration" = "api/figure_acceleration",
    "figure_endpoints" = "api/figure_endpoints",
    "figure_moderation" = "api/figure_moderation",
    "figure_queues" = "api/figure_queues",
    "figure_quotas" = "api/figure_quotas",
    "figure_revenue" = "api/figure_revenue",
    "figure_supplements" = "api/figure_supplements",
    "figure_task_success" = "api/figure_task_success",
}

/// Parts of which a page shows several figures. To read one takes longer than to make all of them of it.
const SHARED: [&str; 6] = ["attempts", "money", "task_ends", "task_waits", "supplements", "accelerations"];
/// The name of such a part among figures that are asked for together.
const SHARED_AS: &str = "shared";

/// The text with each `{{name}}` replaced by the part of that name, in parentheses; parts may name parts. A name that is none
/// stays, and the store refuses it; tests hold that there is none.
pub fn whole(sql: &str) -> String {
    with_parts(sql, None)
}

fn with_parts(sql: &str, shared: Option<&str>) -> String {
    let Some((before, rest)) = sql.split_once("{{") else { return sql.to_owned() };
    let Some((name, after)) = rest.split_once("}}") else { return sql.to_owned() };
    let part = PARTS.iter().find(|(known, _)| *known == name);
    let text = match part {
        None => format!("{{{{{name}"),
        Some(_) if shared == Some(name) => SHARED_AS.to_owned(),
        Some((_, text)) => format!("(\n{}\n)", with_parts(&without_comments(text), shared)),
    };
    format!("{before}{text}{}", with_parts(after, shared))
}

/// The part that a text can share with others that rest on it; `None` where there is none.
pub fn shared_part(sql: &str) -> Option<&'static str> {
    SHARED.into_iter().find(|part| with_parts(sql, Some(part)).contains(&format!("FROM {SHARED_AS}")))
}

/// One question for figures that rest on the same part, which is read once: a row a figure, its name and its rows in their order, each as a
/// JSON object. To be asked with [`TOGETHER`].
pub fn together(part: &str, figures: &[(&str, String)]) -> String {
    let one = |(name, sql): &(&str, String)| {
        let sql = with_parts(sql, Some(part));
        format!(
            "SELECT '{name}' AS name, groupArray(row) AS rows\nFROM (SELECT formatRowNoNewline('JSONEachRow', *) AS row FROM (\n{sql}\n))"
        )
    };
    let figures = figures.iter().map(one).collect::<Vec<_>>().join("\nUNION ALL\n");
    format!("WITH {SHARED_AS} AS MATERIALIZED {}\n{figures}", whole(&format!("{{{{{part}}}}}")))
}

/// The setting without which a server would read the part once a figure all the same.
pub const TOGETHER: (&str, &str) = ("enable_materialized_cte", "1");

fn without_comments(sql: &str) -> String {
    sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{ALL, PARTS, shared_part, together, whole, without_comments};

    /// Tables of which rows with one key are alike in all that was published, since facts have its digest in their key.
    const ALIKE: [&str; 5] =
        ["credit_events", "license_events", "task_events", "moderation_events", "audit_log"];
    /// Columns in which facts of one key may differ: where and when the row was appended.
    const APPENDED: [&str; 6] = ["topic", "partition", "offset", "appended_at", "rank", "event_us"];
    /// Receipts have these in their key, or with it.
    const OF_RECEIPTS: &str = "SETTINGS use_skip_indexes_if_final_exact_mode = 0";

    /// Scenario: a question or a part is added, or changed.
    /// Guarantees: it reads through deduplicating views, or says FINAL itself and filters before that by what was published alone; without it
    /// only which different values there are. It writes nothing, and every parameter says its type.
    #[test]
    fn questions_read_deduplicated_rows_through_typed_parameters() {
        let texts = PARTS.iter().copied().chain(ALL.iter().map(|question| (question.name, question.sql)));
        for (name, sql) in texts.filter(|(name, _)| *name != "event_us") {
            let code = without_comments(&whole(sql));
            for (at, _) in code.match_indices("FROM ") {
                let rest: Vec<&str> = code[at + 5..].split_whitespace().collect();
                let table = rest[0].trim_start_matches("(SELECT").trim_end_matches(')');
                if !ALIKE.contains(&table) {
                    let derived =
                        table.is_empty() || table.starts_with('(') || code.contains(&format!("{table} AS ("));
                    assert!(table.ends_with("_final") || derived, "{name}: {table}");
                    continue;
                }
                let is_final = rest.iter().take(4).any(|word| *word == "FINAL");
                let before = code[..at].trim_end().lines().last().unwrap_or_default().trim_start();
                assert!(is_final || before.starts_with("SELECT DISTINCT"), "{name}: {before}");
                let until = |ends: &'static [&str]| rest.iter().take_while(move |word| !ends.contains(*word));
                // before FINAL: what PREWHERE says, and all of a question without it
                let all = ["GROUP", "UNION", "ORDER", "LIMIT"].as_slice();
                let mut said: Vec<&str> = match is_final {
                    true => until(&["WHERE", "GROUP", "UNION", "ORDER"])
                        .skip_while(|word| **word != "PREWHERE")
                        .copied()
                        .collect(),
                    false => until(all).copied().chain(before.split_whitespace()).collect(),
                };
                if table == "audit_log" {
                    // a receipt's key has its place and not its digest: of one key the disposition may differ
                    assert!(is_final && said.is_empty(), "{name}: receipts are asked after FINAL");
                }
                if let Some(at) = said.iter().position(|word| *word == "IN") {
                    let is_asked = said.get(at + 1).is_some_and(|word| word.starts_with("(SELECT"));
                    let is_global = at > 0 && said[at - 1] == "GLOBAL";
                    assert!(!is_asked || is_global, "{name}: on a cluster each shard would ask all others");
                }
                said.retain(|word| *word != "FINAL");
                for word in
                    said.iter().flat_map(|word| word.split(|c: char| !c.is_alphanumeric() && c != '_'))
                {
                    assert!(!APPENDED.contains(&word), "{name}: {word} before FINAL");
                }
            }
            let code =
                if code.contains("FROM audit_log FINAL") { code.replace(OF_RECEIPTS, "") } else { code };
            for word in ["INSERT", "ALTER", "DROP", "url(", "file(", "remote(", "SETTINGS"] {
                assert!(!code.contains(word), "{name} says {word}");
            }
            for (at, _) in code.match_indices('{') {
                let parameter = code[at + 1..].split('}').next().unwrap_or_default();
                assert!(parameter.contains(':') && !parameter.contains(' '), "{name}: {parameter}");
            }
        }
    }

    /// Scenario: a question or a part is about event time.
    /// Guarantees: METRICS' rule of it stands in one part alone, and is the expression of the index by event time, word by word.
    #[test]
    fn event_time_is_stated_once() {
        let texts = PARTS.iter().copied().chain(ALL.iter().map(|question| (question.name, question.sql)));
        for (name, sql) in texts.filter(|(name, _)| *name != "event_us") {
            assert!(!without_comments(sql).contains("abs(toUnixTimestamp64Micro(occurred_at)"), "{name}");
        }
        let index = include_str!("../../sinks/ddl/0007_event_time.sql");
        let stated = whole("{{event_us}}");
        let stated = stated.trim_start_matches("(\n").trim_end_matches("\n)");
        assert_eq!(index.matches(stated).count(), 4, "{stated}");
    }

    /// Scenario: texts over parts, over parts of parts, over none, and over what is none.
    /// Guarantees: each part is put in, in parentheses and without its comments; what is none is left for the store to refuse.
    #[test]
    fn parts_are_put_in() {
        assert_eq!(whole("SELECT {from_us:Int64}"), "SELECT {from_us:Int64}");
        assert_eq!(whole("SELECT 1 FROM {{nothing}} x"), "SELECT 1 FROM {{nothing x");
        for (name, _) in PARTS {
            let text = whole(&format!("SELECT * FROM {{{{{name}}}}} WHERE 1"));
            assert!(text.starts_with("SELECT * FROM (\n") && text.ends_with("\n) WHERE 1"), "{text}");
            assert!(!text.contains("{{") && !text.contains("--"), "{text}");
        }
        let nested = whole("{{figure_endpoints}}");
        assert!(
            nested.contains("FROM credit_events_final")
                && nested.matches('(').count() == nested.matches(')').count()
        );
    }

    /// Scenario: figures over a shared part, directly, through another part, twice in one, and not at all.
    /// Guarantees: what they share is found; together they read it once.
    #[test]
    fn figures_over_one_part_read_it_once() {
        assert_eq!(shared_part("SELECT 1 FROM {{money}}\nWHERE priced"), Some("money"));
        assert_eq!(shared_part("SELECT 1 FROM {{figure_revenue}}"), Some("money"));
        assert_eq!(shared_part("SELECT 1 FROM {{tiling}}"), None);
        assert_eq!(shared_part("SELECT 1 FROM results_final"), None);
        let figures = [
            ("a", "SELECT name FROM {{figure_revenue}}".to_owned()),
            ("b", "SELECT 1 FROM {{money}}".to_owned()),
        ];
        let asked = together("money", &figures);
        assert!(asked.starts_with("WITH shared AS MATERIALIZED (\n"), "{asked}");
        assert_eq!(
            (asked.matches("FROM credit_events_final").count(), asked.matches("FROM shared").count()),
            (1, 3)
        );
        assert!(!asked.contains("{{"), "{asked}");
    }
}
