-- What the gateway must not forget. One file, one process, one writing thread.
--
-- Every page that a commit touches is written whole, so what is under way stands apart from what is only remembered: the tables that
-- each call touches are small, and have no index that it could do without.

-- Requests that are not done, whether somebody runs them or not.
CREATE TABLE IF NOT EXISTS requests (
    id             INTEGER PRIMARY KEY,
    caller         TEXT    NOT NULL,
    key            TEXT    NOT NULL,
    endpoint       TEXT    NOT NULL,
    digest         BLOB    NOT NULL,  -- SHA-256 of the path and the body in its one form
    body           BLOB    NOT NULL,
    trace_id       TEXT,
    role           TEXT    NOT NULL,  -- in which the caller acts, as events name it
    attempts       INTEGER NOT NULL,  -- begun so far, and calls that were refused without one
    refused        INTEGER NOT NULL DEFAULT 0, -- these among them
    open_since_us  INTEGER,           -- an attempt is under way, or was when the process died
    maybe_done     INTEGER NOT NULL DEFAULT 0, -- an attempt may have reached the platform
    next_try_us    INTEGER,           -- to be followed up from then on
    left_us        INTEGER,           -- nothing was done and nothing is to be followed up: since when
    created_us     INTEGER NOT NULL
);
-- Who asks for a move of credits may ask again under its key; the keys of other calls are names that nobody else has.
DROP INDEX IF EXISTS requests_by_key;
CREATE UNIQUE INDEX IF NOT EXISTS requests_of_callers ON requests (caller, key) WHERE endpoint IN ('CREDITS_CHARGE', 'CREDITS_REFUND');
CREATE INDEX IF NOT EXISTS requests_to_follow ON requests (next_try_us) WHERE next_try_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS requests_unresolved ON requests (created_us) WHERE maybe_done;

-- Answers of charges and refunds, for as long as their keys are remembered.
CREATE TABLE IF NOT EXISTS answers (
    caller   TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    digest   BLOB    NOT NULL,
    status   INTEGER NOT NULL,
    answer   BLOB    NOT NULL,
    done_us  INTEGER NOT NULL,
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_by_age ON answers (done_us);

-- How often a call of a key was refused, since the last attempt that was begun, without asking the platform: those have numbers, too.
CREATE TABLE IF NOT EXISTS refusals (
    caller   TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    times    INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,  -- the last time
    PRIMARY KEY (caller, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS refusals_by_age ON refusals (at_us);

-- Events on their way to Kafka, in the order in which they happened.
CREATE TABLE IF NOT EXISTS outbox (
    contract    TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    key         TEXT    NOT NULL,
    value       BLOB    NOT NULL,
    created_us  INTEGER NOT NULL,
    PRIMARY KEY (contract, seq)
) WITHOUT ROWID;

-- Flows: the state of each, what it does next, and when.
CREATE TABLE IF NOT EXISTS flows (
    id          TEXT    PRIMARY KEY,
    kind        TEXT    NOT NULL,
    caller      TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    version     INTEGER NOT NULL,  -- rises by one with each step
    data        BLOB    NOT NULL,
    due_us      INTEGER,           -- something is to be done from then on
    updated_us  INTEGER NOT NULL,
    busy_us     INTEGER,           -- under way since then: it neither waits for a command or a time nor has it ended
    ended_us    INTEGER            -- it has ended
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS flows_due ON flows (due_us) WHERE due_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS flows_busy ON flows (busy_us) WHERE busy_us IS NOT NULL;
-- Those that a clock has put off are looked for as often as those that are due.
CREATE INDEX IF NOT EXISTS flows_ahead ON flows (due_us) WHERE busy_us IS NOT NULL;
CREATE INDEX IF NOT EXISTS flows_ended ON flows (ended_us) WHERE ended_us IS NOT NULL;
-- How many are in each state is asked at the start: without reading what belongs to them.
CREATE INDEX IF NOT EXISTS flows_by_state ON flows (kind, state);
