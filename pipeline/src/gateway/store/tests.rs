//! The store by itself: keys, crashes, order, bounds.

use super::{Begin, Begun, Durability, End, FlowRow, Kept, Numbers, OpenError, Store, StoreConfig, Then};
use crate::gateway::contract::Endpoint;
use std::path::Path;
use std::time::Duration;
use tally_schemas::Topic;

/// Longer than anything is put off here.
const PAUSE: Duration = Duration::from_micros(100);

fn config(folder: &Path) -> StoreConfig {
    StoreConfig {
        folder: folder.to_owned(),
        durability: Durability::Process,
        outbox_events_max: 3,
        keys_kept_us: 1_000,
    }
}

fn open(folder: &Path) -> (Store, std::thread::JoinHandle<()>) {
    Store::open(&config(folder)).expect("a store")
}

/// Ends a store in good order; what a process leaves that is killed is the same file without the last checkpoint.
fn close((store, thread): (Store, std::thread::JoinHandle<()>)) {
    drop(store);
    thread.join().expect("the writing thread ends");
}

fn begin(key: &str, body: &str) -> Begin {
    let mut digest = [0; 32];
    digest[..body.len()].copy_from_slice(body.as_bytes());
    Begin {
        caller: "svc".to_owned(),
        key: key.to_owned(),
        endpoint: Endpoint::CreditsCharge,
        digest,
        body: body.as_bytes().to_vec().into(),
        trace_id: None,
        role: "SERVICE".to_owned(),
        now_us: 7,
        may_start: true,
    }
}

fn event(text: &str) -> Kept {
    Kept { contract: Topic::Credit, key: "w-1".to_owned(), value: text.as_bytes().to_vec() }
}

fn answered(id: i64, event_text: &str) -> End {
    let then = Then::Answer { status: 200, answer: b"{}".to_vec(), remember: true };
    End { id, events: vec![event(event_text)], then, now_us: 9 }
}

async fn fresh(store: &Store, key: &str, body: &str) -> i64 {
    match store.begin(begin(key, body)).await.expect("begun") {
        Begun::Fresh { id, numbers: Numbers { latest: 1, refused: 0 } } => id,
        other => panic!("{other:?}"),
    }
}

/// Scenario: a key comes, comes again while it is run, again when it is done, and with another body; another may not start.
/// Guarantees: one runs it, the second waits and gets the answer of the first, the third the same, the fourth a conflict.
#[tokio::test]
async fn one_key_is_run_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _thread) = open(folder.path());
    let id = fresh(&store, "k", "a").await;
    let second = tokio::spawn({
        let store = store.clone();
        async move { store.begin(begin("k", "a")).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(!second.is_finished(), "it waits for whoever runs it");
    store.end(answered(id, "e")).await.expect("ended");
    let done = |begun| matches!(begun, Begun::Done { status: 200, answer } if answer == b"{}");
    assert!(done(second.await.expect("no panic").expect("begun")));
    assert!(done(store.begin(begin("k", "a")).await.expect("begun")));
    assert!(matches!(store.begin(begin("k", "b")).await.expect("begun"), Begun::Conflict));
    let left = Begin { may_start: false, ..begin("new", "a") };
    assert!(matches!(
        store.begin(left.clone()).await.expect("begun"),
        Begun::Left { number: 1, maybe_done: false }
    ));
    let known = Begin { may_start: false, ..begin("k", "a") };
    assert!(done(store.begin(known).await.expect("begun")), "an answer that is known needs no start");
}

/// Scenario: whoever runs a request is dropped; another time the process dies between the begin and the end of an attempt, and
/// another time between two attempts of which the first may have been done.
/// Guarantees: each is due at once, with its attempts; a request that never reached the platform is not; it can be taken up by its key.
#[tokio::test]
async fn what_is_left_under_way_is_due() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = open(folder.path());
    let store = &opened.0;
    let dropped = fresh(store, "dropped", "a").await;
    store.release(dropped);
    let due = store.due(1, PAUSE, 10).await.expect("due");
    assert_eq!(due.iter().map(|known| known.id).collect::<Vec<_>>(), [dropped]);
    assert!(store.due(1, PAUSE, 10).await.expect("due").is_empty(), "whoever got it runs it");
    let open_attempt = fresh(store, "open", "a").await;
    let between = fresh(store, "between", "a").await;
    let then = Then::Retry { maybe_done: true };
    store.end(End { id: between, events: vec![], then, now_us: 8 }).await.expect("ended");
    let never = fresh(store, "never", "a").await;
    let then = Then::Leave { maybe_done: false, next_try_us: None };
    store.end(End { id: never, events: vec![], then, now_us: 8 }).await.expect("ended");
    close(opened);
    let (store, _thread) = open(folder.path());
    let due = store.due(1, PAUSE, 10).await.expect("due");
    let mut found: Vec<_> =
        due.iter().map(|k| (k.id, k.numbers.latest, k.open_since_us, k.maybe_done)).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [(dropped, 1, Some(7), false), (open_attempt, 1, Some(7), false), (between, 1, None, true)]
    );
    assert!(
        matches!(store.begin(begin("never", "a")).await.expect("begun"), Begun::Open(known) if known.id == never)
    );
    assert_eq!(store.again(never, 10).await.expect("again"), Numbers { latest: 2, refused: 0 });
}

