//! What every panel says of a small store, against values worked out by hand from the definitions of the figures.

use super::platform::tables;
use std::collections::BTreeSet;
use tally_dashboards::identity::Role;
use tally_dashboards::panel::{Unit, panel, panels};
use tally_tests::service::Service;

/// Three hours of one day, an hour a stretch.
const RANGE: &str = "from=2026-07-06T10:00:00Z&to=2026-07-06T13:00:00Z";
const HOUR_S: i64 = 3_600;
/// The midnight before, by `date -u -d 2026-07-06 +%s`, microseconds.
const MIDNIGHT_US: i64 = 1_783_296_000_000_000;

/// Panels whose values other tests hold against rows of theirs: each id stands in that file.
const ELSEWHERE: [(&str, &[&str]); 2] = [
    (
        include_str!("panels.rs"),
        &[
            "licences",
            "refused-checks",
            "licence-events",
            "grantee-tasks",
            "my-wallet",
            "my-spending",
            "my-prompts",
            "ingest-lag",
            "verdicts",
        ],
    ),
    (include_str!("../audit_jobs/pooled.rs"), &["estimate-accuracy", "estimate-errors"]),
];

/// Customers' tasks, and one of a test; each event is appended when it occurs.
/// - v-1 waits 5 min in the normal queue; v-2 is offered acceleration, takes it and waits an hour; v-3 waits a minute in the accelerated
///   queue; v-4 is offered acceleration and waits on; v-5 is offered it and cancelled.
const TASKS: [(&str, &str, &str, &str, u8); 20] = [
    ("10:00:00", "v-1", "SUBMITTED", "NORMAL", 1),
    ("10:00:10", "v-1", "QUEUED", "NORMAL", 2),
    ("10:05:10", "v-1", "STARTED", "NORMAL", 3),
    ("10:30:00", "v-1", "SUCCEEDED", "NORMAL", 4),
    ("10:10:00", "v-2", "SUBMITTED", "NORMAL", 1),
    ("10:10:00", "v-2", "QUEUED", "NORMAL", 2),
    ("10:11:00", "v-2", "ACCELERATION_OFFERED", "NORMAL", 3),
    ("10:12:00", "v-2", "ACCELERATED", "ACCELERATED", 4),
    ("11:10:00", "v-2", "STARTED", "ACCELERATED", 5),
    ("11:20:00", "v-2", "FAILED", "ACCELERATED", 6),
    ("11:00:00", "v-3", "SUBMITTED", "ACCELERATED", 1),
    ("11:00:00", "v-3", "QUEUED", "ACCELERATED", 2),
    ("11:01:00", "v-3", "STARTED", "ACCELERATED", 3),
    ("11:30:00", "v-3", "SUCCEEDED", "ACCELERATED", 4),
    ("11:30:00", "v-4", "SUBMITTED", "NORMAL", 1),
    ("11:31:00", "v-4", "ACCELERATION_OFFERED", "NORMAL", 2),
    ("12:10:00", "v-5", "SUBMITTED", "NORMAL", 1),
    ("12:15:00", "v-5", "ACCELERATION_OFFERED", "NORMAL", 2),
    ("12:20:00", "v-5", "CANCELLED", "NORMAL", 3),
    ("11:40:00", "v-test", "SUCCEEDED", "NORMAL", 1),
];

