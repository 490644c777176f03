//! One test's own stretch of the world: four topics, a group, a database, and `tally` pointed at them.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;
use tally_schemas::Topic;

use crate::clickhouse::{ClickHouse, Database};
use crate::kafka::Kafka;
use crate::place::{TempFolder, unique};
use crate::tally::Tally;
use crate::wait::eventually;

/// A whole run of `tally ingest --until-caught-up`, on a machine that builds at the same time.
const CATCH_UP: Duration = Duration::from_secs(150);
/// Until a running `tally ingest` listens, or answers.
const ANSWER: Duration = Duration::from_secs(30);

/// Partitions of every topic.
pub const PARTITIONS: i32 = 3;

/// Topics, group and database of one test, with the names that only it uses.
#[derive(Debug)]
pub struct Stage<'a> {
    /// The Kafka it stands on.
    pub kafka: &'a Kafka,
    /// Its database.
    pub database: Database<'a>,
    prefix: String,
    brokers: String,
    store: String,
}

/// One line of `tally ingest --until-caught-up --json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// The Kafka topic.
    pub topic: String,
    /// Offsets between the watermarks.
    pub published: u64,
    /// Accepted records.
    pub accepted: u64,
    /// Dead letters.
    pub dead: u64,
    /// Accepted records whose event was accepted before.
    pub duplicates: u64,
    /// One id, several contents.
    pub conflicts: u64,
    /// Offsets without disposition, dispositions without row.
    pub missing: u64,
    /// Rows without disposition.
    pub extra: u64,
    /// Offsets with a fact and a dead letter.
    pub both: u64,
}

impl Stage<'static> {
    /// On the shared servers; topics of three partitions each.
    pub fn shared(name: &str) -> Stage<'static> {
        Stage::on(Kafka::shared(), ClickHouse::shared(), name)
    }
}

impl<'a> Stage<'a> {
    /// On these servers.
    pub fn on(kafka: &'a Kafka, clickhouse: &'a ClickHouse, name: &str) -> Stage<'a> {
        Stage::configured(kafka, clickhouse, name, &[])
    }

    /// On these servers, with topics of that configuration, such as `("retention.ms", "-1")`.
    pub fn configured(
        kafka: &'a Kafka,
        clickhouse: &'a ClickHouse,
        name: &str,
        config: &[(&str, &str)],
    ) -> Stage<'a> {
        let prefix = format!("{}.", unique(name));
        let (database, brokers) = (clickhouse.database(), kafka.bootstrap().to_owned());
        let store = database.url().to_owned();
        let stage = Stage { kafka, database, prefix, brokers, store };
        for contract in Topic::ALL {
            kafka.create_topic(&stage.topic(contract), PARTITIONS, config);
        }
        stage
    }

    /// Points `tally` at other addresses of the same servers: `host:port` of Kafka, and ClickHouse's address.
    pub fn through(self, brokers: &str, store: &str) -> Stage<'a> {
        Stage { brokers: brokers.to_owned(), store: store.to_owned(), ..self }
    }

    /// What stands before the names of its topics.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The Kafka topic of a contract.
    pub fn topic(&self, contract: Topic) -> String {
        format!("{}{}", self.prefix, contract.name())
    }

    /// The identity of that topic, as another client sees it.
    pub fn topic_id(&self, contract: Topic) -> String {
        self.kafka.topic_id(&self.topic(contract))
    }

    /// `--brokers` and `--topic-prefix`.
    pub fn at_kafka(&self) -> [&str; 4] {
        ["--brokers", &self.brokers, "--topic-prefix", &self.prefix]
    }

    /// `--clickhouse` and `--database`.
    pub fn at_clickhouse(&self) -> [&str; 4] {
        ["--clickhouse", &self.store, "--database", self.database.name()]
    }

    /// Starts a command on this stage's topics and database.
    pub fn tally(&self, command: &[&str], more: &[&str]) -> Tally {
        let arguments = [command, &self.at_kafka(), &self.at_clickhouse(), more].concat();
        Tally::spawn(&arguments, &[])
    }

    /// Starts `tally simulate`, which knows nothing of ClickHouse.
    pub fn simulate(&self, what: &[&str]) -> Tally {
        Tally::spawn(&[&["simulate"], &self.at_kafka()[..], what].concat(), &[])
    }

    /// Starts a command that needs the database alone.
    pub fn tally_at_clickhouse(&self, command: &[&str]) -> Tally {
        Tally::spawn(&[command, &self.at_clickhouse()].concat(), &[])
    }

    /// Starts `tally ingest` as a service, in the stage's group.
    pub fn ingest(&self, more: &[&str]) -> Tally {
        let group = ["--group", self.prefix.as_str(), "--listen", "127.0.0.1:0"];
        self.tally(&["ingest"], &[&group, more].concat())
    }

    /// Runs `tally ingest --until-caught-up` and expects the balance to hold.
    ///
    /// # Panics
    /// When it does not, or does not come within some minutes.
    pub fn catch_up(&self, more: &[&str]) -> Vec<Line> {
        self.catch_up_as(&self.prefix, more)
    }

    /// The same, as a group of that name.
    ///
    /// # Panics
    /// As above.
    pub fn catch_up_as(&self, group: &str, more: &[&str]) -> Vec<Line> {
        let until = ["--group", group, "--listen", "127.0.0.1:0", "--until-caught-up", "--json"];
        let mut tally = self.tally(&["ingest"], &[&until, more].concat());
        let ended = tally.expect_success(CATCH_UP);
        let balance: Value = serde_json::from_str(&ended.stdout)
            .unwrap_or_else(|error| panic!("{error} in the balance {}", ended.stdout));
        assert_eq!(balance["verdict"], "PASS", "{balance:#}");
        let lines = serde_json::from_value(balance["topics"].clone());
        let lines: Vec<Line> = lines.unwrap_or_else(|error| panic!("{error} in {balance:#}"));
        for line in &lines {
            let wrong = line.missing + line.extra + line.both;
            assert_eq!(wrong, 0, "{line:?}");
        }
        lines
    }

    /// Waits until the ledger, receipts and gaps together, covers so many offsets of this database.
    ///
    /// # Panics
    /// After `timeout`.
    pub fn wait_for_receipts(&self, receipts: u64, timeout: Duration) {
        eventually(timeout, &format!("{receipts} receipts"), || (self.receipts() >= receipts).then_some(()));
    }

    /// Receipts so far; 0 while there is no table.
    pub fn receipts(&self) -> u64 {
        let counted = self.database.try_query("SELECT uniqExact(topic_id, partition, offset) FROM audit_log");
        counted.ok().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Records of a contract that Kafka has, by the high watermarks of its partitions.
    pub fn published(&self, contract: Topic) -> u64 {
        let topic = self.topic(contract);
        (0..PARTITIONS).map(|number| self.kafka.watermarks(&topic, number).1.unsigned_abs()).sum()
    }

    /// Dead letters by reason, for the message of a failure.
    pub fn reasons(&self) -> String {
        let sql = "SELECT reason, path, any(sentence), count() FROM dead_letters_final GROUP BY ALL ORDER BY 4 DESC";
        self.database.try_query(sql).unwrap_or_else(|refused| refused.to_string())
    }

    /// One number.
    ///
    /// # Panics
    /// When the answer is not one.
    pub fn number(&self, sql: &str) -> i64 {
        let answer = self.database.query(sql);
        answer.trim().parse().unwrap_or_else(|_| panic!("{sql} answered {answer}"))
    }
}

