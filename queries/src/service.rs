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
    ];
    settings.into_iter().fold(client.clone(), |client, (name, value)| client.with_setting(name, value))
}

/// The question, ready for its parameters.
pub fn ask(client: &Client, question: Question) -> Query {
    client.query(question.sql)
}

#[cfg(test)]
mod tests {
    use super::ALL;

    /// Scenario: a question is added, or changed.
    /// Guarantees: it reads through deduplicating views only, writes nothing, and every parameter says its type.
    #[test]
    fn questions_read_final_views_through_typed_parameters() {
        for question in ALL {
            let code: String =
                question.sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
            let reads = code
                .match_indices("FROM ")
                .map(|(at, _)| code[at + 5..].split_whitespace().next().unwrap_or(""))
                .map(|name| name.trim_end_matches(')'));
            for table in reads {
                let derived = [
                    "(",
                    "picked",
                    "events",
                    "ends",
                    "tasks",
                    "attempts",
                    "cases",
                    "licences",
                    "receipts",
                    "spread",
                    "absent",
                    "twice",
                    "pieces",
                    "partitions",
                ];
                assert!(table.ends_with("_final") || derived.contains(&table), "{}: {table}", question.name);
            }
            for word in ["INSERT", "ALTER", "DROP", "url(", "file(", "remote(", "SETTINGS"] {
                assert!(!code.contains(word), "{} says {word}", question.name);
            }
            for (at, _) in code.match_indices('{') {
                let parameter = code[at + 1..].split('}').next().unwrap_or_default();
                assert!(
                    parameter.contains(':') && !parameter.contains(' '),
                    "{}: {parameter}",
                    question.name
                );
            }
        }
    }
}
