//! Apache Kafka, one node in KRaft mode, from the jars that the set-up fetched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::kafka::admin;
use crate::place::{TempFolder, cache, free_port};
use crate::process::Process;

/// Start-up takes 2–3 s on an idle machine; tests share two cores with builds.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(30);
/// Another program may take a port between its choice and its use.
const ATTEMPTS: usize = 3;

/// What a broker has beyond the plain listener of a node that is alone.
pub(super) trait Role {
    /// The settings for it.
    fn properties(&self, client_port: u16, controller_port: u16) -> String;

    /// The id of the cluster that it belongs to with others: 16 bytes in the URL-safe base64 that Kafka prints.
    fn cluster(&self) -> Option<String> {
        None
    }

    /// Arguments by which the storage is formatted with its users in it.
    fn scram(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A broker process on data of its own.
#[derive(Debug)]
pub(super) struct Broker {
    port: u16,
    process: Process,
    folder: TempFolder,
}

impl Broker {
    pub(super) fn start() -> Broker {
        Broker::in_role(None)
    }

    pub(super) fn in_role(role: Option<&dyn Role>) -> Broker {
        attempts(|| {
            let mut broker = Broker::spawned((free_port(), free_port()), role);
            broker.wait_until_ready().map(|()| broker)
        })
    }

    /// One that is not ready yet, with a client's port and a controller's.
    pub(super) fn spawned(ports: (u16, u16), role: Option<&dyn Role>) -> Broker {
        let folder = TempFolder::new("kafka");
        format_storage(folder.path(), ports, role);
        Broker { port: ports.0, process: spawn(folder.path()), folder }
    }

    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn stop(&mut self) {
        self.process.sigterm();
        self.process.end_within(STOP);
    }

    pub(super) fn kill(&mut self) {
        self.process.sigkill();
    }

    pub(super) fn restart(&mut self) {
        if self.process.is_running() {
            self.stop();
        }
        self.process = spawn(self.folder.path());
        self.wait_until_ready()
            .unwrap_or_else(|log| panic!("the broker did not start again within {START:?}\n{log}"));
    }

    /// While it is down: takes batch after batch from the end of a partition's only segment, up to the one that holds `offset`.
    /// Returns where the log ends now.
    pub(super) fn lose_from(&self, topic: &str, partition: i32, offset: i64) -> i64 {
        let segment = format!("data/{topic}-{partition}/{:020}.log", 0);
        let path = self.folder.path().join(segment);
        let log = fs::read(&path).expect("the segment can be read");
        let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().expect("four bytes"));
        let mut at = 0;
        // a batch begins with its first offset, its length after that, and (at 23) how many offsets further its last one is
        let end = loop {
            let base = i64::from(number(at)) << 32 | i64::from(number(at + 4));
            if base + i64::from(number(at + 23)) >= offset {
                break base;
            }
            at += 12 + number(at + 8) as usize;
        };
        let file = fs::File::options().write(true).open(&path).expect("the segment can be written");
        file.set_len(at as u64).expect("the segment can be cut");
        end
    }

    pub(super) fn pause(&mut self) {
        self.process.pause();
    }

    pub(super) fn resume(&mut self) {
        self.process.resume();
    }

    pub(super) fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    /// The end of the log, when it ended instead, or took too long.
    pub(super) fn wait_until_ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while self.process.is_running() && start.elapsed() < START {
            if admin::answers(&self.bootstrap(), Duration::from_secs(1)) {
                return Ok(());
            }
        }
        Err(self.process.log_tail())
    }
}

/// Starts something that listens, on other ports where those that were free are taken.
pub(super) fn attempts<T>(start: impl Fn() -> Result<T, String>) -> T {
    let mut refusal = String::new();
    for _ in 0..ATTEMPTS {
        match start() {
            Ok(started) => return started,
            Err(log) if log.contains("Address already in use") => refusal = log,
            Err(log) => panic!("the broker did not start within {START:?}\n{log}"),
        }
    }
    panic!("the broker found its ports taken {ATTEMPTS} times\n{refusal}")
}

/// Writes the settings and the first records of the metadata log, by Kafka's own tool.
fn format_storage(folder: &Path, (client_port, controller_port): (u16, u16), role: Option<&dyn Role>) {
    let settings = folder.join("server.properties");
    let more = role.map(|role| role.properties(client_port, controller_port)).unwrap_or_default();
    // of a property that stands twice the last one counts
    let text = server_properties(folder, client_port, controller_port) + &more;
    fs::write(&settings, text).expect("the settings can be written");
    let mut format = java("kafka.tools.StorageTool");
    let own = || format!("tallytest{client_port:05}{controller_port:05}xxA");
    let cluster = role.and_then(Role::cluster).unwrap_or_else(own);
    format.args(["format", "--cluster-id", &cluster, "--config"]).arg(&settings);
    format.args(role.map(|role| role.scram()).unwrap_or_default());
    Process::spawn("format", format, folder).expect_success(START);
}

fn spawn(folder: &Path) -> Process {
    let mut broker = java("kafka.Kafka");
    broker.arg(folder.join("server.properties"));
    Process::spawn("kafka", broker, folder)
}

fn java(main: &str) -> Command {
    let home: PathBuf = cache().join("kafka");
    let mut java = Command::new("java");
    java.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    let archive = home.join("kafka.jsa");
    if archive.exists() {
        // Loaded classes, ready to map: see setup/kafka/archive.sh. Ignored if it does not fit.
        java.arg(format!("-XX:SharedArchiveFile={}", archive.display()));
    }
    java.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=info")
        .arg("-Dorg.slf4j.simpleLogger.showDateTime=true")
        .arg("-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS")
        .arg("-cp")
        .arg(home.join("libs/*"))
        .arg(main);
    java
}

/// One node, one replica of everything, few threads, no waiting for group members. A killed broker
/// is let in again only when its old session is over: hence a short one (the default: 9 s).
fn server_properties(folder: &Path, client_port: u16, controller_port: u16) -> String {
    format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{client_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{client_port}
controller.listener.names=CONTROLLER
log.dirs={data}
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=250
auto.create.topics.enable=false
delete.topic.enable=true
file.delete.delay.ms=1000
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
log.cleaner.threads=1
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=4
background.threads=2
num.recovery.threads.per.data.dir=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
",
        data = folder.join("data").display()
    )
}
