//! What tests may do to the route: bugs that are planted in it, so that it is known that they would be found. A build for
//! anybody else has none of it.

use std::sync::atomic::{AtomicBool, Ordering};

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A block is committed before it is attested.
    CommitFirst,
    /// The last record of each block is forgotten.
    SkipOffset,
    /// A lane panics before it writes a block, once in a process.
    PanicWriting,
    /// A lane panics while it judges a block, once in a process.
    PanicJudging,
}

/// Panics, the first time, where that bug is planted.
pub(crate) fn panic_once(bug: Bug) {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    assert!(!planted(bug) || PANICKED.swap(true, Ordering::Relaxed), "planted");
}

/// Whether a bug is planted here.
#[cfg(not(any(test, feature = "faults")))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

/// Whether `TALLY_PLANT` names this bug.
#[cfg(all(not(test), feature = "faults"))]
pub(crate) fn planted(bug: Bug) -> bool {
    static PLANTED: std::sync::LazyLock<Option<Bug>> =
        std::sync::LazyLock::new(|| match std::env::var("TALLY_PLANT").ok()?.as_str() {
            "commit-first" => Some(Bug::CommitFirst),
            "skip-offset" => Some(Bug::SkipOffset),
            "panic-writing" => Some(Bug::PanicWriting),
            "panic-judging" => Some(Bug::PanicJudging),
            _ => None,
        });
    *PLANTED == Some(bug)
}

#[cfg(test)]
pub(crate) use planting::{plant, planted};

#[cfg(test)]
mod planting {
    use super::Bug;
    use std::cell::Cell;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants a bug into all that runs on this thread.
    pub(crate) fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}