/// Scenario: whoever asks goes away before it is committed that its request is theirs to run.
/// Guarantees: the request is not theirs for ever: whoever asks again under the key runs it, and it is followed up.
#[tokio::test]
async fn a_request_of_somebody_who_has_gone_is_let_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _thread) = open(folder.path());
    let mut left = 0;
    for n in 0..50 {
        let key = format!("k{n}");
        let mut asking = Box::pin(store.begin(begin(&key, "a")));
        if futures::poll!(asking.as_mut()).is_ready() {
            continue;
        }
        drop(asking); // the operation is on its way all the same
        left += 1;
        let soon = std::time::Duration::from_secs(10);
        let again = tokio::time::timeout(soon, store.begin(begin(&key, "a"))).await;
        let again = again.expect("nobody waits for somebody who has gone").expect("begun");
        if let Begun::Open(known) = again {
            store.release(known.id);
        } else {
            assert!(matches!(again, Begun::Unfinished), "{again:?}");
        }
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert!(
        left > 0 && store.due(1, PAUSE, 100).await.expect("due").len() == left,
        "what was begun is followed up"
    );
}

/// Scenario: three events, acknowledged out of their order, with a restart between; then as many as may wait.
/// Guarantees: they come in their order, those that are acknowledged do not come again, and the bound is seen.
#[tokio::test]
async fn events_wait_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = open(folder.path());
    let store = &opened.0;
    store.keep(vec![event("1"), event("2"), event("3")]).await.expect("kept");
    assert!(store.due(0, PAUSE, 1).await.expect("due").is_empty());
    assert!(store.is_full() && store.outbox_depth() == 3 && store.outbox_oldest_us().is_some());
    let seqs: Vec<i64> =
        store.take(Topic::Credit, 0, 10).await.expect("taken").iter().map(|waiting| waiting.seq).collect();
    store.acknowledged(Topic::Credit, vec![seqs[1]]).await.expect("acknowledged");
    assert_eq!(store.take(Topic::Credit, seqs[0], 1).await.expect("taken")[0].event, event("3"));
    close(opened);
    let (store, _thread) = open(folder.path());
    let values: Vec<Kept> =
        store.take(Topic::Credit, 0, 10).await.expect("taken").into_iter().map(|w| w.event).collect();
    assert_eq!(values, [event("1"), event("3")]);
    assert_eq!(store.outbox_depth(), 2);
    store.keep(vec![event("4")]).await.expect("kept");
    assert_eq!(
        store.take(Topic::Credit, 0, 10).await.expect("taken")[2].event,
        event("4"),
        "behind those of before"
    );
}

