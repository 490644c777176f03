//! What goes wrong in a run, and the instances to which it happens.

use std::os::unix::process::ExitStatusExt as _;
use std::thread;
use std::time::{Duration, Instant};

use tally_sinks::fault::Point;
use tally_tests::Tally;

use super::{Instance, Of, Planted, Schedule, draws};

const INSTANCES_MAX: usize = 4;
/// What a clock that jumped is fast by, or slow.
const CLOCK_SECONDS: [i64; 6] = [0, 2, -2, 3_700, -100_000, 100_000_000];

impl Instance {
    /// Tells it to end; once, since a second time means at once.
    pub(super) fn tell(&mut self) {
        if !std::mem::replace(&mut self.told, true) {
            self.tally.sigterm();
        }
    }
}

impl Schedule<'_> {
    /// Something goes wrong, or nothing.
    pub(super) fn inject(&mut self) {
        match self.moments.below(100) {
            0..15 => {
                if self.instances.len() < INSTANCES_MAX {
                    self.start();
                }
            }
            15..27 => {
                if let Some(mut one) = self.one().map(|place| self.instances.swap_remove(place)) {
                    let running = one.tally.is_running();
                    one.tally.sigkill();
                    self.ended(one, running);
                }
            }
            27..35 => {
                if let Some(place) = self.one() {
                    self.instances[place].tell(); // it is reaped when it has ended
                }
            }
            35..47 => {
                if let Some(place) = self.one() {
                    let until = Instant::now() + Duration::from_millis(200 + self.moments.below(3500));
                    self.frozen.push((self.instances[place].tally.id(), until));
                    self.instances[place].tally.pause();
                    self.counts.frozen += 1;
                }
            }
            47..67 => {
                let permille = [0, 0, 20, 60, 150][self.moments.below(5) as usize];
                self.store.trouble(permille, self.moments.below(u64::MAX));
            }
            67..73 => {
                self.store.cut();
            }
            73..79 => {
                self.clickhouse.kill();
                thread::sleep(Duration::from_millis(self.moments.below(900)));
                self.clickhouse.restart();
                self.counts.stores += 1;
            }
            79..82 => {
                let asked = Instant::now();
                self.counts.brokers += u32::from(self.servers.restart_kafka());
                self.waited += asked.elapsed(); // much is to go wrong after it too
            }
            82 => {
                let asked = Instant::now();
                self.counts.registries += u32::from(self.servers.restart_registry());
                self.waited += asked.elapsed();
            }
            83..90 => {
                let permille = [0, 0, 300, 1000][self.moments.below(4) as usize];
                let seed = self.moments.below(u64::MAX);
                if let Some(registry) = &self.registry {
                    registry.trouble(permille, seed);
                }
            }
            90..94 => {
                let permille = [0, 0, 10, 40][self.moments.below(4) as usize];
                let seed = self.moments.below(u64::MAX);
                if let Some(network) = &self.network {
                    network.proxy.trouble(permille, seed);
                }
            }
            94..96 => {
                if let Some(network) = &self.network {
                    network.proxy.cut();
                }
            }
            _ => {
                let seconds = CLOCK_SECONDS[self.moments.below(CLOCK_SECONDS.len() as u64) as usize];
                self.clock.set(seconds);
                let goes_by_it = |one: &Instance| self.timed.contains(&one.tally.id());
                self.counts.clocks += u32::from(seconds != 0 && self.instances.iter().any(goes_by_it));
            }
        }
    }

    fn one(&mut self) -> Option<usize> {
        let drawn = usize::try_from(self.moments.below(1 << 20)).expect("a small number");
        (!self.instances.is_empty()).then(|| drawn % self.instances.len())
    }

    /// Frozen ones wake in their time; who ended is forgotten, and somebody is always there.
    pub(super) fn reap(&mut self) {
        let now = Instant::now();
        for one in &mut self.instances {
            let id = one.tally.id();
            if self.frozen.iter().any(|(frozen, until)| *frozen == id && *until <= now)
                || self.moments.below(12) == 0
            {
                one.tally.resume(); // also who stopped at a crash point
                self.frozen.retain(|(frozen, _)| *frozen != id);
            }
        }
        self.bury();
        if self.instances.is_empty() {
            self.start();
        }
    }

    /// Takes out who has ended.
    pub(super) fn bury(&mut self) {
        for place in (0..self.instances.len()).rev() {
            if !self.instances[place].tally.is_running() {
                let one = self.instances.swap_remove(place);
                self.ended(one, false);
            }
        }
    }

    /// Holds the end of an instance against what it was to end by: our kill, its crash point, or our word. Whatever else it did, the data may
    /// be right all the same, since the next one mends it.
    pub(super) fn ended(&mut self, mut one: Instance, killed: bool) {
        let status = one.tally.try_wait().expect("it has ended");
        assert!(!one.tally.stderr().contains("panicked"), "an instance panicked\n{}", one.tally.log_tail());
        match (status.signal(), one.point) {
            (Some(9), _) if killed => self.counts.killed += 1,
            (Some(9), Some(point)) => *self.counts.died.entry(point.name()).or_default() += 1,
            // it may be told before it listens to that
            _ if one.told && (status.success() || status.signal() == Some(15)) => self.counts.stopped += 1,
            // ClickHouse was away when it asked for its migrations: it says so, and takes nothing
            _ if status.code() == Some(3) && !one.tally.stderr().contains("partitions assigned") => {
                self.counts.turned_away += 1;
            }
            _ => panic!("an instance ended with {status}, told to: {}\n{}", one.told, one.tally.log_tail()),
        }
    }

    /// Starts an instance that will die, or stand still, at some pass of some point.
    pub(super) fn start(&mut self) {
        let mut draws = draws(self.seed, Of::Instance, self.counts.started.into());
        let point = Point::ALL[draws.below(Point::ALL.len() as u64) as usize];
        let freezes = draws.below(4) == 0;
        let nth = 1 + draws.below(if point == Point::Revoked { 2 } else { 12 }); // few live to see more revocations
        let fault = format!("{}:{nth}{}", point.name(), if freezes { ":freeze" } else { "" });
        let planted = match self.planted {
            Planted::Nothing => "",
            Planted::CommitFirst => "commit-first",
            Planted::SkipOffset => "skip-offset",
        };
        let (rows, linger) = ((1 + draws.below(120)).to_string(), (5 + draws.below(60)).to_string());
        let (url, group) = (self.store.url(), self.stage.prefix());
        let registry = self.registry.as_ref().map(|proxy| {
            let url = self.servers.registry().expect("what the proxy stands before");
            let (_, rest) = url.split_once("://").unwrap_or(("", url));
            let path = rest.split_once('/').map_or("", |(_, path)| path);
            format!("{}/{path}", proxy.url())
        });
        let mut arguments = vec!["ingest", "--clickhouse", &url, "--database", self.stage.database.name()];
        let proxied = self.network.as_ref().map(|network| network.proxy.address().to_string());
        match &proxied {
            Some(proxied) => arguments.extend(["--brokers", proxied, "--topic-prefix", self.stage.prefix()]),
            None => arguments.extend(self.stage.at_kafka()),
        }
        arguments.extend(["--group", group, "--listen", "127.0.0.1:0", "--stop-seconds-max", "3"]);
        arguments.extend(["--block-rows-max", &rows, "--linger-ms", &linger]);
        arguments.extend(["--kafka-property", "session.timeout.ms=1500"]);
        arguments.extend(["--kafka-property", "heartbeat.interval.ms=300"]);
        if let Some(registry) = &registry {
            arguments.extend(["--registry", registry]);
        }
        let mut variables = vec![("TALLY_FAULT", fault.as_str()), ("TALLY_PLANT", planted)];
        let is_timed = draws.below(3) == 0;
        if is_timed {
            variables.extend(self.clock.variables());
        }
        let tally = Tally::spawn_with_faults(&arguments, &variables);
        self.timed.extend(is_timed.then(|| tally.id()));
        self.instances.push(Instance { tally, point: (!freezes).then_some(point), told: false });
        self.counts.started += 1;
    }
}
