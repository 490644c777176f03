-- What the gateway must not forget. One file, one process, one writing thread.

-- Requests. A charge or refund stays for the time that its key is remembered; other calls only while they are under way.
CREATE TABLE IF NOT EXISTS requests (
    id             INTEGER PRIMARY KEY,
    caller         TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    endpoint       TEXT    NOT NULL,
    digest         BLOB    NOT NULL,  -- SHA-256 of the path and the body in its one form
    body           BLOB    NOT NULL,
    trace_id       TEXT,
    role           TEXT    NOT NULL,  -- in which the caller acts, as events name it
    attempts       INTEGER NOT NULL,  -- begun so far
    open_since_us  INTEGER,           -- an attempt is under way, or was when the process died
    maybe_done     INTEGER NOT NULL DEFAULT 0, -- an attempt may have reached the platform
    next_try_us    INTEGER,           -- to be followed up from then on
    created_us     INTEGER NOT NULL,
    done_us        INTEGER,           -- answered, or left without anything to follow up
    status         INTEGER,           -- of the answer, once there is one for good
    answer         BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS requests_by_key ON requests (caller, key);
CREATE INDEX IF NOT EXISTS requests_to_follow ON requests (next_try_us) WHERE next_try_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS requests_unfinished ON requests (id) WHERE status IS NULL;
CREATE INDEX IF NOT EXISTS requests_unresolved ON requests (id) WHERE status IS NULL AND maybe_done;
CREATE INDEX IF NOT EXISTS requests_done ON requests (done_us) WHERE done_us IS NOT NULL;

-- Events on their way to Kafka, in the order in which they happened.
CREATE TABLE IF NOT EXISTS outbox (
    seq         INTEGER PRIMARY KEY,
    contract    TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    value       BLOB    NOT NULL,
    created_us  INTEGER NOT NULL
);

-- Flows: the state of each, what it does next, and when.
CREATE TABLE IF NOT EXISTS flows (
    id          TEXT    PRIMARY KEY,
    kind        TEXT    NOT NULL,
    caller      TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    version     INTEGER NOT NULL,  -- rises by one with each step
    data        BLOB    NOT NULL,
    due_us      INTEGER,           -- something is to be done from then on
    updated_us  INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS flows_due ON flows (due_us) WHERE due_us IS NOT NULL;
-- How many are in each state is asked every second: without reading what belongs to them.
CREATE INDEX IF NOT EXISTS flows_by_state ON flows (kind, state);