/// The line of a contract in a balance.
///
/// # Panics
/// When there is none.
pub fn line(balance: &[Line], contract: Topic) -> &Line {
    let found = balance.iter().find(|line| line.topic.ends_with(contract.name()));
    found.unwrap_or_else(|| panic!("no line for {contract} in {balance:?}"))
}

/// `http://host:port` of the pages of a running `tally ingest`.
///
/// # Panics
/// When it ends instead of listening.
pub fn pages(ingest: &mut Tally) -> String {
    eventually(ANSWER, "the address that tally ingest logs", || {
        assert!(ingest.is_running(), "tally ingest ended\n{}", ingest.log_tail());
        let log = ingest.stderr();
        let (_, rest) = log.split_once("metrics are served")?;
        let (line, _) = rest.split_once('\n')?;
        let (_, address) = line.split_once("address=")?;
        Some(format!("http://{}", address.split_whitespace().next()?))
    })
}

/// Seals a database into a log of its own, and verifies all of it against that, and against the bytes that `kafka` has where it is named;
/// how long each took. `store`: where it is.
///
/// # Panics
/// When either ends in another way than well.
pub fn seal_and_verify(store: &[&str], kafka: &[&str], timeout: Duration) -> [Duration; 2] {
    let folder = TempFolder::new("proof");
    let path = |name: &str| folder.path().join(name).to_str().expect("paths in tests are text").to_owned();
    let (log, key, public) = (path("log"), path("key"), path("key.pub"));
    Tally::spawn(&["seal", "keygen", "--out", &key], &[]).expect_success(timeout);
    let took = |command: &[&str]| {
        let begun = Instant::now();
        Tally::spawn(&[command, store].concat(), &[]).expect_success(timeout);
        begun.elapsed()
    };
    let against: &[&str] = if kafka.is_empty() { &[] } else { &["--against-kafka"] };
    let verify = [&["verify", "--seals", &log, "--keys", &public], against, kafka].concat();
    [took(&["seal", "--seals", &log, "--key", &key]), took(&verify)]
}

/// Status and body of a page, whatever the status.
///
/// # Panics
/// When nobody answers.
pub fn get(url: &str) -> (u16, String) {
    let request =
        ureq::get(url).config().timeout_global(Some(ANSWER)).http_status_as_error(false).proxy(None);
    let mut response = request.build().call().unwrap_or_else(|error| panic!("{url}: {error}"));
    let status = response.status().as_u16();
    let body = response.body_mut().read_to_string().unwrap_or_else(|error| panic!("{url}: {error}"));
    (status, body)
}
