//! What makes an insert's acknowledgement mean that its rows are stored, for what is written beside the route.

use clickhouse::insert::Insert;
use uuid::Uuid;

/// The insert, whose end then means that one server has its rows: it is not queued, and not remembered. A repeat is written again, and the
/// tables' keys know it: without replicas ClickHouse remembers an insert before its rows are there, and after a kill in between
/// acknowledges a repeat of rows that were never written.
pub(crate) fn written<T>(insert: Insert<T>) -> Insert<T> {
    let token = Uuid::now_v7().to_string(); // not `insert_deduplicate = 0`, which `deduplicate_insert` of an engine outweighs
    insert.with_setting("async_insert", "0").with_setting("insert_deduplication_token", token)
}

/// The insert, whose end then means that its rows are stored: as in the inserts of the route on their shard, and on a majority of its
/// replicas. Without a cluster that is the same.
pub(crate) fn acknowledged<T>(insert: Insert<T>) -> Insert<T> {
    written(insert).with_setting("distributed_foreground_insert", "1").with_setting("insert_quorum", "auto")
}

#[cfg(test)]
mod tests {
    use super::acknowledged;
    use clickhouse::{Client, Row};
    use serde::Serialize;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[derive(Row, Serialize)]
    struct Line {
        number: u32,
    }

    /// Takes one request and says that all is well; gives its first line.
    async fn first_line(listener: TcpListener) -> String {
        let (mut asker, _) = listener.accept().await.expect("somebody asks");
        let mut request = Vec::new();
        while !request.ends_with(b"0\r\n\r\n") {
            assert!(asker.read_buf(&mut request).await.expect("bytes") > 0, "it ends with an empty chunk");
        }
        asker.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("an answer");
        String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned()
    }

    /// Scenario: one row is inserted; then the sources of everything that writes results, verifications, replays, seals and revocations.
    /// Guarantees: the store is told to acknowledge what is stored alone, and each of those inserts tells it so: "a row is there before
    /// anything is published" holds on a cluster.
    #[tokio::test]
    async fn what_is_acknowledged_is_stored() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = tokio::spawn(first_line(listener));
        let client = Client::default().with_url(url).with_validation(false);
        let mut insert = acknowledged(client.insert::<Line>("lines").await.expect("an insert"));
        insert.write(&Line { number: 7 }).await.expect("written");
        insert.end().await.expect("stored");
        let line = asked.await.expect("a line");
        for setting in [
            "async_insert=0",
            "distributed_foreground_insert=1",
            "insert_quorum=auto",
            "insert_deduplication_token=",
        ] {
            assert!(line.contains(setting), "{setting}: {line}");
        }
        for source in [
            include_str!("audit/history.rs"),
            include_str!("replays.rs"),
            include_str!("revocations.rs"),
            include_str!("seal/history.rs"),
            include_str!("verifications.rs"),
        ] {
            let inserts = source.matches("client.insert::<").count();
            assert_eq!((inserts, source.matches("acknowledged(client.insert::<").count()), (1, 1));
        }
    }
}
