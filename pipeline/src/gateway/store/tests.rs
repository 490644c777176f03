//! The store by itself: keys, crashes, order, bounds.

use super::{Begin, Begun, Durability, End, FlowRow, Kept, OpenError, Store, StoreConfig, Then};
use crate::gateway::contract::Endpoint;
use std::path::Path;
use tally_schemas::Topic;

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
        Begun::Fresh(id) => id,
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
    assert!(matches!(store.begin(left.clone()).await.expect("begun"), Begun::Left));
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
    let due = store.due(1, 10).await.expect("due");
    assert_eq!(due.iter().map(|known| known.id).collect::<Vec<_>>(), [dropped]);
    assert!(store.due(1, 10).await.expect("due").is_empty(), "whoever got it runs it");
    let open_attempt = fresh(store, "open", "a").await;
    let between = fresh(store, "between", "a").await;
    let then = Then::Retry { maybe_done: true };
    store.end(End { id: between, events: vec![], then, now_us: 8 }).await.expect("ended");
    let never = fresh(store, "never", "a").await;
    let then = Then::Leave { maybe_done: false, next_try_us: None };
    store.end(End { id: never, events: vec![], then, now_us: 8 }).await.expect("ended");
    close(opened);
    let (store, _thread) = open(folder.path());
    let due = store.due(1, 10).await.expect("due");
    let mut found: Vec<_> = due.iter().map(|k| (k.id, k.attempts, k.open_since_us, k.maybe_done)).collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [(dropped, 1, Some(7), false), (open_attempt, 1, Some(7), false), (between, 1, None, true)]
    );
    assert!(
        matches!(store.begin(begin("never", "a")).await.expect("begun"), Begun::Open(known) if known.id == never)
    );
    assert_eq!(store.again(never, 10).await.expect("again"), 2);
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
    assert!(left > 0 && store.due(1, 100).await.expect("due").len() == left, "what was begun is followed up");
}

/// Scenario: three events, acknowledged out of their order, with a restart between; then as many as may wait.
/// Guarantees: they come in their order, those that are acknowledged do not come again, and the bound is seen.
#[tokio::test]
async fn events_wait_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let opened = open(folder.path());
    let store = &opened.0;
    store.keep(vec![event("1"), event("2"), event("3")]).await.expect("kept");
    assert!(store.due(0, 1).await.expect("due").is_empty());
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
    let calls = (0..300).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.begin(begin(&format!("k{n}"), "a")).await.expect("begun") })
    });
    let calls: Vec<_> = calls.collect();
    while store.ops.capacity() > store.ops.max_capacity() - 200 {
        tokio::task::yield_now().await; // the first hundred at most may have been taken
    }
    tokio::task::yield_now().await;
    slow.execute_batch("ROLLBACK").expect("it goes on");
    for call in calls {
        assert!(matches!(call.await.expect("no panic"), Begun::Fresh(_)));
    }
    let (operations, commits) = store.commits();
    assert!(operations == 300 && commits <= 3, "{operations} operations in {commits} commits");
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
    assert!(matches!(store.begin(begin("old", "b")).await.expect("begun"), Begun::Fresh(_)));
    store.release(open);
    assert_eq!(store.due(1, 10).await.expect("due").len(), 1);
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
    };
    assert!(store.put_flow(row(1, "HOLDING"), vec![]).await.expect("put"));
    assert!(!store.put_flow(row(1, "OTHER"), vec![event("no")]).await.expect("put"));
    assert!(store.put_flow(row(2, "HELD"), vec![event("yes")]).await.expect("put"));
    assert!(!store.put_flow(row(2, "OTHER"), vec![event("no")]).await.expect("put"));
    assert_eq!(store.flow("f-1").await.expect("read"), Some(row(2, "HELD")));
    assert_eq!(store.take(Topic::Credit, 0, 9).await.expect("taken").len(), 1);
    assert_eq!(store.flows_due(5, 9).await.expect("due"), [row(2, "HELD")]);
    assert_eq!(store.flow_states().await.expect("states"), [("compute".to_owned(), "HELD".to_owned(), 1)]);
}