/// Scenario: three hundred calls come while a commit takes its time.
/// Guarantees: they share the next one.
#[tokio::test]
async fn calls_share_commits() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _thread) = open(folder.path());
    let slow = rusqlite::Connection::open(folder.path().join("gateway.sqlite")).expect("opened");
    slow.execute_batch("BEGIN IMMEDIATE").expect("the first commit waits for this");
    store.release(1_000); // which is that of something that nobody runs
    let waiting = || store.ops.max_capacity() - store.ops.capacity();
    while waiting() > 0 {
        tokio::task::yield_now().await; // until the writer has taken it, and takes nothing else
    }
    let calls = (0..300).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.begin(begin(&format!("k{n}"), "a")).await.expect("begun") })
    });
    let calls: Vec<_> = calls.collect();
    while waiting() < 300 {
        tokio::task::yield_now().await;
    }
    slow.execute_batch("ROLLBACK").expect("it goes on");
    for call in calls {
        assert!(matches!(call.await.expect("no panic"), Begun::Fresh { .. }));
    }
    let (operations, commits) = store.commits();
    assert!(operations == 301 && commits <= 3, "{operations} operations in {commits} commits");
}

/// Scenario: a key is old, another is not; one was left without anything to find out long ago.
/// Guarantees: what is old is forgotten, and nothing that is open.
#[tokio::test]
async fn old_keys_are_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _thread) = open(folder.path());
    let (old, new, open) =
        (fresh(&store, "old", "a").await, fresh(&store, "new", "a").await, fresh(&store, "open", "a").await);
    store.end(answered(old, "e")).await.expect("ended");
    store.end(End { now_us: 5_000, ..answered(new, "e") }).await.expect("ended");
    assert_eq!(store.sweep(2_000).await.expect("swept"), 1);
    assert!(matches!(store.begin(begin("new", "a")).await.expect("begun"), Begun::Done { .. }));
    assert!(matches!(store.begin(begin("old", "b")).await.expect("begun"), Begun::Fresh { .. }));
    store.release(open);
    assert_eq!(store.due(1, PAUSE, 10).await.expect("due").len(), 1);
}

/// Scenario: two gateways in one folder; a file of a later program; rights of what is made.
/// Guarantees: each is refused with what to do, and nobody else may read keys and bodies.
#[tokio::test]
async fn a_folder_has_one_gateway_of_its_version() {
    use std::os::unix::fs::MetadataExt;
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("store");
    let opened = open(&inside);
    assert!(matches!(Store::open(&config(&inside)), Err(OpenError::InUse(_))));
    opened.0.keep(vec![event("1")]).await.expect("kept");
    for file in std::fs::read_dir(&inside).expect("a folder") {
        let file = file.expect("a file");
        assert_eq!(file.metadata().expect("known").mode() & 0o077, 0, "{:?}", file.file_name());
    }
    close(opened);
    let later = rusqlite::Connection::open(inside.join("gateway.sqlite")).expect("opened");
    later.pragma_update(None, "user_version", 99).expect("written");
    drop(later);
    assert!(matches!(Store::open(&config(&inside)), Err(OpenError::Newer { found: 99, .. })));
}

/// Scenario: two write the next step of a flow.
/// Guarantees: one does, the other hears that it was too late, and its events are not kept.
#[tokio::test]
async fn a_flow_takes_each_step_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _thread) = open(folder.path());
    let row = |version, state: &str| FlowRow {
        id: "f-1".to_owned(),
        kind: "compute".to_owned(),
        caller: "svc".to_owned(),
        state: state.to_owned(),
        version,
        data: b"{}".to_vec(),
        due_us: Some(5),
        updated_us: 1,
        busy_us: Some(1),
        ended_us: None,
    };
    assert!(store.put_flow(row(1, "HOLDING"), vec![]).await.expect("put"));
    assert!(!store.put_flow(row(1, "OTHER"), vec![event("no")]).await.expect("put"));
    assert!(store.put_flow(row(2, "HELD"), vec![event("yes")]).await.expect("put"));
    assert!(!store.put_flow(row(2, "OTHER"), vec![event("no")]).await.expect("put"));
    assert_eq!(store.flow("f-1").await.expect("read"), Some(row(2, "HELD")));
    assert_eq!(store.take(Topic::Credit, 0, 9).await.expect("taken").len(), 1);
    assert_eq!(store.flows_due(5, PAUSE, 9).await.expect("due"), [row(2, "HELD")]);
    assert_eq!(store.flow_states().await.expect("states"), [("compute".to_owned(), "HELD".to_owned(), 1)]);
}

