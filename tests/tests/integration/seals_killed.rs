//! Sealers that are killed at random moments.
#![expect(clippy::print_stdout, reason = "the seed of a failed run must be seen")]

use std::thread;
use std::time::Duration;

use tally_tests::{Kafka, Tally, skip_without};

use super::kill::{Moments, seed};
use super::seals::{SOON, Sealed};

/// How often a sealer is killed.
const KILLS: u32 = 14;
/// From its start on; it has sealed what there is by then, and waits for its next turn.
const LIFE_MS_MAX: u64 = 1_600;

/// Scenario: `tally seal --every 1s` is killed fourteen times at random moments of its first seconds, each time with more to seal, every
/// other time with a second one beside it that is killed a while later; between two kills the log is verified.
/// Guarantees: never is anything tampered with or unreadable: rows may wait for their seal, and that is all; the next sealer goes on,
/// and in the end the log verifies, whole and by sample, with every receipt in it.
#[test]
fn a_killed_sealer_leaves_a_log_that_the_next_one_continues() {
    if skip_without(Kafka::real()) {
        return;
    }
    let seed = seed();
    println!("TALLY_TEST_SEED={seed} repeats these moments");
    let mut moments = Moments(seed);
    let sealed = Sealed::new("seal-kill", "400");
    let (log, key) = (sealed.path("log"), sealed.path("key"));
    let sealer = || {
        let every = ["seal", "--seals", &log, "--key", &key, "--every", "1s"];
        Tally::spawn(&[&every[..], &sealed.stage.at_clickhouse()].concat(), &[])
    };
    for kill in 0..KILLS {
        if kill > 0 {
            sealed.take("400", &format!("{}", 100 + kill));
        }
        let mut victim = sealer();
        let mut other = (kill % 2 == 1).then(sealer);
        thread::sleep(Duration::from_millis(moments.below(LIFE_MS_MAX)));
        assert!(victim.is_running(), "the sealer ended by itself\n{}", victim.log_tail());
        victim.sigkill();
        if let Some(other) = &mut other {
            thread::sleep(Duration::from_millis(moments.below(LIFE_MS_MAX)));
            other.sigkill();
        }
        // 0: verified; 2: nothing is sealed yet, or not all of it. Never tampered with, never unreadable
        let verify = ["verify", "--seals", &log, "--keys", &sealed.path("key.pub")];
        let verify =
            Tally::spawn(&[&verify[..], &sealed.stage.at_clickhouse()].concat(), &[]).end_within(SOON);
        let begun = std::path::Path::new(&log).exists();
        let allowed: &[i32] = if begun { &[0, 2] } else { &[3] };
        let code = verify.status.code().expect("an exit code");
        assert!(allowed.contains(&code), "after kill {kill} {code}: {}{}", verify.stdout, verify.stderr);
    }
    sealed.seal("log");
    let said = sealed.verify("log", 0, &[]);
    assert!(said.contains(" 0 rows not yet sealed"), "{said}");
    sealed.verify("log", 0, &["--sample", "200", "--seed", "1"]);
    let rows = "SELECT (SELECT count() FROM audit_log_final) + (SELECT count() FROM dead_letters_final) + (SELECT count() FROM gaps_final)";
    let rows = sealed.stage.number(rows);
    assert!(said.contains(&format!("verified: {rows} leaves")), "{rows} rows: {said}");
}