/// Moment, task, kind, micros, price and currency, interface with outcome and status.
type Money = (&'static str, &'static str, &'static str, i64, &'static str, &'static str);
const MONEY: [Money; 17] = [
    ("10:00", "", "PURCHASED", 10_000_000, "2000, 'EUR'", "'', '', NULL"),
    ("11:00", "", "PURCHASED", 5_000_000, "500, 'JPY'", "'', '', NULL"),
    ("11:10", "", "REFUNDED", 2_000_000, "400, 'EUR'", "'', '', NULL"),
    ("10:20", "v-1", "CHARGED", 3_000_000, "NULL, ''", "'CREDITS_CHARGE', 'OK', 200"),
    ("11:20", "v-2", "SUPPLEMENT_REQUESTED", 500_000, "NULL, ''", "'', '', NULL"),
    ("11:25", "v-2", "SUPPLEMENT_CHARGED", 500_000, "NULL, ''", "'', '', NULL"),
    ("12:00", "v-3", "SUPPLEMENT_REQUESTED", 500_000, "NULL, ''", "'', '', NULL"),
    ("12:05", "v-3", "SUPPLEMENT_DECLINED", 500_000, "NULL, ''", "'', '', NULL"),
    ("12:10", "v-4", "SUPPLEMENT_REQUESTED", 500_000, "NULL, ''", "'', '', NULL"),
    ("12:15", "v-1", "SUPPLEMENT_REQUESTED", 500_000, "NULL, ''", "'', '', NULL"),
    ("12:16", "v-1", "SUPPLEMENT_DECLINED", 500_000, "NULL, ''", "'', '', NULL"),
    ("12:20", "v-5", "SUPPLEMENT_REQUESTED", 500_000, "NULL, ''", "'', '', NULL"),
    ("12:21", "v-6", "SUPPLEMENT_REQUESTED", 500_000, "NULL, ''", "'', '', NULL"),
    ("12:30", "v-2", "REFUNDED", 1_000_000, "NULL, ''", "'', '', NULL"),
    ("10:40", "v-1", "ATTEMPTED", 0, "NULL, ''", "'CREDITS_CHARGE', 'ERROR', 503"),
    ("11:40", "v-1", "ATTEMPTED", 0, "NULL, ''", "'CREDITS_CHARGE', 'ERROR', 429"),
    ("11:41", "v-1", "ATTEMPTED", 0, "NULL, ''", "'CREDITS_ESTIMATE', 'TIMEOUT', NULL"),
];

/// Two cases decided in time, one late, two that are overdue, and one that is not due.
const CASES: [(&str, &str, &str, &str, &str, &str); 9] = [
    ("10:00", "k-1", "REPORTED", "COPYRIGHT", "HIGH", "'2026-07-06 12:00:00'"),
    ("10:30", "k-1", "DECIDED", "COPYRIGHT", "HIGH", "NULL"),
    ("10:10", "k-2", "REPORTED", "COPYRIGHT", "LOW", "'2026-07-06 10:20:00'"),
    ("11:00", "k-2", "DECIDED", "COPYRIGHT", "LOW", "NULL"),
    ("11:10", "k-3", "REPORTED", "PRIVACY", "LOW", "'2026-07-06 11:30:00'"),
    ("12:00", "k-4", "REPORTED", "COPYRIGHT", "HIGH", "'2026-07-06 12:30:00'"),
    ("12:10", "k-4", "DECIDED", "COPYRIGHT", "HIGH", "NULL"),
    ("11:20", "k-5", "REPORTED", "PRIVACY", "LOW", "'2026-07-06 11:40:00'"),
    ("11:25", "k-6", "REPORTED", "PRIVACY", "LOW", "'2026-07-07 11:40:00'"),
];

/// Receipts, gaps and looks at Kafka; dead letters; seals and verifications; results. Offset 3 of task events is a hole, and two are to be
/// taken; of credit events two offsets hold no record. What lies at 14:00 is after the range.
const LEDGER: &str = "
INSERT INTO audit_log (topic, topic_id, partition, offset, appended_at, disposition, event_id, digest) VALUES
('task-events', '00000000-0000-4000-8000-000000000001', 0, 0, '2026-07-06 10:00:00', 'ACCEPTED', '00000000-0000-7000-8000-000000000901', repeat('a', 32)),
('task-events', '00000000-0000-4000-8000-000000000001', 0, 1, '2026-07-06 10:01:00', 'ACCEPTED', '00000000-0000-7000-8000-000000000901', repeat('a', 32)),
('task-events', '00000000-0000-4000-8000-000000000001', 0, 2, '2026-07-06 10:15:00', 'DEAD', '00000000-0000-0000-0000-000000000000', repeat('0', 32)),
('task-events', '00000000-0000-4000-8000-000000000001', 0, 4, '2026-07-06 11:00:00', 'ACCEPTED', '00000000-0000-7000-8000-000000000902', repeat('b', 32)),
('task-events', '00000000-0000-4000-8000-000000000001', 0, 5, '2026-07-06 14:00:00', 'ACCEPTED', '00000000-0000-7000-8000-000000000903', repeat('c', 32)),
('credit-events', '00000000-0000-4000-8000-000000000002', 0, 0, '2026-07-06 11:05:00', 'ACCEPTED', '00000000-0000-7000-8000-000000000904', repeat('d', 32));
INSERT INTO gaps (topic, topic_id, partition, first, next, kind) VALUES
('credit-events', '00000000-0000-4000-8000-000000000002', 0, 1, 2, 'ABSENT'),
('credit-events', '00000000-0000-4000-8000-000000000002', 0, 2, 3, 'EXPIRED');
INSERT INTO partition_heads (topic, topic_id, partition, low, high, taken, seen_at, ended) VALUES
('task-events', '00000000-0000-4000-8000-000000000001', 0, 0, 8, 6, '2026-07-06 15:00:00', false),
('credit-events', '00000000-0000-4000-8000-000000000002', 0, 0, 3, 3, '2026-07-06 15:00:00', false);
INSERT INTO dead_letters (topic, topic_id, partition, offset, appended_at, reason, value, replay_attempt) VALUES
('task-events', '00000000-0000-4000-8000-000000000001', 0, 2, '2026-07-06 10:15:00', 'amount', 'a', 0),
('task-events', '00000000-0000-4000-8000-000000000001', 0, 3, '2026-07-06 11:15:00', 'amount', 'b', 1),
('credit-events', '00000000-0000-4000-8000-000000000002', 0, 9, '2026-07-06 11:45:00', 'wrong_topic', 'c', 0),
('credit-events', '00000000-0000-4000-8000-000000000002', 0, 8, '2026-07-06 13:00:00', 'wrong_topic', 'd', 0);
INSERT INTO seals (origin, leaves, root, key_name, sealed_at, checkpoint, heads) VALUES
('log.test', 5, unhex(repeat('ab', 32)), 'log.test+1', '2026-07-06 09:30:00', 'note', 'heads'),
('log.test', 9, unhex(repeat('cd', 32)), 'log.test+1', '2026-07-06 14:00:00', 'note', 'heads');
INSERT INTO verifications (verification_id, verified_at, verdict, scope, against_kafka, leaves, facts, unsealed, findings, signers, report) VALUES
('00000000-0000-4000-8000-000000000911', '2026-07-06 09:00:00', 'VERIFIED', 'all', true, 5, 4, 1, 0, 'log.test', '{}'),
('00000000-0000-4000-8000-000000000912', '2026-07-06 10:00:00', 'TAMPERED', 'task v-1', false, 4, 3, 0, 2, 'log.test', '{}'),
('00000000-0000-4000-8000-000000000913', '2026-07-06 14:00:00', 'VERIFIED', 'all', false, 9, 8, 0, 0, 'log.test', '{}');
INSERT INTO job_results (job, window_from, window_to, known_at, result_id, restates, verdict, sentence, numerator, denominator, report) VALUES
('completeness', '2026-07-06 09:00:00', '2026-07-06 10:00:00', '2026-07-06 11:15:00', '00000000-0000-4000-8000-000000000921', '00000000-0000-0000-0000-000000000000', 'FAIL', '1 of 2', 1, 2, '{}'),
('completeness', '2026-07-06 09:00:00', '2026-07-06 10:00:00', '2026-07-06 12:15:00', '00000000-0000-4000-8000-000000000922', '00000000-0000-4000-8000-000000000921', 'PASS', '2 of 2', 2, 2, '{}'),
('completeness', '2026-07-06 10:00:00', '2026-07-06 11:00:00', '2026-07-06 14:00:00', '00000000-0000-4000-8000-000000000923', '00000000-0000-0000-0000-000000000000', 'PASS', '3 of 3', 3, 3, '{}'),
('repurchase', '2026-07-06 08:00:00', '2026-07-06 09:00:00', '2026-07-06 09:50:00', '00000000-0000-4000-8000-000000000924', '00000000-0000-0000-0000-000000000000', 'WARN', 'met', 56, 16, '{\"measures\":[{\"name\":\"came back in the launch week\",\"numerator\":7,\"denominator\":16,\"bounds\":[0.25,0.75]},{\"name\":\"came back in the four weeks before\",\"numerator\":1,\"denominator\":8,\"bounds\":[0.0625,0.5]},{\"name\":\"launch ÷ baseline\",\"numerator\":56,\"denominator\":16,\"bounds\":[0.5,20.5],\"target\":{\"rule\":\"at_least\",\"permille\":1250},\"needed\":120},{\"name\":\"launch − baseline\",\"numerator\":40,\"denominator\":128,\"bounds\":[-0.125,0.625]}]}'),
('repurchase', '2026-07-06 07:00:00', '2026-07-06 08:00:00', '2026-07-06 12:00:00', '00000000-0000-4000-8000-000000000925', '00000000-0000-0000-0000-000000000000', 'FAIL', 'an older window, said later', 0, 0, '{\"measures\":[{\"name\":\"launch ÷ baseline\",\"numerator\":1,\"denominator\":2}]}'),
('repurchase', '2026-07-06 09:00:00', '2026-07-06 10:00:00', '2026-07-06 12:30:00', '00000000-0000-4000-8000-000000000926', '00000000-0000-0000-0000-000000000000', 'ERROR', 'Could not be checked: no.', 0, 0, '{}')
";

/// A panel, some of its columns, and the rows in those; a moment is shown as its hour and minute of the day.
type Expected = (&'static str, &'static str, &'static [&'static str]);