/// Scenario: a key is refused twice without asking the platform, then begun; the process dies; it is refused once more, taken up, and
/// refused again. Another key is refused, and forgotten.
/// Guarantees: no two of these have one number under the key, refused or made, and how many were made is known.
#[tokio::test]
async fn every_attempt_has_a_number_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = open(folder.path());
    let refused = |key: &str| Begin { may_start: false, ..begin(key, "a") };
    async fn left(store: &Store, begin: Begin) -> i64 {
        match store.begin(begin).await.expect("begun") {
            Begun::Left { number, .. } => number,
            other => panic!("{other:?}"),
        }
    }
    let store = &opened.0;
    assert_eq!((left(store, refused("k")).await, left(store, refused("k")).await), (1, 2));
    let begun = store.begin(begin("k", "a")).await.expect("begun");
    assert!(matches!(begun, Begun::Fresh { numbers: Numbers { latest: 3, refused: 2 }, .. }), "{begun:?}");
    assert_eq!(left(store, refused("other")).await, 1);
    close(opened);
    let (store, _thread) = open(folder.path());
    assert_eq!(left(&store, refused("k")).await, 4);
    let due = store.due(1, PAUSE, 10).await.expect("due");
    assert_eq!(
        (due[0].numbers.latest, due[0].open_since_us),
        (3, Some(7)),
        "that is the attempt of which nobody knows"
    );
    let numbers = store.again(due[0].id, 8).await.expect("again");
    assert_eq!((numbers, numbers.begun()), (Numbers { latest: 5, refused: 3 }, 2));
    store.release(due[0].id);
    assert_eq!(left(&store, refused("k")).await, 6);
    assert_eq!(store.sweep(2_000).await.expect("swept"), 2, "what is known of both keys' refusals");
    assert_eq!(left(&store, refused("other")).await, 1);
}

/// Scenario: a charge of which nobody knows and a flow that is under way were put off until tomorrow by a clock that has gone back
/// since; others are put off by less than the longest pause, one waits for a time, and one is left alone for good.
/// Guarantees: what no pause can have put off is due, and nothing else.
#[tokio::test]
async fn a_clock_that_goes_back_puts_nothing_off() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _thread) = open(folder.path());
    let leave = async |key: &str, next_try_us: i64| {
        let id = fresh(&store, key, "a").await;
        let then = Then::Leave { maybe_done: true, next_try_us: Some(next_try_us) };
        store.end(End { id, events: vec![], then, now_us: 8 }).await.expect("ended");
        id
    };
    let tomorrow = leave("tomorrow", 86_400_000_000).await;
    leave("soon", 150).await;
    leave("for good", i64::MAX).await;
    let due = store.due(100, PAUSE, 10).await.expect("due");
    assert_eq!(due.iter().map(|known| known.id).collect::<Vec<_>>(), [tomorrow]);
    let row = |id: &str, due_us, busy_us| FlowRow {
        id: id.to_owned(),
        kind: "compute".to_owned(),
        caller: "svc".to_owned(),
        state: "CHARGING".to_owned(),
        version: 1,
        data: b"{}".to_vec(),
        due_us: Some(due_us),
        updated_us: 1,
        busy_us,
        ended_us: None,
    };
    let tomorrow = row("tomorrow", 86_400_000_000, Some(40));
    for row in [tomorrow.clone(), row("soon", 150, Some(30)), row("asked", 86_400_000_000, None)] {
        assert!(store.put_flow(row, vec![]).await.expect("put"));
    }
    assert_eq!(store.flows_due(100, PAUSE, 10).await.expect("due"), [tomorrow]);
    assert_eq!(store.flows_oldest_us(), Some(30));
}

