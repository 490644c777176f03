//! Fuzzing that runs within `cargo test`: a second a target, or as long as `TALLY_FUZZ_SECONDS` says (`make fuzz`).
//!
//! There is no instrumentation, so no coverage. A target says of each input what became of it, as a number; an input with an
//! outcome that was not seen before is kept and mutated further. That finds its way through parsers whose refusals differ, and
//! not through code that swallows everything in silence. `schemas/fuzz` has the same for framing and decoding under libFuzzer,
//! with coverage, on nightly.
//!
//! Every run begins with the kept inputs (`tests/fuzz/corpora/NAME`), then those of the target. A panic of the target is a finding:
//! the input is made shorter, kept as `found-…`, and named with the seed of the run.

mod mutate;

use mutate::Mutator;
use std::collections::HashSet;
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a target runs unless told otherwise: it is one of many tests.
const SECONDS_DEFAULT: u64 = 1;
/// Seed of such a run, so that a build that passed passes again.
const SEED_DEFAULT: u64 = 1;
/// Inputs that are held; the oldest give way.
const INPUTS_MAX: usize = 4_096;
/// Kept files of a target, bytes of one and of all: corpora stay small. Findings are kept whatever their number and size, and take no room.
const FILES_MAX: usize = 512;
const FILE_BYTES_MAX: usize = 2_048;
const FOLDER_BYTES_MAX: u64 = 128 << 10;
/// What the names of findings begin with.
const FINDING: &str = "found-";
/// One input that takes longer, on a machine that builds at the same time, is a finding too.
const INPUT_MAX: Duration = Duration::from_secs(10);
/// Tries to make a finding shorter.
const SHRINKS_MAX: usize = 200;

/// What is fuzzed, and with what it begins.
#[derive(Debug)]
pub struct Target<'a> {
    /// Its name, that of its folder of kept inputs.
    pub name: &'a str,
    /// Inputs that are whole.
    pub seeds: Vec<Vec<u8>>,
    /// Words of its language, put into inputs as they are.
    pub words: &'a [&'a str],
    /// Bytes of an input.
    pub bytes_max: usize,
}

/// One run of a target.
struct Run {
    seed: u64,
    /// Where inputs are kept.
    folder: PathBuf,
    end: End,
}

/// When a run ends that found nothing.
enum End {
    /// At that moment.
    At(Instant),
    /// After so many mutated inputs, however long they take.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a run whose course must not depend on the machine's load")
    )]
    Inputs(u64),
}

/// Runs a target until its time is over. `check` says what became of an input, and panics where a promise is broken.
///
/// # Panics
/// At the first finding, with its input and what to do.
pub fn fuzz(target: &Target<'_>, check: impl Fn(&[u8]) -> u64) {
    let end = End::At(Instant::now() + Duration::from_secs(seconds()));
    take(target, &Run { seed: seed(), folder: folder(target.name), end }, check);
}

fn take(target: &Target<'_>, run: &Run, check: impl Fn(&[u8]) -> u64) {
    let Run { seed, folder, end } = run;
    let mut mutator = Mutator::new(*seed, target.words, target.bytes_max);
    let (mut outcomes, mut inputs, mut runs) = (HashSet::new(), Vec::new(), 0_u64);
    let mut try_one = |input: Vec<u8>, inputs: &mut Vec<Vec<u8>>| -> bool {
        runs += 1;
        let begun = Instant::now();
        let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| check(&input))) else {
            finding(target, run, input, &check)
        };
        assert!(
            begun.elapsed() < INPUT_MAX,
            "{}: {:?} for the input {}",
            target.name,
            begun.elapsed(),
            shown(&input)
        );
        let is_new = outcomes.insert(outcome);
        if is_new {
            inputs.push(input);
        }
        is_new
    };
    for input in kept(folder).into_iter().chain(target.seeds.iter().cloned()) {
        try_one(input.clone(), &mut inputs);
        inputs.push(input);
    }
    if inputs.is_empty() {
        inputs.push(Vec::new());
    }
    let mut children = 0;
    while match end {
        End::At(moment) => Instant::now() < *moment,
        End::Inputs(number) => children < *number,
    } {
        children += 1;
        let input = mutator.child(&inputs);
        if try_one(input, &mut inputs) && env::var_os("TALLY_FUZZ_KEEP").is_some() {
            keep(folder, inputs.last().map(Vec::as_slice).unwrap_or_default());
        }
        if inputs.len() > INPUTS_MAX {
            inputs.drain(..INPUTS_MAX / 4);
        }
    }
    let (name, outcomes) = (target.name, outcomes.len());
    report(&format!("fuzz {name}: {runs} inputs, {outcomes} outcomes, seed {seed}, nothing found"));
}

/// A number for what became of an input, from anything that can be written down.
pub fn outcome(what: &impl std::fmt::Debug) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    hasher.write(format!("{what:?}").as_bytes());
    hasher.finish()
}

fn seconds() -> u64 {
    let told = env::var("TALLY_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    told.unwrap_or(SECONDS_DEFAULT)
}

/// That of `TALLY_FUZZ_SEED`; else the same in each short run, and another in each long one.
fn seed() -> u64 {
    let told = env::var("TALLY_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
    let now =
        || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::from(since.subsec_nanos()));
    told.unwrap_or_else(|| if env::var_os("TALLY_FUZZ_SECONDS").is_some() { now() } else { SEED_DEFAULT })
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpora").join(name)
}

fn kept(folder: &PathBuf) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

fn keep(folder: &PathBuf, input: &[u8]) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let counted = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with(FINDING));
    let sizes: Vec<u64> = counted.map(|entry| entry.metadata().map_or(0, |file| file.len())).collect();
    let bytes = sizes.iter().sum::<u64>() + input.len() as u64;
    if input.len() > FILE_BYTES_MAX || sizes.len() >= FILES_MAX || bytes > FOLDER_BYTES_MAX {
        return;
    }
    let written = fs::create_dir_all(folder)
        .and_then(|()| fs::write(folder.join(format!("{:016x}", outcome(&input))), input));
    written.expect("the folder of kept inputs can be written");
}