/// What tasks do: worked out from `TASKS`.
const OF_TASKS: [Expected; 7] = [
    // NORMAL: v-4 waits since 11:30, so for an hour and a half at 13:00
    (
        "queues",
        "queue depth started wait_p50_us wait_p95_us wait_max_us waiting_p50_us",
        &[
            "ACCELERATED 0 2 60000000 3600000000 3600000000 0",
            "NORMAL 1 1 300000000 300000000 300000000 5400000000",
        ],
    ),
    (
        "queue-wait",
        "at_us queue started wait_p95_us",
        &["10:00 NORMAL 1 300000000", "11:00 ACCELERATED 2 3600000000"],
    ),
    // at the end of each stretch: v-2 waits from 10:10 to 11:10, v-4 from 11:30 on
    (
        "queue-depth",
        "at_us queue depth",
        &[
            "10:00 ACCELERATED 1",
            "10:00 NORMAL 0",
            "11:00 ACCELERATED 0",
            "11:00 NORMAL 1",
            "12:00 ACCELERATED 0",
            "12:00 NORMAL 1",
        ],
    ),
    (
        "task-success",
        "queue terminal succeeded failed cancelled rolled_back rate",
        &["ACCELERATED 2 1 1 0 0 0.5", "NORMAL 2 1 0 1 0 0.5"],
    ),
    (
        "task-success-over-time",
        "at_us queue terminal succeeded rate",
        &["10:00 NORMAL 1 1 1", "11:00 ACCELERATED 2 1 0.5", "12:00 NORMAL 1 0 0"],
    ),
    ("acceleration", "tasks offered accelerated share", &["5 3 2 0.4"]),
    (
        "acceleration-over-time",
        "at_us tasks accelerated share",
        &["10:00 2 1 0.5", "11:00 2 1 0.5", "12:00 1 0 0"],
    ),
];

