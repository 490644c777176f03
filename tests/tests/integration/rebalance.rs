//! Instances that come and go.

use std::time::Duration;

use tally_tests::{Kafka, Stage, Tally, eventually, skip_without};

const SOON: Duration = Duration::from_secs(60);
/// Instances that come and go.
const VISITS: usize = 3;
const EVENTS: u64 = 300;

fn publish(stage: &Stage<'_>, seed: &str) {
    let what = ["--events", &EVENTS.to_string(), "--seed", seed];
    stage.simulate(&what).expect_success(SOON);
}

fn assignments(tally: &Tally) -> usize {
    tally.stderr().matches("partitions assigned").count()
}

/// Scenario: two instances have read every partition to its end; a third comes and goes, three times; then events are published.
/// Guarantees: whoever keeps a partition reads on where it was: no lane starts anew and no consumer is opened anew, however often the
/// group is divided again; and what is published is taken. Otherwise each of two would have the other begin again, for ever.
#[test]
fn partitions_at_their_ends_outlive_each_rebalance() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("rebalance");
    publish(&stage, "1");
    stage.catch_up(&[]);
    let stays = [stage.ingest(&[]), stage.ingest(&[])];
    for one in &stays {
        eventually(SOON, "an assignment", || one.stderr().contains("lane starts").then_some(()));
    }
    for _ in 0..VISITS {
        let before: usize = stays.iter().map(assignments).sum();
        let mut guest = stage.ingest(&[]);
        eventually(SOON, "a share for the guest", || guest.stderr().contains("lane starts").then_some(()));
        guest.sigterm();
        assert!(guest.wait_with_timeout(SOON).is_some(), "the guest goes");
        eventually(SOON, "another division", || {
            (stays.iter().map(assignments).sum::<usize>() > before).then_some(())
        });
        std::thread::sleep(Duration::from_secs(1)); // a fetch from a wrong offset is answered within this
    }
    for one in &stays {
        let said = one.stderr();
        for sign in ["lane starts anew", "opening a fresh consumer", "cannot start"] {
            assert!(!said.contains(sign), "{sign}\n{said}");
        }
    }
    publish(&stage, "2");
    eventually(SOON, "what was published later", || (stage.receipts() == 2 * EVENTS).then_some(()));
}

/// Scenario: two instances with names that outlive their processes, and a session of five minutes. One is killed and started again; then another
/// process is started under its name; at last that one is stopped.
/// Guarantees: within two minutes each time, everything published is taken: who is back has its partitions at once, without the group
/// divided again, and who stops leaves them to the other. The one whose name was taken ends with 3 and says what to do.
#[test]
fn a_named_instance_is_missed_by_nobody() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("named");
    let named = |name: &str| {
        stage.ingest(&["--kafka-instance", name, "--kafka-property", "session.timeout.ms=300000"])
    };
    let mut published = 0;
    let mut publish_and_wait = |seed: &str| {
        publish(&stage, seed);
        published += EVENTS;
        let within = Duration::from_secs(120);
        eventually(within, "what was published", || (stage.receipts() == published).then_some(()));
    };
    let (mut one, mut other) = (named("one"), named("other"));
    for instance in [&one, &other] {
        eventually(SOON, "a share", || instance.stderr().contains("lane starts").then_some(()));
    }
    publish_and_wait("1");
    let before = assignments(&other);
    one.sigkill();
    let mut one = named("one");
    publish_and_wait("2");
    assert_eq!(assignments(&other), before, "{}", other.stderr());

    let mut twin = named("one");
    let fenced = one.expect_code(3, SOON).stderr;
    assert!(fenced.contains("kafka.instance: \"one\"") && fenced.contains("give each its own"), "{fenced}");
    publish_and_wait("3");
    assert_eq!(assignments(&other), before, "{}", other.stderr());

    twin.sigterm();
    twin.expect_success(SOON);
    publish_and_wait("4");
    assert!(other.is_running(), "{}", other.log_tail());
}
