//! Bounds of the feed.

/// Every bound of the feed that an operator may change.
#[derive(Clone, Debug)]
pub struct FeedSettings {
    /// Events held in memory.
    pub ring_events_max: usize,
    /// Bytes of them, about.
    pub ring_bytes_max: usize,
    /// Offsets that one resume may replay from the log; more is a resync.
    pub replay_offsets_max: i64,
    /// Replays from the log at once, one of a subject; others wait their turn.
    pub replays_max: usize,
    /// Connections of one subject.
    pub connections_per_subject_max: usize,
    /// Seconds after which a connection is asked to begin anew; each gets up to 20 % more or less.
    pub max_age_s: u64,
    /// Origins, such as `https://app.example`, beside the service's own from which a browser may open a WebSocket.
    pub origins: Vec<String>,
}

impl Default for FeedSettings {
    fn default() -> FeedSettings {
        FeedSettings {
            ring_events_max: 100_000,
            ring_bytes_max: 128 << 20,
            replay_offsets_max: 5_000_000,
            replays_max: 8,
            connections_per_subject_max: 32,
            max_age_s: 600,
            origins: Vec::new(),
        }
    }
}

/// Heartbeats, milliseconds: as asked for within these.
pub(super) const HEARTBEAT_MS: std::ops::RangeInclusive<u64> = 2_000..=15_000;
/// How long somebody may take to bring a token.
pub(super) const CONNECT_SECONDS_MAX: u64 = 5;
/// Seconds before its token's end at which a client is asked for another.
pub(super) const REAUTH_BEFORE_S: i64 = 60;
/// A blocked reader may have so many frames outstanding,
pub(super) const BEHIND_FRAMES_MAX: u32 = 1_024;
/// so many bytes,
pub(super) const BEHIND_BYTES_MAX: u32 = 1 << 20;
/// or so long without taking anything.
pub(super) const STALL_SECONDS_MAX: u64 = 5;
/// How long a stalled reader may then take to hear why it is let go.
pub(super) const FAREWELL_SECONDS_MAX: u64 = 5;
/// Bytes of one frame of a client.
pub(super) const CLIENT_FRAME_BYTES_MAX: usize = 16 * 1024;
/// Frames that are written before anything else is looked at.
pub(super) const FRAMES_AT_ONCE_MAX: usize = 64;
/// Frames of a client in one second.
pub(super) const CLIENT_FRAMES_PER_SECOND_MAX: u32 = 50;
/// Bytes that an event stream gathers before it writes; the last frame may go beyond.
pub(super) const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes that a WebSocket gathers before it writes.
pub(super) const WRITE_BYTES: usize = 4 * 1024;
/// Bytes that a WebSocket may hold unwritten: the largest event, escaped twice, and more than the bound of a blocked reader.
pub(super) const WRITE_BYTES_MAX: usize = 6 << 20;
/// Bytes that a WebSocket reads at once: clients say little.
pub(super) const READ_BYTES: usize = 1024;
/// Events of one answer to a long poll.
pub(super) const POLL_EVENTS_MAX: usize = 1_000;
/// Seconds that a long poll waits.
pub(super) const POLL_SECONDS_MAX: u64 = 25;
/// Snapshots that are asked of the store at once.
pub(super) const SNAPSHOTS_AT_ONCE_MAX: usize = 4;
/// How long one waits for its turn, milliseconds.
pub(super) const SNAPSHOT_TURN_MS_MAX: u64 = 2_000;
/// Seconds that a long poll waits for the first of what must be read from the log.
pub(super) const POLL_REPLAY_SECONDS_MAX: u64 = 3;
/// Seconds that a replay waits for its turn among others.
pub(super) const REPLAY_TURN_SECONDS_MAX: u64 = 10;
/// How long a replay keeps its turn while its subscriber takes nothing, milliseconds.
pub(super) const REPLAY_STALL_MS_MAX: u64 = 500;
/// Tasks of a snapshot.
pub(super) const SNAPSHOT_TASKS_MAX: u64 = 200;
/// Seconds that the last rows of the delivery ledger may take at an end.
pub(super) const LEDGER_SECONDS_MAX: u64 = 5;