/// What money and interfaces do: worked out from `MONEY`. Wilson's bounds of 1 of 1 and of 1 of 2 by the formula.
const OF_MONEY: [Expected; 8] = [
    (
        "revenue",
        "currency orders purchased_minor refunded_minor net_minor refund_share",
        &["EUR 1 2000 400 1600 0.2", "JPY 1 500 0 500 0"],
    ),
    (
        "revenue-over-time",
        "at_us currency orders net_minor",
        &["10:00 EUR 1 2000", "11:00 EUR 0 -400", "11:00 JPY 1 500"],
    ),
    (
        "credits",
        "charged_micros supplements_micros refunded_micros net_micros",
        &["3000000 500000 3000000 500000"],
    ),
    ("credits-over-time", "at_us net_micros", &["10:00 3000000", "11:00 -1500000", "12:00 -1000000"]),
    ("supplements", "requested accepted declined unanswered share", &["6 1 2 3 0.16666666666666666"]),
    ("supplements-over-time", "at_us requested accepted share", &["11:00 1 1 1", "12:00 5 0 0"]),
    (
        "endpoint-errors",
        "endpoint attempts errors timeouts rate_limited rate low high",
        &["CREDITS_CHARGE 2 1 0 1 0.5 0.094531 0.905469", "CREDITS_ESTIMATE 1 1 1 0 1 0.206549 1.000000"],
    ),
    (
        "endpoint-errors-over-time",
        "at_us endpoint attempts errors rate",
        &["10:00 CREDITS_CHARGE 2 1 0.5", "11:00 CREDITS_CHARGE 0 0 -", "11:00 CREDITS_ESTIMATE 1 1 1"],
    ),
];

