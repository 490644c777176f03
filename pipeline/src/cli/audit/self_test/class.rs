//! The kinds of harm that are done.

use serde::Serialize;

/// What is done to the data on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Class {
    /// Rows deleted, and events that were never published.
    Loss,
    /// The same event published again.
    Duplicate,
    /// An event that arrives after the first result of a closed window.
    Late,
    /// An event whose own time lies more than 5 minutes from its append time.
    Skewed,
    /// The same event id with another content.
    Conflicting,
    /// An event without a policy tag, or with one that the dictionary does not have.
    Untagged,
    /// A column altered in the store.
    Altered,
}

impl Class {
    pub(super) const ALL: [Class; 7] = [
        Class::Loss,
        Class::Duplicate,
        Class::Late,
        Class::Skewed,
        Class::Conflicting,
        Class::Untagged,
        Class::Altered,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Class::Loss => "loss",
            Class::Duplicate => "duplicate",
            Class::Late => "late",
            Class::Skewed => "skewed",
            Class::Conflicting => "conflicting",
            Class::Untagged => "untagged",
            Class::Altered => "altered",
        }
    }
}
