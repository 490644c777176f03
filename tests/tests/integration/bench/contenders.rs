//! Who drains the backlog, each as fast as it can be set.

use super::backlog::{Backlog, Finish};
use super::gauge::{cpu_seconds, forget_peak, peak_bytes};
use super::kafka_engine;
use super::raw::{self, Rows};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tally_tests::{ClickHouse, Database, Process, Tally, TempFolder, cache, repository, unique};

/// One step around a turn.
const STEP: Duration = Duration::from_secs(300);
/// Between two looks at the finish line and at the processes.
const LOOK: Duration = Duration::from_millis(25);
/// Who is slower is stopped here, and what was committed by then counts; or after as long as this rate takes for the backlog.
const TURN_SECONDS_MAX: u64 = 40;
const TURN_EVENTS_PER_SECOND_MIN: u64 = 25_000;
/// Instances of the stream processor: one of its processes keeps one core busy.
const PROCESSORS: usize = 2;

/// What a turn took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// Records.
    pub(super) events: u64,
    /// Whether it was stopped before it had drained the backlog.
    pub(super) stopped: bool,
    /// From the start of the process to the last commit.
    pub(super) seconds: f64,
    /// CPU seconds of the contender itself, ClickHouse apart; `None` where ClickHouse is all there is.
    pub(super) cpu: Option<f64>,
    /// The most memory it held, bytes.
    pub(super) peak_bytes: Option<u64>,
    /// CPU seconds of ClickHouse meanwhile; `None` where it has no part in it.
    pub(super) store_cpu: Option<f64>,
    /// The most memory that ClickHouse held meanwhile, bytes.
    pub(super) store_peak_bytes: Option<u64>,
    /// Parts of the tables at the end: what is left to be merged.
    pub(super) parts: u64,
}

/// Servers and rows that the contenders share.
pub(super) struct Arena<'a> {
    pub(super) clickhouse: &'a ClickHouse,
    pub(super) clickhouse_id: u32,
    pub(super) registry: String,
    pub(super) backlog: Backlog<'a>,
    pub(super) rows: Rows,
}

/// Somebody who takes a turn.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) run: Box<dyn Fn(&Arena<'_>) -> Turn>,
}