const OF_CASES: [Expected; 3] = [
    (
        "cases-by-risk",
        "risk cases open in_time late overdue without_due share",
        &["HIGH 2 0 2 0 0 0 1", "LOW 4 3 0 1 2 0 0"],
    ),
    (
        "cases-by-tag",
        "tag cases open in_time late overdue without_due share",
        &["COPYRIGHT 3 0 2 1 0 0 0.6666666666666666", "PRIVACY 3 3 0 0 2 0 0"],
    ),
    (
        "cases-over-time",
        "at_us step cases",
        &[
            "10:00 DECIDED 1",
            "10:00 OPENED 2",
            "11:00 DECIDED 1",
            "11:00 OPENED 3",
            "12:00 DECIDED 1",
            "12:00 OPENED 1",
        ],
    ),
];

const OF_THE_LEDGER: [Expected; 8] = [
    ("ledger", "topic accepted dead dead_share", &["credit-events 1 0 0", "task-events 3 1 0.25"]),
    (
        "events-over-time",
        "at_us topic accepted dead",
        &["10:00 task-events 2 1", "11:00 credit-events 1 0", "11:00 task-events 1 0"],
    ),
    // of all time: offset 5 of task events is at 14:00
    (
        "tiling",
        "topic partition first next accepted dead absent expired holes overlaps untaken seen_at",
        &["credit-events 0 0 3 1 0 2 1 0 0 0 15:00", "task-events 0 0 6 4 1 0 0 1 0 2 15:00"],
    ),
    ("dead-reasons", "reason letters replays last_us", &["amount 2 1 11:15", "wrong_topic 1 0 11:45"]),
    (
        "dead-over-time",
        "at_us topic letters",
        &["10:00 task-events 1", "11:00 credit-events 1", "11:00 task-events 1"],
    ),
    (
        "seals",
        "sealed_us leaves key_name root origin",
        &["09:30 5 log.test+1 abababababababababababababababababababababababababababababababab log.test"],
    ),
    (
        "verifications",
        "verified_us verdict scope against_kafka leaves facts unsealed findings signers",
        &["10:00 TAMPERED task v-1 no 4 3 0 2 log.test", "09:00 VERIFIED all yes 5 4 1 0 log.test"],
    ),
    (
        "verdicts-over-time",
        "job verdict numerator denominator share from_us to_us known_us",
        &[
            "completeness FAIL 1 2 0.5 09:00 10:00 11:15",
            "completeness PASS 2 2 1 09:00 10:00 12:15",
            "repurchase ERROR 0 0 - 09:00 10:00 12:30",
            "repurchase FAIL 0 0 - 07:00 08:00 12:00",
        ],
    ),
];

