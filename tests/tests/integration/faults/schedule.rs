//! The schedule of one run, from its seed. What goes wrong meanwhile is in `injection`.

mod injection;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tally_schemas::Topic;
use tally_sinks::fault::Point;
use tally_tests::account::{Published, compare, compare_gone, read};
use tally_tests::python::{self, Produce};
use tally_tests::stage::seal_and_verify;
use tally_tests::{ClickHouse, Clock, Proxy, Raised, Stage, Tally, TempFolder, eventually, examples};

use super::super::kill::Moments;
use super::commits;
use super::counts::Counts;
use super::servers::{Network, Servers};

/// How long things go wrong.
const TROUBLE: Duration = Duration::from_secs(6);
/// How long everything may then take to be settled.
const SETTLED: Duration = Duration::from_secs(180);
const ENDED: Duration = Duration::from_secs(180);
/// Events of one publication.
const EVENTS: u64 = 500;
const PUBLICATIONS: u64 = 3;
/// Events of each version of a contract in an upgrade, and of a transaction.
const WRITTEN: usize = 40;
/// What a run says where a commit went beyond the ledger.
pub(super) const BEYOND: &str = "committed beyond the ledger";
/// Task events whose id ends so are refused by the store, where a run has that constraint.
const POISON: &str = "77";

/// What numbers are drawn for. Each has a stream of its own, so that what one draws does not depend on how fast another was.
#[derive(Clone, Copy)]
enum Of {
    Run,
    Step,
    Publication,
    Instance,
}

fn draws(seed: u64, of: Of, number: u64) -> Moments {
    let mixed =
        seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(number.wrapping_mul(0x9e6c_63d0_876a_68ef));
    Moments(mixed ^ (of as u64).wrapping_mul(0xda94_2042_e4dd_58b5))
}

/// A bug in the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    Nothing,
    CommitFirst,
    SkipOffset,
}

/// An instance of the run's group.
struct Instance {
    tally: Tally,
    /// Where it dies or stands still, if it does.
    point: Option<Point>,
    /// It was told to end.
    told: bool,
}

struct Schedule<'a> {
    seed: u64,
    moments: Moments,
    servers: &'a Servers,
    clickhouse: &'a ClickHouse,
    stage: &'a Stage<'a>,
    store: Proxy,
    registry: Option<Proxy>,
    /// Before Kafka.
    network: Option<Network<'a>>,
    /// What some instances take the time of day from, and which.
    clock: Clock,
    timed: Vec<u32>,
    planted: Planted,
    folder: TempFolder,
    instances: Vec<Instance>,
    /// How long it waited: for servers to go down and come back, and for who publishes.
    waited: Duration,
    /// Instances that stand still, until then.
    frozen: Vec<(u32, Instant)>,
    publishers: Vec<(Tally, PathBuf)>,
    /// What Python published: other contracts' versions, other framings.
    written: Vec<Published>,
    /// Identity of the tasks' topic before it was created anew, and what was published to it.
    gone: Option<(String, Vec<Published>)>,
    counts: Counts,
}

/// Runs a seed; says what was published and what happened.
///
/// # Panics
/// Where the balance does not hold, a commit went beyond the ledger, or an instance ended in a way that nobody asked for.
pub(super) fn run(seed: u64, servers: &Servers, planted: Planted) -> (String, Counts) {
    Tally::binary_with_faults(); // built first: that may take far longer than everything that goes wrong
    let began = Instant::now();
    let mut moments = draws(seed, Of::Run, 0);
    let (data, folder) = (TempFolder::new("faults-data"), TempFolder::new("faults"));
    let clickhouse = ClickHouse::start(data.path());
    let quiet = servers.quiet();
    let stage = Stage::on(servers.kafka(), &clickhouse, "faults");
    Tally::spawn(&[&["migrate"][..], &stage.at_clickhouse()].concat(), &[]).expect_success(ENDED);
    drop(quiet);
    let has_poison = moments.below(2) == 0;
    if has_poison {
        let check = format!("CHECK NOT endsWith(toString(event_id), '{POISON}')");
        stage.database.query(&format!("ALTER TABLE task_events ADD CONSTRAINT no_poison {check}"));
    }
    let address = |url: &str| url.split("://").nth(1).unwrap_or(url).trim_end_matches('/').to_owned();
    let registry = servers.registry().map(|url| {
        let address = address(url);
        Proxy::before(address.split('/').next().expect("a host"))
    });
    if let Some(url) = servers.registry() {
        let _quiet = servers.quiet();
        let what = ["schema", "register", "--registry", url, "--topic-prefix", stage.prefix()];
        Tally::spawn(&what, &[]).expect_success(ENDED);
    }
    let mut schedule = Schedule {
        seed,
        moments,
        servers,
        clickhouse: &clickhouse,
        stage: &stage,
        store: Proxy::before(&address(clickhouse.url())),
        registry,
        network: servers.network(),
        clock: Clock::new(folder.path()),
        timed: Vec::new(),
        planted,
        folder,
        instances: Vec::new(),
        waited: Duration::ZERO,
        frozen: Vec::new(),
        publishers: Vec::new(),
        written: Vec::new(),
        gone: None,
        counts: Counts::default(),
    };
    let stop = AtomicBool::new(false);
    let (published, seen) = thread::scope(|scope| {
        let watching = scope.spawn(|| commits::watch(&stage, &stop));
        let _stop = Raised(&stop); // else a run that fails would be watched for ever
        schedule.trouble();
        let published = schedule.settle(has_poison);
        stop.store(true, Ordering::Relaxed);
        (published, watching.join().expect("the commits were watched"))
    });
    schedule.count(&seen);
    assert!(!published.is_empty(), "nothing was published: {:?}", schedule.counts);
    assert!(schedule.counts.wrong() > 0, "nothing went wrong: {:?}", schedule.counts);
    let said = schedule.hold(&published, has_poison);
    assert!(seen.broken.is_none(), "{BEYOND}: {}", seen.broken.unwrap_or_default());
    schedule.clear();
    (format!("{said} ({:.1} s)", began.elapsed().as_secs_f64()), schedule.counts)
}

