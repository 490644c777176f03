//! A cluster of three brokers, whose leaders move while everything goes on.
#![expect(clippy::print_stdout, reason = "the course of a failed run must be seen")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tally_schemas::Topic;
use tally_tests::account::{Published, compare, read};
use tally_tests::{ClickHouse, Kafka, KafkaCluster, Stage, Tally, TempFolder, skip_without};

/// Events of one publication.
const EVENTS: u64 = 4_000;
const ROUNDS: usize = 4;
/// For what was published to be taken, on two cores with three brokers.
const TAKEN: Duration = Duration::from_secs(120);
/// Small blocks, so that many are under way; a session that is soon over, so that the group misses a dead instance.
const EAGER: [&str; 8] = [
    "--block-rows-max",
    "500",
    "--linger-ms",
    "50",
    "--kafka-property",
    "session.timeout.ms=6000",
    "--kafka-property",
    "heartbeat.interval.ms=1000",
];

/// Who publishes, and where it writes down what was acknowledged.
struct Publications<'a> {
    stage: &'a Stage<'a>,
    folder: TempFolder,
    running: Vec<(Tally, PathBuf)>,
}

impl Publications<'_> {
    fn begin(&mut self) {
        let number = self.running.len();
        let path = self.folder.path().join(format!("record-{number}"));
        let (events, seed) = (EVENTS.to_string(), number.to_string());
        let file = path.to_str().expect("paths are text");
        let what = ["--events", &events, "--seed", &seed, "--invalid-permille", "20", "--record", file];
        self.running.push((self.stage.simulate(&what), path));
    }

    fn wait_until_taken(&self) {
        self.stage.wait_for_receipts(self.running.len() as u64 * EVENTS, TAKEN);
    }

    fn end(&mut self) -> Vec<Published> {
        self.running.iter_mut().for_each(|(publisher, _)| drop(publisher.expect_success(TAKEN)));
        self.running.iter().flat_map(|(_, path)| read(path)).collect()
    }
}

/// Scenario: topics with three replicas; events are published and taken by two instances, while the broker that leads one of the
/// partitions is killed or stopped in turn, an instance dies with it, and leaders move back once the broker is there again. At the
/// end a one-off run takes the rest with one broker away.
/// Guarantees: what is published is taken while a broker is away; held against what Kafka acknowledged, id by id, nothing is missing,
/// doubled or both; no offset was written down as expired.
#[test]
fn leaders_move_and_nothing_is_passed_over() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let cluster = KafkaCluster::start();
    let stage = Stage::on(&cluster.kafka, ClickHouse::shared(), "cluster");
    let tasks = stage.topic(Topic::Task);
    let mut instances = [stage.ingest(&EAGER), stage.ingest(&EAGER)];
    let mut published =
        Publications { stage: &stage, folder: TempFolder::new("cluster"), running: Vec::new() };
    let began = Instant::now();
    let course = |said: String| println!("{said} at {:.1} s", began.elapsed().as_secs_f64());
    for round in 0..ROUNDS {
        published.begin();
        let leader = cluster.leader(&tasks, i32::try_from(round).expect("few rounds") % 3);
        match round % 2 {
            0 => cluster.kill(leader),
            _ => cluster.stop(leader),
        }
        course(format!("broker {leader} is away"));
        let victim = &mut instances[round % 2];
        assert!(victim.is_running(), "an instance ended by itself\n{}", victim.log_tail());
        victim.sigkill();
        *victim = stage.ingest(&EAGER);
        published.begin();
        published.wait_until_taken();
        course("all is taken without it".to_owned());
        published.begin();
        cluster.restart(leader);
        cluster.wait_until_whole();
        course("it is back".to_owned());
    }
    let published = published.end();
    instances.iter_mut().for_each(|instance| instance.sigkill());
    cluster.kill(cluster.leader(&tasks, 0));
    stage.catch_up(&EAGER);
    course("caught up".to_owned());
    assert_eq!(published.len() as u64, 3 * ROUNDS as u64 * EVENTS);
    println!("{}", compare(&stage, &published).join("\n"));
    let expired = "SELECT count() FROM gaps WHERE kind = 'EXPIRED'";
    assert_eq!(stage.number(expired), 0);
}
