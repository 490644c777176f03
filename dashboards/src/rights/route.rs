//! The table of rights over the routes of API and feed: role × route → which rows.

use crate::identity::Role;

/// Which rows of a route's answer somebody gets.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Access {
    /// The route is not theirs: 403.
    None,
    /// Rows of which they are the user or the grantee.
    Own,
    /// Rows of their own templates and of licences to them.
    OwnTemplates,
    /// Rows of their own templates that run under a licence.
    OwnGrantees,
    /// Rows of cases they have in work; tasks are masked.
    InWork,
    /// Every row.
    All,
    /// Each event as the table of events says.
    ByEvent,
    /// Each panel as the table of panels says.
    ByPanel,
    /// Anybody, without a token.
    Open,
}

impl Access {
    /// How it stands in the document.
    pub const fn title(self) -> &'static str {
        match self {
            Access::None => "–",
            Access::Own => "own",
            Access::OwnTemplates => "of own templates",
            Access::OwnGrantees => "of own grantees",
            Access::InWork => "of cases in work",
            Access::All => "all",
            Access::ByEvent => "by event",
            Access::ByPanel => "by panel",
            Access::Open => "anybody",
        }
    }
}

macro_rules! routes {
    ($($(#[doc = $doc:literal])* $name:ident = $method:literal $path:literal,)*) => {
        /// Every route that gives or takes data.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Route {
            $($(#[doc = $doc])* $name,)*
        }

        impl Route {
            /// All of them, in the order of the document.
            pub const ALL: &[Route] = &[$(Route::$name),*];

            /// Its method.
            pub const fn method(self) -> &'static str {
                match self { $(Route::$name => $method),* }
            }

            /// Its path, parameters in braces.
            pub const fn path(self) -> &'static str {
                match self { $(Route::$name => $path),* }
            }
        }
    };
}

routes! {
    /// Who the token speaks for.
    Me = "GET" "/api/v1/me",
    /// Tasks.
    Tasks = "GET" "/api/v1/tasks",
    /// One task with its timeline.
    Task = "GET" "/api/v1/tasks/{task_id}",
    /// A task's receipts, facts and dead letters against the sealed log.
    TaskEvidence = "GET" "/api/v1/tasks/{task_id}/evidence",
    /// Wallets.
    Wallets = "GET" "/api/v1/wallets",
    /// One wallet with its movements.
    Wallet = "GET" "/api/v1/wallets/{wallet_id}",
    /// Licences.
    Licenses = "GET" "/api/v1/licenses",
    /// One licence with its events.
    License = "GET" "/api/v1/licenses/{license_id}",
    /// The moderation queue with its clock.
    Cases = "GET" "/api/v1/moderation/cases",
    /// One case with its events.
    Case = "GET" "/api/v1/moderation/cases/{case_id}",
    /// Revenue: purchases by currency, credits charged net of refunds.
    Revenue = "GET" "/api/v1/figures/revenue",
    /// Task success rate.
    TaskSuccess = "GET" "/api/v1/figures/task-success",
    /// Queue depth and waiting time.
    Queues = "GET" "/api/v1/figures/queues",
    /// Share of accelerated tasks.
    Acceleration = "GET" "/api/v1/figures/acceleration",
    /// Supplements asked for and accepted.
    Supplements = "GET" "/api/v1/figures/supplements",
    /// Error rate by endpoint.
    Endpoints = "GET" "/api/v1/figures/endpoints",
    /// The moderation queue by risk, and its SLA.
    Moderation = "GET" "/api/v1/figures/moderation",
    /// What is left of licences' quotas, by creator.
    Quotas = "GET" "/api/v1/figures/quotas",
    /// The panels of the pages that the role may ask.
    Panels = "GET" "/api/v1/panels",
    /// One panel's answer.
    Panel = "GET" "/api/v1/panels/{panel_id}",
    /// Counts of the ledger now.
    Live = "GET" "/api/v1/live",
    /// Dead letters.
    DeadLetters = "GET" "/api/v1/dead-letters",
    /// One dead letter: reason, path, sentence, lineage.
    DeadLetter = "GET" "/api/v1/dead-letters/{topic}/{partition}/{offset}",
    /// Its raw bytes.
    DeadLetterRaw = "GET" "/api/v1/dead-letters/{topic}/{partition}/{offset}/raw",
    /// What can be read of its fields.
    DeadLetterDecoded = "GET" "/api/v1/dead-letters/{topic}/{partition}/{offset}/decoded",
    /// Who published it again.
    DeadLetterReplays = "GET" "/api/v1/dead-letters/{topic}/{partition}/{offset}/replays",
    /// What would become of it now; and publish it again.
    DeadLetterReplay = "POST" "/api/v1/dead-letters/{topic}/{partition}/{offset}/replay",
    /// Verdicts of audit jobs, with what they restated.
    Results = "GET" "/api/v1/audit/results",
    /// One result whole.
    Result = "GET" "/api/v1/audit/results/{result_id}",
    /// The offenders of a result.
    Offenders = "GET" "/api/v1/audit/results/{result_id}/offenders",
    /// What each job said over time.
    Verdicts = "GET" "/api/v1/audit/verdicts",
    /// How receipts and gaps tile each partition.
    Tiling = "GET" "/api/v1/audit/tiling",
    /// What `tally verify` found.
    Verifications = "GET" "/api/v1/audit/verifications",
    /// The delivery ledger of the feed.
    Deliveries = "GET" "/api/v1/deliveries",
    /// Signed checkpoints.
    Seals = "GET" "/api/v1/seals",
    /// A proof that an event was taken; for whoever sees that event in full.
    Proof = "GET" "/api/v1/proofs/{event_id}",
    /// Contracts.
    Schemas = "GET" "/api/v1/schemas",
    /// One version of a contract.
    Schema = "GET" "/api/v1/schemas/{topic}/{version}",
    /// The dictionary of policy tags.
    PolicyTags = "GET" "/api/v1/policy-tags",
    /// What was revoked and lifted.
    Revocations = "GET" "/api/v1/revocations",
    /// Revoke a token or a subject, or lift that.
    Revoke = "POST" "/api/v1/revocations",
    /// The feed over WebSocket.
    FeedWs = "GET" "/feed/ws",
    /// The feed as server-sent events.
    FeedSse = "GET" "/feed/sse",
    /// The feed by long poll.
    FeedEvents = "GET" "/feed/events",
    /// Acknowledging what was shown.
    FeedAcks = "POST" "/feed/acks",
    /// The state behind which the feed goes on.
    FeedSnapshot = "GET" "/feed/snapshot",
    /// The keys that sign the feed.
    FeedKeys = "GET" "/.well-known/jwks.json",
}

/// Which rows of a route's answer the role gets.
pub const fn access(role: Role, route: Route) -> Access {
    use Route as R;
    match route {
        // dictionaries, and what one's own token says
        R::Me | R::Schemas | R::Schema | R::PolicyTags => Access::All,
        R::FeedKeys => Access::Open,
        R::Panels | R::Panel => Access::ByPanel,
        R::FeedWs | R::FeedSse | R::FeedEvents | R::FeedAcks => match role {
            Role::Creator | Role::Buyer | Role::Moderator | Role::Admin => Access::ByEvent,
            Role::Service => Access::None,
        },
        R::Tasks | R::Task | R::FeedSnapshot => match role {
            Role::Creator => Access::OwnGrantees,
            Role::Buyer => Access::Own,
            Role::Moderator => Access::InWork,
            Role::Admin => Access::All,
            Role::Service => Access::None,
        },
        R::Licenses | R::License => match role {
            Role::Creator => Access::OwnTemplates,
            Role::Buyer => Access::Own,
            Role::Moderator => Access::InWork,
            Role::Admin => Access::All,
            Role::Service => Access::None,
        },
        R::Cases | R::Case => match role {
            Role::Creator => Access::OwnTemplates,
            Role::Buyer => Access::Own,
            Role::Moderator | Role::Admin => Access::All,
            Role::Service => Access::None,
        },
        R::Wallets | R::Wallet => match role {
            Role::Buyer => Access::Own,
            Role::Admin => Access::All,
            Role::Creator | Role::Moderator | Role::Service => Access::None,
        },
        R::Quotas => match role {
            Role::Creator => Access::OwnTemplates,
            Role::Admin => Access::All,
            Role::Buyer | Role::Moderator | Role::Service => Access::None,
        },
        // the event itself is held against the table of events
        R::Proof => match role {
            Role::Creator => Access::OwnTemplates,
            Role::Buyer => Access::Own,
            Role::Moderator | Role::Admin => Access::All,
            Role::Service => Access::None,
        },
        R::Moderation
        | R::Live
        | R::Results
        | R::Result
        | R::Offenders
        | R::Verdicts
        | R::Tiling
        | R::Verifications
        | R::TaskEvidence
        | R::DeadLetterReplays
        | R::Deliveries
        | R::Seals => match role {
            Role::Moderator | Role::Admin => Access::All,
            Role::Creator | Role::Buyer | Role::Service => Access::None,
        },
        // who develops a service must see why its events were refused
        R::DeadLetters | R::DeadLetter => match role {
            Role::Moderator | Role::Admin | Role::Service => Access::All,
            Role::Creator | Role::Buyer => Access::None,
        },
        R::Revenue
        | R::TaskSuccess
        | R::Queues
        | R::Acceleration
        | R::Supplements
        | R::Endpoints
        | R::DeadLetterRaw
        | R::DeadLetterDecoded
        | R::DeadLetterReplay
        | R::Revocations
        | R::Revoke => match role {
            Role::Admin => Access::All,
            Role::Creator | Role::Buyer | Role::Moderator | Role::Service => Access::None,
        },
    }
}