/// Of the newest window that could be checked, whatever was said later of another.
const OF_A_LAUNCH: [Expected; 3] = [
    (
        "repurchase",
        "period numerator denominator rate low high window_to_us known_us",
        &["BASELINE 1 8 0.125 0.0625 0.5 09:00 09:50", "LAUNCH 7 16 0.4375 0.25 0.75 09:00 09:50"],
    ),
    ("launch-effect", "reading effect low high target needed", &["RELATIVE 3.5 0.5 20.5 1.25 120"]),
    ("launch-difference", "reading effect low high", &["ABSOLUTE 0.3125 -0.125 0.625"]),
];

fn written() -> tally_tests::Database<'static> {
    let database = tables();
    for (number, (at, task, kind, queue, version)) in TASKS.iter().enumerate() {
        let (at, audience) =
            (format!("2026-07-06 {at}"), if *task == "v-test" { "TEST" } else { "CUSTOMER" });
        database.query(&format!("INSERT INTO task_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, task_id, kind, queue, state_version, audience, topic, offset) VALUES
            (generateUUIDv4(), '{at}', '{at}', 's', 'BILLING', 'SERVICE', '{task}', '{kind}', '{queue}', {version}, '{audience}', 'task-events', {number})"));
    }
    for (number, (at, task, kind, micros, price, call)) in MONEY.iter().enumerate() {
        let at = format!("2026-07-06 {at}:00");
        database.query(&format!("INSERT INTO credit_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, task_id, kind, amount_micros, price_minor, currency, endpoint, outcome, http_status, audience, topic, offset) VALUES
            (generateUUIDv4(), '{at}', '{at}', 'b', 'BILLING', 'SERVICE', '{task}', '{kind}', {micros}, {price}, {call}, 'CUSTOMER', 'credit-events', {number})"));
    }
    for (number, (at, case, kind, tag, risk, due)) in CASES.iter().enumerate() {
        let at = format!("2026-07-06 {at}:00");
        database.query(&format!("INSERT INTO moderation_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, case_id, kind, risk_level, sla_due_at, topic, offset) VALUES
            (generateUUIDv4(), '{at}', '{at}', 'm', '{tag}', 'SERVICE', '{case}', '{kind}', '{risk}', {due}, 'moderation-events', {number})"));
    }
    for statement in LEDGER.split(";\n").map(str::trim) {
        database.query(statement);
    }
    database
}

/// Scenario: a store of three hours that is small enough to be worked out by hand, and every panel that no other test asks by value.
/// Guarantees: each row and each value of it is what the definitions make of the rows; a panel that nobody holds against values fails here.
#[test]
fn every_panel_says_what_the_rows_add_up_to() {
    let database = written();
    let service = Service::start(&database, &["--requests-burst-max", "1000"]);
    let expected =
        OF_TASKS.iter().chain(&OF_MONEY).chain(&OF_CASES).chain(&OF_THE_LEDGER).chain(&OF_A_LAUNCH);
    let mut asked: BTreeSet<&str> = BTreeSet::new();
    let mut wrong = Vec::new();
    for (id, columns, rows) in expected {
        asked.insert(id);
        let seen = said(&service, id, columns);
        let mut rows: Vec<String> = rows.iter().map(|row| (*row).to_owned()).collect();
        rows.sort();
        if seen != rows {
            wrong.push(format!("{id} ({columns})\n  said     {seen:?}\n  expected {rows:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (file, ids) in ELSEWHERE {
        for id in ids {
            assert!(file.contains(&format!("\"{id}\"")), "{id} is asked nowhere");
            assert!(asked.insert(id), "{id} twice");
        }
    }
    let all: BTreeSet<&str> = panels().iter().map(|panel| panel.id.as_str()).collect();
    assert_eq!(all, asked, "a panel whose values nobody holds against anything, or one that is gone");
}

/// Scenario: a page whose panels rest on the same parts, and each of its panels asked alone of another service over the same store.
/// Guarantees: those that share a part are one question, and each says, row by row in the same order, what it says alone.
#[test]
fn panels_of_a_page_say_together_what_they_say_alone() {
    let database = written();
    let flags = ["--requests-burst-max", "1000", "--log", "info,tally_dashboards=debug"];
    let (together, alone) = (Service::start(&database, &flags), Service::start(&database, &flags));
    let asked = |service: &Service, id: &str| {
        let answer = service.get(&format!("/api/v1/panels/{id}?{RANGE}"), &service.token(Role::Admin, "ops"));
        assert_eq!(answer.status, 200, "{id}: {}", answer.body);
        answer.json()["rows"].clone()
    };
    let counted = |service: &Service, what: &str, of: &str| {
        let log = service.tally.stderr();
        log.lines().filter(|line| line.contains(what) && line.contains(&format!("\"{of}\""))).count()
    };
    let of_page = |page: &str, shared: &[(&str, &[&str])]| {
        let cookie = format!("__Host-tally={}", together.token(Role::Admin, "ops"));
        let headers = [("cookie", cookie.as_str()), ("accept", "text/html")];
        let alone_so_far = || -> usize {
            let ids = shared.iter().flat_map(|(_, ids)| *ids);
            ids.map(|id| counted(&together, "asked alone", id)).sum()
        };
        let before = alone_so_far();
        let shown = together.get_with(&format!("/{page}?{RANGE}"), "", &headers);
        assert!(shown.status == 200 && !shown.body.contains("class=\"unanswered\""), "{}", shown.body);
        // from memory, as the page has just shown it
        let said: Vec<_> =
            shared.iter().flat_map(|(_, ids)| *ids).map(|id| (*id, asked(&together, id))).collect();
        for (part, _) in shared {
            assert!(counted(&together, "asked together", part) > 0, "{part}: {}", together.tally.stderr());
        }
        if alone_so_far() > before {
            return false; // what the page has shown was no longer fresh: this machine is slow just now
        }
        for (id, rows) in said {
            assert_eq!(rows, asked(&alone, id), "{id}");
        }
        true
    };
    let overview: [(&str, &[&str]); 4] = [
        ("money", &["revenue", "revenue-over-time", "credits", "credits-over-time"]),
        ("attempts", &["endpoint-errors", "endpoint-errors-over-time"]),
        ("task_ends", &["task-success", "task-success-over-time"]),
        ("task_waits", &["queues", "queue-depth", "queue-wait"]),
    ];
    let product: [(&str, &[&str]); 2] = [
        ("supplements", &["supplements", "supplements-over-time"]),
        ("accelerations", &["acceleration", "acceleration-over-time"]),
    ];
    assert!((0..9).any(|_| of_page("product", &product)), "{}", together.tally.stderr());
    assert!((0..9).any(|_| of_page("overview", &overview)), "{}", together.tally.stderr());
}

/// The rows of a panel, sorted.
fn said(service: &Service, id: &str, columns: &str) -> Vec<String> {
    let panel = panel(id).unwrap_or_else(|| panic!("no panel {id}"));
    let step = if panel.step_us_min.is_some() { format!("&step={HOUR_S}") } else { String::new() };
    let role = panel.roles.iter().find(|role| [Role::Admin, Role::Moderator].contains(role));
    let token = service.token(*role.expect("somebody sees all"), "ops");
    let answer = service.get(&format!("/api/v1/panels/{id}?{RANGE}{step}"), &token);
    assert_eq!(answer.status, 200, "{id}: {}", answer.body);
    let at = columns.split(' ').map(|name| panel.column(name).unwrap_or_else(|| panic!("{id}: {name}")));
    let at: Vec<usize> = at.collect();
    let row = |row: &serde_json::Value| {
        let cell = |at: &usize| match (row[*at].as_str(), panel.columns[*at].unit) {
            (Some(text), Unit::TimeUs) => minute(text.parse().expect("microseconds")),
            (text, _) => text.unwrap_or("-").to_owned(),
        };
        at.iter().map(cell).collect::<Vec<_>>().join(" ")
    };
    let mut rows: Vec<String> = answer.json()["rows"].as_array().expect("rows").iter().map(row).collect();
    rows.sort();
    rows
}

/// Hour and minute of the day.
fn minute(us: i64) -> String {
    let seconds = (us - MIDNIGHT_US) / 1_000_000;
    format!("{:02}:{:02}", seconds / 3_600, seconds / 60 % 60)
}
