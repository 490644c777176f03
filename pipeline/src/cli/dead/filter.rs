//! Which letters are meant.

use tally_queries::Wanted;

/// What letters have in common.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Filter {
    /// Of this Kafka topic only.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) topic: String,
    /// Of this reason only, such as unknown_schema.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(super) reason: String,
    /// Appended at or after, RFC 3339.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TIME")]
    pub(super) from: String,
    /// Appended before, RFC 3339.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TIME")]
    pub(super) to: String,
}

impl Filter {
    /// The question to the store, for the newest `limit`.
    pub(super) fn wanted(self, limit: u64) -> Wanted {
        let Filter { topic, reason, from, to } = self;
        Wanted { topic, reason, from, to, limit, ..Wanted::default() }
    }
}