/// Scenario: flows begin, move, end, and are swept; some moves come too late.
/// Guarantees: the counts are those of the rows, after a restart too; what ended long enough ago is gone, and nothing else.
#[tokio::test]
async fn flows_are_counted_and_swept() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = open(folder.path());
    let row = |id: &str, version, state: &str, ended_us| FlowRow {
        id: id.to_owned(),
        kind: "compute".to_owned(),
        caller: "svc".to_owned(),
        state: state.to_owned(),
        version,
        data: b"{}".to_vec(),
        due_us: None,
        updated_us: 1,
        busy_us: None,
        ended_us,
    };
    let state = |state: &str, count| ("compute".to_owned(), state.to_owned(), count);
    let store = &opened.0;
    let put = async |store: &Store, row| store.put_flow(row, vec![]).await.expect("put");
    for id in ["a", "b", "c"] {
        assert!(put(store, row(id, 1, "HOLDING", None)).await);
    }
    assert!(put(store, row("a", 2, "SETTLED", Some(100))).await);
    assert!(put(store, row("b", 2, "SETTLED", Some(5_000))).await);
    assert!(!put(store, row("b", 2, "HELD", None)).await);
    assert!(!put(store, row("c", 1, "HELD", None)).await);
    let counted = store.flow_states().await.expect("counted");
    assert_eq!(counted, [state("HOLDING", 1), state("SETTLED", 2)]);
    close(opened);
    let (store, _thread) = open(folder.path());
    assert_eq!(store.flow_states().await.expect("counted"), counted);
    assert_eq!(store.sweep(2_000).await.expect("swept"), 1);
    assert_eq!(store.flow_states().await.expect("counted"), [state("HOLDING", 1), state("SETTLED", 1)]);
    assert_eq!(
        (store.flow("a").await.expect("read"), store.flow("c").await.expect("read").is_some()),
        (None, true)
    );
}

/// Scenario: a folder that the program of before has left, with a flow that waits, one that has ended, and a charge under way.
/// Guarantees: it is taken up with all that was in it; what had ended is swept with the others.
#[tokio::test]
async fn a_folder_of_the_version_before_is_taken_up() {
    let folder = tempfile::tempdir().expect("a folder");
    close(open(folder.path()));
    let before = rusqlite::Connection::open(folder.path().join("gateway.sqlite")).expect("opened");
    let back = "DROP INDEX flows_busy; DROP INDEX flows_ahead; DROP INDEX flows_ended; DROP TABLE refusals;
        ALTER TABLE flows DROP COLUMN busy_us; ALTER TABLE flows DROP COLUMN ended_us; ALTER TABLE requests DROP COLUMN refused;
        INSERT INTO flows VALUES ('f-1', 'compute', 'svc', 'HELD', 3, x'7b7d', NULL, 10),
                                 ('f-2', 'compute', 'svc', 'SETTLED', 9, x'7b7d', NULL, 10);
        INSERT INTO requests VALUES (4, 'svc', 'k', 'CREDITS_CHARGE', x'', x'', NULL, 'SERVICE', 2, 5, 0, NULL, NULL, 5);
        PRAGMA user_version = 1;";
    before.execute_batch(back).expect("as the version before leaves it");
    drop(before);
    let (store, _thread) = open(folder.path());
    let due = store.due(1, PAUSE, 10).await.expect("due");
    assert_eq!((due[0].id, due[0].numbers), (4, Numbers { latest: 2, refused: 0 }));
    assert_eq!(store.sweep(2_000).await.expect("swept"), 1);
    let left = store.flow_states().await.expect("counted");
    assert_eq!(left, [("compute".to_owned(), "HELD".to_owned(), 1)]);
}
