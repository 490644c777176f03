//! Three brokers that are one cluster: whoever is killed, the others lead on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::kafka::broker::{Broker, Role, attempts};
use crate::kafka::{Kafka, Kind, admin};
use crate::place::free_port;
use crate::wait::eventually;

const BROKERS: usize = 3;
/// For replicas to be in step again after a start.
const WHOLE: Duration = Duration::from_secs(90);

/// A cluster in which every broker is a controller too, and every partition has a replica on each; what is acknowledged is on two.
#[derive(Debug)]
pub struct KafkaCluster {
    /// All of it, for topics and clients.
    pub kafka: Kafka,
    brokers: Vec<Mutex<Broker>>,
}

/// One of them.
struct Member {
    id: usize,
    cluster: String,
    voters: String,
}

impl KafkaCluster {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start; with the end of a broker's log.
    pub fn start() -> KafkaCluster {
        let brokers = attempts(|| {
            let ports: Vec<(u16, u16)> = (0..BROKERS).map(|_| (free_port(), free_port())).collect();
            let voters = ports.iter().zip(1..).map(|((_, port), id)| format!("{id}@127.0.0.1:{port}"));
            let voters = voters.collect::<Vec<_>>().join(",");
            let cluster = format!("tallytest{:05}clusterA", ports[0].0);
            let start = |(ports, id)| {
                Broker::spawned(ports, Some(&Member { id, cluster: cluster.clone(), voters: voters.clone() }))
            };
            let mut brokers: Vec<Broker> = ports.iter().copied().zip(1..).map(start).collect();
            brokers.iter_mut().try_for_each(Broker::wait_until_ready).map(|()| brokers)
        });
        let bootstrap = brokers.iter().map(Broker::bootstrap).collect::<Vec<_>>().join(",");
        let cluster = KafkaCluster {
            kafka: Kafka { bootstrap, kind: Kind::Yours },
            brokers: brokers.into_iter().map(Mutex::new).collect(),
        };
        cluster.wait_until_whole();
        cluster
    }

    /// Waits until every broker is there and every replica in step.
    ///
    /// # Panics
    /// When that takes more than a minute and a half.
    pub fn wait_until_whole(&self) {
        eventually(WHOLE, "every replica in step", || {
            admin::is_whole(self.kafka.bootstrap(), BROKERS).then_some(())
        });
    }

    /// The broker that leads a partition, once there is one: 1 to 3.
    ///
    /// # Panics
    /// When there is none for long.
    pub fn leader(&self, topic: &str, partition: i32) -> usize {
        let id = eventually(WHOLE, "a leader", || admin::leader(self.kafka.bootstrap(), topic, partition));
        usize::try_from(id).expect("brokers have numbers from 1 on")
    }

    /// `SIGKILL` for one broker: the others lead on once its session is over.
    pub fn kill(&self, id: usize) {
        self.broker(id).kill();
    }

    /// Stops one broker in its orderly way: it hands its partitions over first.
    pub fn stop(&self, id: usize) {
        self.broker(id).stop();
    }

    /// Starts a broker again on the same data and ports.
    pub fn restart(&self, id: usize) {
        self.broker(id).restart();
    }

    fn broker(&self, id: usize) -> MutexGuard<'_, Broker> {
        self.brokers[id - 1].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Role for Member {
    fn properties(&self, _: u16, _: u16) -> String {
        let Member { id, voters, .. } = self;
        format!(
            "node.id={id}
controller.quorum.voters={voters}
default.replication.factor={BROKERS}
min.insync.replicas=2
offsets.topic.replication.factor={BROKERS}
transaction.state.log.replication.factor={BROKERS}
transaction.state.log.min.isr=2
share.coordinator.state.topic.replication.factor={BROKERS}
leader.imbalance.check.interval.seconds=2
"
        )
    }

    fn cluster(&self) -> Option<String> {
        Some(self.cluster.clone())
    }
}
