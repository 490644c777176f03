//! Crash points: named moments of the route at which a test has the process end or stand still. Only with the feature
//! `faults`, which nothing but `make faults` and the tests' own binary turn on; otherwise every call here is empty.
//!
//! `TALLY_FAULT=point:n` ends the process at the nth pass of that point, at once: nothing is flushed, nobody is told.
//! `TALLY_FAULT=point:n:freeze` stops it there as `SIGSTOP` does, so that it wakes when others have its partitions.

/// A moment of the route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Records came from Kafka.
    Polled,
    /// A block is judged.
    Judged,
    /// Facts are about to be inserted.
    BeforeFacts,
    /// Some of an insert's bytes are sent.
    WithinInsert,
    /// All of an insert's bytes are sent, its answer is not there.
    InsertSent,
    /// An insert was acknowledged.
    Inserted,
    /// Dead letters are sent, their acknowledgements are not there.
    LettersSent,
    /// Dead letters were acknowledged.
    LettersAcknowledged,
    /// Receipts are about to be inserted.
    BeforeReceipts,
    /// A block is attested and not committed.
    Attested,
    /// A block's commit is handed to the client.
    Committed,
    /// Partitions are being given back, their blocks may be unfinished.
    Revoked,
}

impl Point {
    /// All points, in the order in which a block meets them.
    pub const ALL: [Point; 12] = [
        Point::Polled,
        Point::Judged,
        Point::BeforeFacts,
        Point::WithinInsert,
        Point::InsertSent,
        Point::Inserted,
        Point::LettersSent,
        Point::LettersAcknowledged,
        Point::BeforeReceipts,
        Point::Attested,
        Point::Committed,
        Point::Revoked,
    ];

    /// The name in `TALLY_FAULT`.
    pub const fn name(self) -> &'static str {
        match self {
            Point::Polled => "polled",
            Point::Judged => "judged",
            Point::BeforeFacts => "before-facts",
            Point::WithinInsert => "within-insert",
            Point::InsertSent => "insert-sent",
            Point::Inserted => "inserted",
            Point::LettersSent => "letters-sent",
            Point::LettersAcknowledged => "letters-acknowledged",
            Point::BeforeReceipts => "before-receipts",
            Point::Attested => "attested",
            Point::Committed => "committed",
            Point::Revoked => "revoked",
        }
    }
}

#[cfg(not(feature = "faults"))]
mod absent {
    use super::Point;

    /// Passes a point.
    pub const fn pass(_: Point) {}

    /// Passes a point once something is under way and not done.
    pub async fn during<T>(_: Point, something: impl Future<Output = T>) -> T {
        something.await
    }
}

#[cfg(not(feature = "faults"))]
pub use absent::{during, pass};

#[cfg(feature = "faults")]
mod present {
    use super::Point;
    use std::pin::pin;
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Poll;
    use std::time::Duration;

    /// What is under way gets so long to leave the process: the producer's linger is 5 ms.
    const UNDER_WAY: Duration = Duration::from_millis(25);

    struct Plan {
        point: String,
        nth: u64,
        freezes: bool,
    }

    static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| {
        let text = std::env::var("TALLY_FAULT").ok()?;
        let mut parts = text.split(':');
        let (point, nth) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        Some(Plan { point, nth, freezes: parts.next() == Some("freeze") })
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    fn is_due(point: Point) -> bool {
        let planned = PLAN.as_ref().filter(|plan| plan.point == point.name());
        planned.is_some_and(|plan| PASSED.fetch_add(1, Ordering::Relaxed) + 1 == plan.nth)
    }

    fn act() {
        if PLAN.as_ref().is_some_and(|plan| plan.freezes) {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP); // to itself
        } else {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL); // to itself
        }
    }

    /// Passes a point.
    pub fn pass(point: Point) {
        if is_due(point) {
            act();
        }
    }

    /// Passes a point once something is under way and not done.
    pub async fn during<T>(point: Point, something: impl Future<Output = T>) -> T {
        let mut something = pin!(something);
        if is_due(point) {
            let first = std::future::poll_fn(|context| Poll::Ready(something.as_mut().poll(context))).await;
            tokio::task::block_in_place(|| std::thread::sleep(UNDER_WAY)); // another thread takes what that poll woke
            act();
            if let Poll::Ready(done) = first {
                return done;
            }
        }
        something.await
    }
}

#[cfg(feature = "faults")]
pub use present::{during, pass};