impl Schedule<'_> {
    /// What the networks did, as far as it met anything, and what was looked at.
    fn count(&mut self, seen: &commits::Seen) {
        self.counts.commits = seen.commits;
        self.counts.stores_met = self.store.met();
        self.counts.registries_met = self.registry.as_ref().map(Proxy::met).unwrap_or_default();
        let Some(network) = &self.network else { return };
        self.counts.kafka_met = network.met();
        assert!(network.came() > 0, "nobody came to Kafka over the network");
    }

    /// Everything goes wrong for a while.
    fn trouble(&mut self) {
        for _ in 0..=self.moments.below(3) {
            self.start();
        }
        let began = Instant::now();
        let (mut publications, mut step) = (0, 0);
        loop {
            let elapsed = began.elapsed().saturating_sub(self.waited);
            if elapsed >= TROUBLE && publications == PUBLICATIONS {
                return;
            }
            let due = TROUBLE.as_millis() as u64 * 2 / 3 * publications / PUBLICATIONS;
            if publications < PUBLICATIONS && elapsed.as_millis() as u64 >= due {
                let (mut draws, began) = (draws(self.seed, Of::Publication, publications), Instant::now());
                if publications == 1 && draws.below(6) == 0 {
                    self.create_anew();
                }
                self.publish(publications);
                publications += 1;
                if publications == PUBLICATIONS - 1 && draws.below(3) == 0 {
                    self.upgrade();
                    self.counts.upgrades += 1;
                }
                self.waited += began.elapsed(); // nothing went wrong by itself meanwhile
            }
            self.moments = draws(self.seed, Of::Step, step);
            step += 1;
            thread::sleep(Duration::from_millis(30 + self.moments.below(350)));
            self.inject();
            self.reap();
        }
    }

    fn publish(&mut self, number: u64) {
        let path = self.folder.path().join(format!("record-{number}"));
        let (events, seed) = (EVENTS.to_string(), (self.seed * PUBLICATIONS + number).to_string());
        let file = path.to_str().expect("paths are text");
        let mut what =
            vec!["--events", &events, "--seed", &seed, "--invalid-permille", "30", "--record", file];
        if let Some(url) = self.servers.registry().filter(|_| number % 2 == 1) {
            what.extend(["--registry", url]); // in the Confluent wire format
            let _quiet = self.servers.quiet();
            let mut publisher = self.stage.simulate(&what);
            publisher.expect_success(ENDED); // it asks the registry first
            self.publishers.push((publisher, path));
            self.counts.confluent += 1;
        } else {
            self.publishers.push((self.stage.simulate(&what), path));
        }
        self.counts.publications += 1;
    }

    /// The tasks' topic is deleted and created again: what was published to it so far is nobody's any more.
    fn create_anew(&mut self) {
        let _quiet = self.servers.quiet();
        let mut gone = Vec::new();
        for (mut publisher, path) in std::mem::take(&mut self.publishers) {
            publisher.expect_success(ENDED);
            let (of_tasks, others) = read(&path).into_iter().partition(|one| one.topic == Topic::Task.name());
            self.written.extend::<Vec<Published>>(others);
            gone.extend::<Vec<Published>>(of_tasks);
        }
        let topic = self.stage.topic(Topic::Task);
        self.gone = Some((self.stage.topic_id(Topic::Task), gone));
        self.stage.kafka.delete_topic(&topic);
        self.stage.kafka.create_topic(&topic, tally_tests::stage::PARTITIONS, &[]);
        self.counts.topics += 1;
    }

    /// A service goes from the first version of a contract to the second, and another one aborts a transaction.
    fn upgrade(&mut self) {
        let _quiet = self.servers.quiet();
        let bootstrap = self.stage.kafka.bootstrap();
        let events = examples::many(Topic::Credit, 2 * WRITTEN);
        let topic = self.stage.topic(Topic::Credit);
        for (version, events) in [(1, &events[..WRITTEN]), (2, &events[WRITTEN..])] {
            let schema = examples::schema(Topic::Credit, version);
            let text = std::fs::read_to_string(&schema).expect("a contract can be read");
            let id = self.servers.register(&format!("credit-{version}-value"), &text);
            let framing = id.map_or_else(|| "single-object".to_owned(), |id| format!("confluent:{id}"));
            let what = Produce { bootstrap, topic: &topic, schema: &schema, framing: &framing, more: &[] };
            for delivered in python::produce(what, events) {
                self.written.push(Published {
                    topic: Topic::Credit.name().to_owned(),
                    partition: delivered.partition.into(),
                    offset: delivered.offset,
                    event_id: delivered.event_id.expect("credit events have ids"),
                    expect: "accept".to_owned(),
                });
            }
        }
        let (topic, schema) = (self.stage.topic(Topic::License), examples::schema(Topic::License, 1));
        let more = ["--transaction", "abort"];
        let what =
            Produce { bootstrap, topic: &topic, schema: &schema, framing: "single-object", more: &more };
        python::produce(what, &examples::many(Topic::License, WRITTEN));
        self.counts.aborted += 1;
    }

    /// Facts of a topic that is gone, whose receipts a death kept from being written: nobody can read their records again, so
    /// they stay without, and neither the audit nor `verify` can pass over them.
    fn orphans(&self) -> i64 {
        let Some((gone, _)) = &self.gone else { return 0 };
        self.stage.number(&format!(
            "SELECT count() FROM task_events FINAL WHERE topic_id = '{gone}' \
             AND (source, event_id, digest) NOT IN (SELECT source, event_id, digest FROM audit_log)"
        ))
    }

    /// Takes what is stored of a topic that is gone out of every table: the rest must stand by itself.
    fn forget_gone(&self) {
        let Some((gone, _)) = &self.gone else { return };
        let tables = "SELECT table FROM system.columns AS c JOIN system.tables AS t ON c.database = t.database \
                      AND c.table = t.name WHERE c.database = currentDatabase() AND c.name = 'topic_id' \
                      AND t.engine LIKE '%MergeTree'";
        for table in self.stage.database.query(tables).lines() {
            self.stage.database.query(&format!("DELETE FROM {table} WHERE topic_id = '{gone}'"));
        }
    }

    /// Nothing goes wrong any more: zombies wake, everything published is taken. Returns what was published.
    fn settle(&mut self, has_poison: bool) -> Vec<Published> {
        self.store.trouble(0, 0);
        self.clock.set(0);
        if let Some(network) = &self.network {
            network.proxy.trouble(0, 0);
        }
        if let Some(registry) = &self.registry {
            registry.trouble(0, 0);
        }
        let quiet = self.servers.quiet();
        let mut published = std::mem::take(&mut self.written);
        for (mut publisher, path) in std::mem::take(&mut self.publishers) {
            publisher.expect_success(ENDED);
            published.extend(read(&path));
        }
        let gone = self.gone.iter_mut().flat_map(|(_, gone)| gone);
        for one in published.iter_mut().chain(gone) {
            if has_poison
                && one.is_valid()
                && one.topic == Topic::Task.name()
                && one.event_id.ends_with(POISON)
            {
                "rejected_by_store".clone_into(&mut one.expect);
                self.counts.rejected += 1;
            }
        }
        self.instances.iter_mut().for_each(|one| one.tally.resume());
        let deadline = Instant::now() + SETTLED;
        let wanted = published.len() as u64;
        while self.stage.receipts() < wanted && self.planted == Planted::Nothing {
            self.bury();
            if self.instances.is_empty() {
                let plain = Instance { tally: self.plain(), point: None, told: false };
                self.instances.push(plain);
            }
            self.instances.iter_mut().for_each(|one| one.tally.resume()); // who stops at a point now
            assert!(
                Instant::now() < deadline,
                "{} of {wanted} receipts after {SETTLED:?}\n{}",
                self.stage.receipts(),
                self.instances.iter().map(|one| one.tally.log_tail()).collect::<String>()
            );
            thread::sleep(Duration::from_millis(100));
        }
        for mut one in std::mem::take(&mut self.instances) {
            one.tally.resume();
            one.tell();
            let ended = one.tally.wait_with_timeout(Duration::from_secs(8)).is_some();
            if !ended {
                one.tally.sigkill(); // at a crash point, or it waits for something that does not come
            }
            self.ended(one, !ended);
        }
        drop(quiet);
        published
    }

    /// An instance without a crash point and without a network between.
    fn plain(&self) -> Tally {
        let mut more = vec!["--linger-ms", "20", "--kafka-property", "session.timeout.ms=1500"];
        more.extend(["--kafka-property", "heartbeat.interval.ms=300"]);
        if let Some(url) = self.servers.registry() {
            more.extend(["--registry", url]);
        }
        self.stage.ingest(&more)
    }

    /// Holds everything against what was published, and has Tally itself say the same.
    fn hold(&self, published: &[Published], has_poison: bool) -> String {
        let _quiet = self.servers.quiet();
        let mut more = vec!["--linger-ms", "20"];
        if let Some(url) = self.servers.registry() {
            more.extend(["--registry", url]);
        }
        match self.planted {
            Planted::Nothing => drop(self.stage.catch_up(&more)),
            Planted::CommitFirst | Planted::SkipOffset => self.end_anyhow(&more),
        }
        if has_poison {
            self.stage.database.query("ALTER TABLE task_events DROP CONSTRAINT no_poison"); // verify holds definitions
        }
        let mut said = compare(self.stage, published);
        said.extend(self.gone.iter().map(|(id, gone)| compare_gone(self.stage, Topic::Task, id, gone)));
        let orphans = self.orphans();
        if orphans > 0 {
            self.forget_gone();
        }
        seal_and_verify(&self.stage.at_clickhouse(), &self.stage.at_kafka(), ENDED);
        self.forget_gone(); // else the audit rightly names what was not taken of it
        self.stage.tally_at_clickhouse(&["audit", "offsets", "--no-record"]).expect_success(ENDED);
        match orphans {
            0 => said.join("; "),
            _ => format!("{}; {orphans} facts of a topic that is gone", said.join("; ")),
        }
    }

    /// Deletes the run's topics, dead letters' too: a Kafka that has those of hundreds of runs takes minutes to come back.
    fn clear(&self) {
        let _quiet = self.servers.quiet();
        let kafka = self.stage.kafka;
        let topics = kafka.topics(self.stage.prefix());
        kafka.delete_topics(&topics.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Takes what there is and ends, whatever the balance says: the account by id must find a planted bug by itself.
    fn end_anyhow(&self, more: &[&str]) {
        let until = ["--group", self.stage.prefix(), "--listen", "127.0.0.1:0", "--until-caught-up"];
        let ended = self.stage.tally(&["ingest"], &[&until, more].concat()).wait_with_timeout(SETTLED);
        assert!(ended.is_some(), "not caught up after {SETTLED:?}");
    }
}

/// Starts an instance in the stage's group, with a crash point; the group misses it after so many milliseconds.
pub(super) fn with_fault(stage: &Stage<'_>, fault: &str, session_ms: u32) -> Tally {
    let group = ["--group", stage.prefix(), "--listen", "127.0.0.1:0", "--linger-ms", "20"];
    let timeout = format!("session.timeout.ms={session_ms}");
    let session = ["--kafka-property", &timeout, "--kafka-property", "heartbeat.interval.ms=300"];
    let arguments = [&["ingest"][..], &stage.at_kafka(), &stage.at_clickhouse(), &group, &session].concat();
    Tally::spawn_with_faults(&arguments, &[("TALLY_FAULT", fault)])
}

/// Whether a process with that crash point dies there at its first pass.
pub(super) fn dies_at(point: Point, stage: &Stage<'_>) -> bool {
    let mut tally = with_fault(stage, &format!("{}:1", point.name()), 1_500);
    if point == Point::Revoked {
        eventually(ENDED, "an assignment", || tally.stderr().contains("partitions assigned").then_some(()));
        tally.sigterm();
    }
    let ended = tally.wait_with_timeout(ENDED);
    ended.is_some_and(|status| std::os::unix::process::ExitStatusExt::signal(&status) == Some(9))
}