/// Makes the input shorter as long as it still panics, keeps it, and says so.
fn finding(target: &Target<'_>, run: &Run, mut input: Vec<u8>, check: &impl Fn(&[u8]) -> u64) -> ! {
    let (mut piece, mut tries) = (input.len() / 2, 0);
    while piece > 0 && tries < SHRINKS_MAX {
        let mut at = 0;
        while at + piece <= input.len() && tries < SHRINKS_MAX {
            let shorter = [&input[..at], &input[at + piece..]].concat();
            tries += 1;
            match catch_unwind(AssertUnwindSafe(|| check(&shorter))) {
                Ok(_) => at += piece,
                Err(_) => input = shorter,
            }
        }
        piece /= 2;
    }
    let Run { seed, folder, .. } = run;
    let path = folder.join(format!("{FINDING}{:016x}", outcome(&input)));
    let kept = fs::create_dir_all(folder).and_then(|()| fs::write(&path, &input));
    let kept = kept.map_or_else(|error| error.to_string(), |()| path.display().to_string());
    panic!("{} (seed {seed}): the input {} breaks a promise; kept in {kept}", target.name, shown(&input))
}

fn shown(input: &[u8]) -> String {
    format!("\"{}\" ({} bytes)", input.escape_ascii(), input.len())
}

/// Past the harness's capture, which shows only what failed.
fn report(line: &str) {
    use std::io::Write;
    if env::var_os("TALLY_FUZZ_SECONDS").is_some() {
        let _ = writeln!(std::io::stderr(), "{line}"); // there is nobody else to tell
    }
}

#[cfg(test)]
mod tests {
    use super::{
        End, FILE_BYTES_MAX, FILES_MAX, FINDING, FOLDER_BYTES_MAX, Run, Target, keep, outcome, take,
    };
    use std::panic::catch_unwind;
    use std::path::PathBuf;

    /// Mutated inputs within which the planted bug is found; the seed below took 337.
    const INPUTS_MAX: u64 = 10_000;

    /// A folder of one process, that is gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            Folder(std::env::temp_dir().join(format!("tally-fuzz-{name}-{}", std::process::id())))
        }

        /// Files that are in it.
        fn files(&self) -> usize {
            std::fs::read_dir(&self.0).expect("a folder").count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0); // it may never have been made
        }
    }

    /// Scenario: a target that panics only behind three words in a row, each of which has an outcome of its own.
    /// Guarantees: it is found, from nothing but the words, within as many inputs on each machine: outcomes lead the way. The
    /// finding is made shorter and kept.
    #[test]
    fn a_bug_behind_three_doors_is_found() {
        let target = Target {
            name: "doors",
            seeds: vec![b"GET x".to_vec()],
            words: &["alpha", "beta", "gamma"],
            bytes_max: 64,
        };
        let folder = Folder::new("doors");
        let run = Run { seed: 1, folder: folder.0.clone(), end: End::Inputs(INPUTS_MAX) };
        let found = catch_unwind(|| {
            take(&target, &run, |input| {
                let text = String::from_utf8_lossy(input);
                let doors = ["alpha", "alphabeta", "alphabetagamma"].map(|door| text.contains(door));
                assert!(!doors[2], "the planted bug");
                outcome(&doors)
            });
        });
        let said = found.expect_err("a finding");
        let said = said.downcast_ref::<String>().expect("a sentence");
        assert!(said.contains("alphabetagamma") && said.contains("(14 bytes)"), "shortened: {said}");
        let kept: Vec<_> = std::fs::read_dir(&folder.0).expect("the finding was kept").flatten().collect();
        assert_eq!(kept.len(), 1);
        assert_eq!(std::fs::read(kept[0].path()).expect("it can be read"), b"alphabetagamma");
    }

    /// Scenario: more new inputs than a folder may hold, small ones and large ones; a large finding lies there already.
    /// Guarantees: it takes them up to its bounds and no further; the finding takes no room from them.
    #[test]
    fn kept_inputs_have_bounds() {
        let (many, large) = (Folder::new("many"), Folder::new("large"));
        std::fs::create_dir_all(&many.0).expect("a folder");
        std::fs::write(many.0.join(format!("{FINDING}0")), vec![0; FILE_BYTES_MAX * 100]).expect("a file");
        for number in 0..FILES_MAX + 8 {
            keep(&many.0, &number.to_le_bytes());
            let bytes = [&number.to_le_bytes()[..], &[0_u8; FILE_BYTES_MAX - size_of::<usize>()]].concat();
            keep(&large.0, &bytes);
        }
        assert_eq!(many.files(), FILES_MAX + 1);
        assert_eq!(large.files() as u64, FOLDER_BYTES_MAX / FILE_BYTES_MAX as u64);
        keep(&large.0, &[0; FILE_BYTES_MAX + 1]);
        assert_eq!(large.files() as u64, FOLDER_BYTES_MAX / FILE_BYTES_MAX as u64);
    }
}