impl Contender {
    pub(super) fn new(name: &str, run: impl Fn(&Arena<'_>) -> Turn + 'static) -> Contender {
        Contender { name: name.to_owned(), run: Box::new(run) }
    }
}

/// Everybody, in the order of a round.
pub(super) fn everybody() -> Vec<Contender> {
    vec![
        Contender::new("tally ingest", tally),
        Contender::new("Kafka engine, 1 consumer a table", |arena| {
            kafka_engine::drain(arena, kafka_engine::consumers(1))
        }),
        Contender::new("Kafka engine, 2 consumers a table", |arena| {
            kafka_engine::drain(arena, kafka_engine::consumers(2))
        }),
        Contender::new("Kafka engine, blocks of a million", |arena| {
            kafka_engine::drain(arena, kafka_engine::LARGE)
        }),
        Contender::new("Kafka engine, the same, plain tables", |arena| {
            kafka_engine::drain(arena, kafka_engine::LARGE_AND_PLAIN)
        }),
        Contender::new("Quix Streams, 2 processes", quix_streams),
        Contender::new("raw insert, facts and receipts", |arena| raw::insert(arena, true)),
        Contender::new("raw insert, facts alone", |arena| raw::insert(arena, false)),
        Contender::new("raw reading, one thread", raw::read),
        Contender::new("raw decode, one thread", raw::decode),
        Contender::new("raw consume", raw::consume),
    ]
}

impl Arena<'_> {
    /// An empty database with all tables.
    pub(super) fn database(&self) -> Database<'_> {
        let database = self.clickhouse.database();
        let at = ["migrate", "--clickhouse", database.url(), "--database", database.name()];
        Tally::spawn(&at, &[]).expect_success(STEP);
        database
    }

    /// Watches these processes and ClickHouse from `began` until everything is committed, or the time is over.
    pub(super) fn watch(&self, began: Instant, finish: &Finish, processes: &mut [&mut Process]) -> Turn {
        let store_cpu = cpu_seconds(self.clickhouse_id);
        forget_peak(self.clickhouse_id);
        let mut turn = Turn::default();
        let seconds_max = (self.backlog.layout.events / TURN_EVENTS_PER_SECOND_MIN).max(TURN_SECONDS_MAX);
        loop {
            turn.events = finish.committed();
            turn.seconds = began.elapsed().as_secs_f64();
            if !processes.is_empty() {
                let ids = || processes.iter().map(|process| process.id());
                turn.cpu = Some(ids().map(cpu_seconds).sum());
                turn.peak_bytes = Some(ids().map(peak_bytes).sum());
            }
            turn.store_cpu = Some(cpu_seconds(self.clickhouse_id) - store_cpu);
            turn.store_peak_bytes = Some(peak_bytes(self.clickhouse_id));
            turn.stopped = turn.events < self.backlog.layout.events;
            if !turn.stopped || began.elapsed().as_secs() >= seconds_max {
                return turn;
            }
            for process in processes.iter_mut() {
                assert!(process.is_running(), "it ended before it had drained\n{}", process.log_tail());
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Parts that the tables of a database have now.
pub(super) fn parts(database: &Database<'_>) -> u64 {
    let sql = format!("SELECT count() FROM system.parts WHERE active AND database = '{}'", database.name());
    database.query(&sql).trim().parse().expect("a number")
}

/// All checks, dead letters and the ledger on; its balance must hold afterwards, which is not part of the turn.
pub(super) fn tally(arena: &Arena<'_>) -> Turn {
    let (database, group) = (arena.database(), unique("drain"));
    let arguments = [
        ["ingest", "--until-caught-up", "--json", "--listen", "127.0.0.1:0"].as_slice(),
        &["--brokers", arena.backlog.kafka.bootstrap(), "--topic-prefix", arena.backlog.prefix()],
        &["--clickhouse", database.url(), "--database", database.name()],
        &["--registry", &arena.registry, "--group", &group],
    ];
    let began = Instant::now();
    let mut ingest = Tally::spawn(&arguments.concat(), &[]);
    let finish = arena.backlog.finish(&|_| group.clone());
    let mut turn = arena.watch(began, &finish, &mut [&mut ingest]);
    turn.parts = parts(&database);
    let ended = ingest.expect_success(STEP);
    let balance: serde_json::Value = serde_json::from_str(&ended.stdout).expect("a balance");
    assert_eq!(balance["verdict"], "PASS", "{balance:#}");
    let topics = balance["topics"].as_array().expect("topics");
    let sum = |what: &str| topics.iter().filter_map(|topic| topic[what].as_u64()).sum::<u64>();
    assert_eq!((sum("published"), sum("dead")), (arena.backlog.layout.events, arena.backlog.invalid));
    turn
}

/// Quix Streams, a stream processor in Python over librdkafka and fastavro: one of the few that are installed by one
/// command and read Avro of a registry. Facts alone, at least once; see `tests/python/drain_quix.py`.
fn quix_streams(arena: &Arena<'_>) -> Turn {
    let (database, group, folder) = (arena.database(), unique("quix"), TempFolder::new("quix"));
    let python: PathBuf = cache().join("quix/bin/python");
    assert!(python.exists(), "Quix Streams is not installed: run tests/setup/bench.sh (or make bench)");
    let began = Instant::now();
    let start = |number: usize| {
        let mut command = Command::new(&python);
        command.arg(repository().join("tests/python/drain_quix.py"));
        command.args([arena.backlog.kafka.bootstrap(), arena.backlog.prefix(), &group, &arena.registry]);
        command.args([database.url(), database.name()]).current_dir(folder.path());
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "127.0.0.1,localhost");
        Process::spawn(&format!("quix-{number}"), command, folder.path())
    };
    let mut processes: Vec<Process> = (0..PROCESSORS).map(start).collect();
    let finish = arena.backlog.finish(&|_| group.clone());
    let mut turn = arena.watch(began, &finish, &mut processes.iter_mut().collect::<Vec<_>>());
    turn.parts = parts(&database);
    let stored = raw::facts_stored(&database);
    assert!(
        stored * 10 >= turn.events * 9,
        "{stored} facts of {} events\n{}",
        turn.events,
        processes[0].log_tail()
    );
    turn
}
