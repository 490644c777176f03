//! The truth of one run of the simulated platform as a file: what an audit of the same events must find.
//!
//! One JSON object. `format` is 1; fields are only ever added. Times are microseconds since 1970 UTC where a name ends
//! in `_us`, milliseconds where it ends in `_ms`; credits are micros, prices minor units; shares are pairs of integers.
//! `platform` are the figures of [`Truth`], `records` says what Kafka was given, and `repurchase` is METRICS 4 for a
//! launch seven days before the last event; for any other launch it follows from `platform.order_events`.

use crate::simulate::Sent;
use crate::simulator::{Expect, Repurchase, Truth};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The folder in a demo's data folder that has one file for each run.
pub const FOLDER: &str = "truth";
/// An event whose time differs by more from its record's is skewed (METRICS, common rules).
const SKEW_MICROS: u64 = 300_000_000;
/// From the launch that `repurchase` is about to the last event.
const LAUNCH_BEFORE_END: i64 = 7 * 86_400_000_000;

/// What one run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthFile {
    /// 1.
    pub format: u32,
    /// The seed of the run.
    pub seed: u64,
    /// When the platform opened; earlier events are its past.
    pub opened_at_us: i64,
    /// What Kafka was given.
    pub records: Records,
    /// For a launch seven days before the last accepted event.
    pub repurchase: Repurchase,
    /// The figures.
    pub platform: Truth,
    /// Who was connected to the realtime feed from before the first event to after the last, and acknowledged all of it.
    #[serde(default)]
    pub subscribers: Vec<FeedSubscriber>,
}

/// Somebody who followed the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedSubscriber {
    /// As claim `role` of an access token says it.
    pub role: String,
    /// Claim `sub`.
    pub subject: String,
}

/// Records by what is to become of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// Events in order, each for the first time.
    pub accepted: u64,
    /// Repetitions of these.
    pub duplicates: u64,
    /// Invalid events.
    pub dead: u64,
    /// Of `accepted`, those whose `occurred_at` is more than 5 minutes from the record's timestamp.
    pub accepted_skewed: u64,
    /// The same of `duplicates`.
    pub duplicates_skewed: u64,
    /// The earliest timestamp of a record; 0 where there is none.
    pub first_record_ms: i64,
    /// The latest.
    pub last_record_ms: i64,
}

impl TruthFile {
    /// Of a run with this seed that opened then, emitted what `platform` says and had all of it acknowledged as `sent`.
    pub fn of(seed: u64, opened_at_us: i64, platform: Truth, sent: &[Sent]) -> TruthFile {
        let launch_us = platform.last_occurred_at - LAUNCH_BEFORE_END;
        TruthFile {
            format: 1,
            seed,
            opened_at_us,
            records: Records::of(sent),
            repurchase: Repurchase::of(&platform.order_events, launch_us),
            platform,
            subscribers: Vec::new(),
        }
    }

    /// Writes it into a folder, which is made, under a name that sorts by the time of opening. Returns the path.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_into(&self, folder: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{}-{}.json", self.opened_at_us, self.seed));
        self.write(&path)?;
        Ok(path)
    }

    /// Writes it to a file, as a whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension("json.unfinished");
        std::fs::write(&unfinished, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(&unfinished, path)
    }
}

impl Records {
    fn of(sent: &[Sent]) -> Records {
        let mut records = Records::default();
        for one in sent {
            let skewed = u64::from(one.event_at.abs_diff(one.record_at_ms * 1_000) > SKEW_MICROS);
            match one.expect {
                Expect::Accept => {
                    records.accepted += 1;
                    records.accepted_skewed += skewed;
                }
                Expect::Duplicate => {
                    records.duplicates += 1;
                    records.duplicates_skewed += skewed;
                }
                Expect::Dead(_) => records.dead += 1,
            }
        }
        let times = || sent.iter().map(|one| one.record_at_ms);
        records.first_record_ms = times().min().unwrap_or_default();
        records.last_record_ms = times().max().unwrap_or_default();
        records
    }
}

#[cfg(test)]
mod tests {
    use super::{Records, TruthFile};
    use crate::simulate::Sent;
    use crate::simulator::{Config, Expect, Simulator};
    use tally_schemas::Topic;
    use uuid::Uuid;

    fn sent(expect: Expect, event_at: i64, record_at_ms: i64) -> Sent {
        Sent {
            topic: Topic::Task,
            partition: 0,
            offset: 0,
            event_id: Uuid::nil(),
            expect,
            event_at,
            record_at_ms,
        }
    }

    /// Scenario: records five minutes from their event's time to the millisecond, a millisecond more, before and after.
    /// Guarantees: five minutes are no skew, more is, in both directions; dead letters have none.
    #[test]
    fn skew_begins_beyond_five_minutes() {
        let minute_ms = 60_000;
        let all = [
            sent(Expect::Accept, 1_000_000_000, 1_000_000 + 5 * minute_ms),
            sent(Expect::Accept, 1_000_000_000, 1_000_001 + 5 * minute_ms),
            sent(Expect::Accept, 1_000_000_000, 999_999 - 5 * minute_ms),
            sent(Expect::Duplicate, 1_000_000_000, 1_000_000 + 6 * minute_ms),
            sent(Expect::Dead("body"), 1_000_000_000, 1_000_000 + 9 * minute_ms),
        ];
        let expected = Records {
            accepted: 3,
            duplicates: 1,
            dead: 1,
            accepted_skewed: 2,
            duplicates_skewed: 1,
            first_record_ms: 999_999 - 5 * minute_ms,
            last_record_ms: 1_000_000 + 9 * minute_ms,
        };
        assert_eq!(Records::of(&all), expected);
    }

    /// Scenario: the truth of a small run is written into a folder that is not there yet, and read again.
    /// Guarantees: nothing is lost, and nothing else is left in the folder.
    #[test]
    fn a_truth_file_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut simulator = Simulator::new(Config { past_wallets: 20, ..Config::seeded(5) });
        (0..2_000).for_each(|_| drop(simulator.next()));
        let file = TruthFile::of(5, simulator.opens_at(), simulator.truth(), &[]);
        let path = file.write_into(&folder.path().join("truth")).expect("it can be written");
        let text = std::fs::read(&path).expect("it can be read");
        assert_eq!(serde_json::from_slice::<TruthFile>(&text).expect("JSON"), file);
        let left = std::fs::read_dir(path.parent().expect("a folder")).expect("a folder").count();
        assert_eq!(left, 1);
        assert!(file.platform.order_events.len() > 40, "{}", file.platform.order_events.len());
    }
}
