//! A ClickHouse that is killed while it is written to, as fast as it goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::kill::{Moments, seed};
use arrow_array::RecordBatch;
use tally_queries::feed::{Resume, ResumeOutcome, store_resumes};
use tally_schemas::Topic;
use tally_sinks::rows::{Gap, Origin, gaps};
use tally_sinks::{Store, StoreConfig};
use tally_tests::{ClickHouse, Tally, TempFolder, unique};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(60);
const WRITERS: i32 = 8;
const KILLS: usize = 30;

fn row(partition: i32, offset: i64) -> RecordBatch {
    let topic_id = Uuid::from_u128(7);
    let origin = Origin { contract: Topic::Task, topic: "t".to_owned(), topic_id, partition };
    gaps(&origin, &[Gap { first: offset, next: offset + 1, expired: false }]).expect("a row")
}

/// Writes rows one by one, each again under its token until it is acknowledged; returns how many were.
async fn write(store: &Store, partition: i32, is_over: &AtomicBool) -> i64 {
    let mut offset = 0;
    while !is_over.load(Ordering::Relaxed) {
        let row = row(partition, offset);
        let token = format!("{partition}/{offset}");
        while store.insert("gaps", &token, std::slice::from_ref(&row)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        offset += 1;
    }
    offset
}

fn opened(server: &ClickHouse) -> (Store, String) {
    let name = unique("killed").replace('-', "_");
    Tally::spawn(&["migrate", "--clickhouse", server.url(), "--database", &name], &[]).expect_success(SOON);
    let config =
        StoreConfig { url: server.url().to_owned(), database: name.clone(), ..StoreConfig::default() };
    (Store::new(&config).expect("a pool"), name)
}

/// Scenario: rows are inserted twice, those of the route under one token and others beside it, without merges.
/// Guarantees: ClickHouse writes them twice: it is not asked to remember tokens, which it may do although the rows are lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_written_again() {
    let server = ClickHouse::shared();
    let (store, name) = opened(server);
    let resume = Resume {
        subject: "somebody".to_owned(),
        session: Uuid::from_u128(7),
        accepted_ms: 1_741_000_000_000,
        recovered_ms: None,
        outcome: ResumeOutcome::First,
    };
    for table in ["gaps", "feed_resumes"] {
        server.query(&format!("SYSTEM STOP MERGES {name}.{table}"));
    }
    for _ in 0..2 {
        store.insert("gaps", "token", &[row(0, 0)]).await.expect("inserted");
        store_resumes(store.client(), std::slice::from_ref(&resume)).await.expect("inserted");
    }
    for table in ["gaps", "feed_resumes"] {
        assert_eq!(server.query(&format!("SELECT count() FROM {name}.{table}")).trim(), "2", "{table}");
        assert_eq!(server.query(&format!("SELECT count() FROM {name}.{table} FINAL")).trim(), "1", "{table}");
    }
    server.query(&format!("DROP DATABASE {name}"));
}

/// Scenario: eight writers insert rows as fast as they are acknowledged; the engine is killed and started again, again and again; what was
/// not acknowledged is inserted once more under the same token, as lanes do.
/// Guarantees: every row that was acknowledged is there. (ClickHouse without replicas writes a token down before the rows that it stands for:
/// under the same token a repeat was acknowledged for rows that were never written.)
#[test]
fn what_was_acknowledged_is_there_after_kills() {
    let seed = seed();
    let folder = TempFolder::new("store-killed");
    let server = ClickHouse::start(folder.path());
    let (store, name) = opened(&server);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let (runtime, is_over) = (runtime.expect("a runtime"), AtomicBool::new(false));
    let acknowledged: i64 = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|partition| {
                let (store, is_over, runtime) = (&store, &is_over, &runtime);
                scope.spawn(move || runtime.block_on(write(store, partition, is_over)))
            })
            .collect();
        let mut moments = Moments(seed);
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(150 + moments.below(500)));
            server.kill();
            server.restart();
        }
        is_over.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("a writer")).sum()
    });
    let there = server.query(&format!("SELECT uniqExact(partition, first) FROM {name}.gaps"));
    assert!(acknowledged > 1_000, "{acknowledged} rows are no load");
    assert_eq!(there.trim(), acknowledged.to_string(), "acknowledged and stored; TALLY_TEST_SEED={seed}");
}
