//! Kafka: a real broker, the in-process one, or servers of your own, behind one handle.

mod admin;
mod broker;
mod cluster;
mod in_process;
mod proxied;
mod secured;

use std::env;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::need::{self, Missing};
use crate::python;
use broker::Broker;
pub use cluster::KafkaCluster;
use in_process::InProcess;
pub use proxied::ProxiedKafka;
pub use secured::Secured;

/// A Kafka that the tests may use. Dropped, a broker that was started for it is killed.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Broker(Box<Mutex<Broker>>),
    InProcess(InProcess),
    /// Brokers that somebody else harms, or nobody.
    Yours,
}

impl Kafka {
    /// Whether a real broker of the tests' own can be started; for [`crate::skip_without`] in
    /// tests that kill or restart one.
    pub fn installed() -> Result<(), Missing> {
        need::installed("kafka")
    }

    /// Whether [`Kafka::shared`] is real: servers of yours, or a broker that can be started.
    /// What the in-process one lacks: topic ids, deletion, configuration, retention, ACLs.
    pub fn real() -> Result<(), Missing> {
        if yours().is_some() { Ok(()) } else { Kafka::installed() }
    }

    /// The one Kafka that all tests of the binary share: at `KAFKA_BROKERS`, or a broker started
    /// now, or, where none can be had, the in-process one. Use [`crate::unique`] topic names.
    pub fn shared() -> &'static Kafka {
        static SHARED: LazyLock<Kafka> = LazyLock::new(|| match yours() {
            Some(bootstrap) => Kafka { bootstrap, kind: Kind::Yours },
            None => Kafka::start(),
        });
        &SHARED
    }

    /// A Kafka of the test's own: 2–3 s for a real one, so only for tests that harm it.
    ///
    /// # Panics
    /// When it does not start; with the end of its log.
    pub fn start() -> Kafka {
        if Kafka::installed().is_err() {
            let in_process = InProcess::start();
            return Kafka { bootstrap: in_process.bootstrap().to_owned(), kind: Kind::InProcess(in_process) };
        }
        Kafka::of(Broker::start())
    }

    /// The in-process broker, for tests that want its error injection or none of Java's weight.
    pub fn in_process() -> Kafka {
        let in_process = InProcess::start();
        Kafka { bootstrap: in_process.bootstrap().to_owned(), kind: Kind::InProcess(in_process) }
    }

    /// `host:port`, for `bootstrap.servers`. The same after a restart.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Creates a topic with as many replicas as the brokers have by default, and waits until each partition has a leader.
    /// `config` is pairs such as `("retention.ms", "1000")`; the in-process broker ignores it.
    ///
    /// # Panics
    /// When it exists already, or the broker refuses it.
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        match &self.kind {
            Kind::InProcess(in_process) => in_process.create_topic(name, partitions),
            Kind::Broker(_) | Kind::Yours => admin::create_topic(&self.bootstrap, name, partitions, config),
        }
        admin::wait_for_leaders(&self.bootstrap, name, partitions);
    }

    /// Deletes a topic and waits until the broker no longer names it, so that it can be created
    /// again under the same name.
    ///
    /// # Panics
    /// On the in-process broker, which cannot delete; and when the broker refuses.
    pub fn delete_topic(&self, name: &str) {
        self.delete_topics(&[name]);
    }

    /// The same of several at once.
    ///
    /// # Panics
    /// As above.
    pub fn delete_topics(&self, names: &[&str]) {
        assert!(
            !matches!(self.kind, Kind::InProcess(_)),
            "the in-process broker deletes no topics: skip_without(Kafka::real())"
        );
        admin::delete_topics(&self.bootstrap, names);
    }

    /// Topics whose names begin like that.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub fn topics(&self, prefix: &str) -> Vec<String> {
        admin::topics(&self.bootstrap, prefix)
    }

    /// Deletes all records of the partition below `offset`, as retention would.
    ///
    /// # Panics
    /// When the broker refuses, as the in-process one does.
    pub fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        admin::delete_records_before(&self.bootstrap, topic, partition, offset);
    }

    /// The topic's id (Kafka's topic UUID, written as UUIDs are), as another client sees it.
    ///
    /// # Panics
    /// When the topic is not there, or the broker gives topics no id.
    pub fn topic_id(&self, name: &str) -> String {
        python::run("topic_id.py", &[&self.bootstrap, name], "").stdout.trim().to_owned()
    }

    /// Low and high watermark of a partition: the first retained offset and the next one.
    ///
    /// # Panics
    /// When the broker does not answer.
    pub fn watermarks(&self, topic: &str, partition: i32) -> (i64, i64) {
        admin::watermarks(&self.bootstrap, topic, partition)
    }

    /// Stops the broker in its orderly way (`SIGTERM`) and waits for its end.
    ///
    /// # Panics
    /// When it is not a broker that was started for this test; as do the next six.
    pub fn stop(&self) {
        self.broker().stop();
    }

    /// `SIGKILL`: the broker has no chance to flush or to say goodbye.
    pub fn kill(&self) {
        self.broker().kill();
    }

    /// Starts it again on the same data and port, after [`Kafka::stop`], [`Kafka::kill`] or
    /// running (then it is stopped first).
    pub fn restart(&self) {
        self.broker().restart();
    }

    /// After [`Kafka::kill`]: its disk has lost a partition's records from the batch on that holds `offset`, as one that
    /// acknowledged what it never wrote. Returns where the log ends now.
    pub fn lose_from(&self, topic: &str, partition: i32, offset: i64) -> i64 {
        self.broker().lose_from(topic, partition, offset)
    }

    /// `SIGSTOP`: connections stay open and nothing answers, as behind a broken network.
    pub fn pause(&self) {
        self.broker().pause();
    }

    /// After [`Kafka::pause`].
    pub fn resume(&self) {
        self.broker().resume();
    }

    /// The end of the broker's log, for the message of a failure.
    pub fn log_tail(&self) -> String {
        self.broker().log_tail()
    }

    fn of(broker: Broker) -> Kafka {
        Kafka { bootstrap: broker.bootstrap(), kind: Kind::Broker(Box::new(Mutex::new(broker))) }
    }

    fn broker(&self) -> MutexGuard<'_, Broker> {
        match &self.kind {
            Kind::Broker(broker) => broker.lock().unwrap_or_else(PoisonError::into_inner),
            Kind::InProcess(_) => {
                panic!("the in-process broker cannot be harmed: skip_without(Kafka::installed())")
            }
            Kind::Yours => panic!("these servers are not harmed here: use Kafka::start()"),
        }
    }
}

/// `KAFKA_BROKERS`, unless empty.
fn yours() -> Option<String> {
    env::var("KAFKA_BROKERS").ok().filter(|brokers| !brokers.is_empty())
}
