//! Panels × roles × ownership, against a real store.

use super::platform::platform;
use std::collections::BTreeSet;
use tally_dashboards::identity::Role;
use tally_dashboards::panel::{panel, panels};
use tally_tests::service::Service;

/// The day of the platform's events.
const DAY: &str = "from=2026-06-01T00:00:00Z&to=2026-06-02T00:00:00Z";

/// One row a line: the values of these columns, in this order.
fn rows(service: &Service, token: &str, id: &str, range: &str, columns: &[&str]) -> BTreeSet<String> {
    let answer = service.get(&format!("/api/v1/panels/{id}?{range}"), token);
    assert_eq!(answer.status, 200, "{id}: {}", answer.body);
    let panel = panel(id).expect("a panel");
    let at = columns.iter().map(|name| panel.column(name).unwrap_or_else(|| panic!("{id}: {name}")));
    let at: Vec<usize> = at.collect();
    let said = answer.json();
    let row = |row: &serde_json::Value| {
        let cells = at.iter().map(|at| row[*at].as_str().unwrap_or("-"));
        cells.collect::<Vec<_>>().join(" ")
    };
    said["rows"].as_array().expect("rows").iter().map(row).collect()
}

fn lines(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// Scenario: every panel is asked by every role, over the day of the platform's events and over a day before.
/// Guarantees: whose it is gets an answer, however much there is; nobody else does. So the SQL of every panel runs.
#[test]
fn every_panel_answers_whose_it_is_and_nobody_else() {
    let database = platform();
    let service = Service::start(&database, &["--requests-burst-max", "1000"]);
    let before = "from=2026-05-01T00:00:00Z&to=2026-05-02T00:00:00Z";
    for role in Role::ALL {
        let token = service.token(role, "ann");
        for panel in panels() {
            let expected = if panel.roles.contains(&role) { 200 } else { 403 };
            for range in [DAY, before] {
                let answer = service.get(&format!("/api/v1/panels/{}?{range}", panel.id), &token);
                assert_eq!(answer.status, expected, "{} as {role}: {}", panel.id, answer.body);
            }
        }
    }
}

/// Scenario: two creators and two buyers ask all of their panels; a charge of one of them says that it occurred a day before it was
/// appended.
/// Guarantees: each gets the rows that are theirs by hand, and no name of the other's; the charge counts when it was appended.
#[test]
fn panels_of_creators_and_buyers_are_about_themselves() {
    let database = platform();
    database.query("INSERT INTO license_events (event_id, occurred_at, appended_at, source, policy_tag, actor_id, actor_role, task_id, user_id, creator_id, license_id, template_id, kind, grantee_id, check_result, topic) VALUES
        ('00000000-0000-7000-8000-000000000311', '2026-06-01 12:00:00', '2026-06-01 12:00:00', 'l', 'LICENSE_TERMS', 'svc', 'SERVICE', '', 'ann', 'cleo', 'l-cleo', 'tp-cleo', 'CHECKED', '', 'DENIED', 'license-events'),
        ('00000000-0000-7000-8000-000000000312', '2026-06-01 12:00:00', '2026-06-01 12:00:00', 'l', 'LICENSE_TERMS', 'carl', 'CREATOR', '', 'bob', 'carl', 'l-carl', 'tp-carl', 'REVOKED', 'bob', '', 'license-events')");
    database.query("INSERT INTO credit_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, task_id, wallet_id, user_id, kind, amount_micros, audience, topic) VALUES
        ('00000000-0000-7000-8000-000000000211', '2026-05-31 12:00:00', '2026-06-01 12:00:00', 'b', 'BILLING', 'SERVICE', 't-ann', 'w-ann', 'ann', 'SUPPLEMENT_CHARGED', 500000, 'CUSTOMER', 'credit-events')");
    let service = Service::start(&database, &[]);
    let seen = |role: Role, subject: &str, id: &str, columns: &[&str]| {
        rows(&service, &service.token(role, subject), id, DAY, columns)
    };
    let (cleo, carl) =
        (|id, of| seen(Role::Creator, "cleo", id, of), |id, of| seen(Role::Creator, "carl", id, of));
    assert_eq!(cleo("licences", &["license_id", "grantee", "refused"]), lines(&["l-cleo ann 1"]));
    assert_eq!(carl("licences", &["license_id", "grantee", "refused"]), lines(&["l-carl bob 0"]));
    assert_eq!(cleo("refused-checks", &["answer", "checks"]), lines(&["DENIED 1"]));
    assert_eq!(carl("refused-checks", &["answer", "checks"]), lines(&[]));
    assert_eq!(cleo("licence-events", &["license_id", "what"]), lines(&[]));
    assert_eq!(carl("licence-events", &["license_id", "what"]), lines(&["l-carl REVOKED"]));
    // t-free runs on a template of carl under no licence
    assert_eq!(cleo("grantee-tasks", &["state", "tasks"]), lines(&["SUBMITTED 1"]));
    assert_eq!(carl("grantee-tasks", &["state", "tasks"]), lines(&["FAILED 1", "SUBMITTED 1"]));
    let (ann, bob) = (|id, of| seen(Role::Buyer, "ann", id, of), |id, of| seen(Role::Buyer, "bob", id, of));
    let wallet = ["wallet_id", "purchased_micros", "charged_micros", "supplements_micros", "refunded_micros"];
    assert_eq!(ann("my-wallet", &wallet), lines(&["w-ann 9007199254740993 3000000 500000 0"]));
    assert_eq!(bob("my-wallet", &wallet), lines(&["w-bob 5000000 0 0 1000000"]));
    // the credits of a time are those that moved in it, as on the chart beside them; the balance is that of its end
    let noon = "from=2026-06-01T10:00:00Z&to=2026-06-01T12:00:00Z";
    let moved = [&wallet[..], &["balance_micros"]].concat();
    let of = |buyer: &str| rows(&service, &service.token(Role::Buyer, buyer), "my-wallet", noon, &moved);
    assert_eq!(of("ann"), lines(&["w-ann 0 3000000 0 0 9007199251740993"]));
    assert_eq!(of("bob"), lines(&["w-bob 0 0 0 1000000 6000000"]));
    assert_eq!(
        ann("my-spending", &["what", "micros"]),
        lines(&["CHARGED 3000000", "SUPPLEMENT_CHARGED 500000"])
    );
    assert_eq!(bob("my-spending", &["what", "micros"]), lines(&["REFUNDED 1000000"]));
    let prompts = ["task_id", "what"];
    assert_eq!(ann("my-prompts", &prompts), lines(&["t-ann ACCELERATION", "t-ann SUPPLEMENT"]));
    assert_eq!(bob("my-prompts", &prompts), lines(&[]));
    let theirs = [
        "licences",
        "refused-checks",
        "licence-events",
        "grantee-tasks",
        "my-wallet",
        "my-spending",
        "my-prompts",
    ];
    let all = panels()
        .iter()
        .filter(|panel| panel.roles.contains(&Role::Creator) || panel.roles.contains(&Role::Buyer));
    let all: BTreeSet<&str> = all.map(|panel| panel.id.as_str()).collect();
    assert_eq!(all, BTreeSet::from(theirs), "a panel of theirs that is not asked here");
}

/// Scenario: of a time that ends at midnight, one topic at whose heads somebody looked half a minute before, one at which nobody had for two
/// minutes, one at which somebody looked an hour later.
/// Guarantees: how far behind the second and the third were is unknown, whatever was found before or since.
#[test]
fn a_lag_at_which_nobody_looks_is_unknown() {
    let database = platform();
    database.query(
        "INSERT INTO partition_heads (topic, topic_id, partition, low, high, taken, seen_at, ended) VALUES
        ('task-events', '00000000-0000-4000-8000-000000000001', 0, 0, 9, 8, '2026-06-01 23:59:30', false),
        ('credit-events', '00000000-0000-4000-8000-000000000002', 0, 0, 7, 7, '2026-06-01 23:58:00', false),
        ('license-events', '00000000-0000-4000-8000-000000000003', 0, 0, 9, 5, '2026-06-02 01:00:00', false)",
    );
    let service = Service::start(&database, &[]);
    let seen =
        rows(&service, &service.token(Role::Admin, "ops"), "ingest-lag", DAY, &["topic", "taken", "lag"]);
    assert_eq!(seen, lines(&["credit-events 7 -", "license-events 5 -", "task-events 8 1"]));
}

/// Scenario: a case that is decided and never stated a due time, one that is open and states none, one whose two first events lie on one
/// microsecond and state two risks and due times; one whose moderator's clock is ten minutes slow, so that the decision seems to come
/// before it is due.
/// Guarantees: as the audit has it: the first is not in time and is counted apart and among what is judged; the second is open; the third is
/// what the event with the smaller offset says; the last is late. The panel, the list of cases and the page of a case say the same.
#[test]
fn cases_are_judged_as_the_audit_judges_them() {
    let database = platform();
    let case = |number: u32, at: &str, case: &str, kind: &str, risk: &str, due: &str| {
        let appended = if number == 29 { "2026-06-04 12:11:00" } else { at };
        database.query(&format!("INSERT INTO moderation_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, case_id, kind, risk_level, sla_due_at, topic, offset) VALUES
            ('00000000-0000-7000-8000-0000000004{number}', '{at}', '{appended}', 'm', 'PRIVACY', 'SERVICE', '{case}', '{kind}', '{risk}', {due}, 'moderation-events', {number})"));
    };
    case(21, "2026-06-04 10:00:00", "k-without", "REPORTED", "MEDIUM", "NULL");
    case(22, "2026-06-04 10:10:00", "k-without", "DECIDED", "MEDIUM", "NULL");
    case(23, "2026-06-04 10:00:00", "k-open", "REPORTED", "MEDIUM", "NULL");
    case(25, "2026-06-04 11:00:00", "k-tie", "REVIEW_STARTED", "LOW", "'2026-06-04 11:30:00'");
    case(24, "2026-06-04 11:00:00", "k-tie", "REPORTED", "CRITICAL", "'2026-06-04 11:05:00'");
    case(26, "2026-06-04 11:10:00", "k-tie", "DECIDED", "LOW", "NULL");
    case(28, "2026-06-04 12:00:00", "k-slow", "REPORTED", "HIGH", "'2026-06-04 12:05:00'");
    case(29, "2026-06-04 12:01:00", "k-slow", "DECIDED", "HIGH", "NULL");
    let service = Service::start(&database, &[]);
    let columns = ["risk", "cases", "open", "in_time", "late", "overdue", "without_due", "share"];
    let range = "from=2026-06-04T00:00:00Z&to=2026-06-05T00:00:00Z";
    let seen = rows(&service, &service.token(Role::Moderator, "mia"), "cases-by-risk", range, &columns);
    assert_eq!(seen, lines(&["CRITICAL 1 0 0 1 0 0 0", "HIGH 1 0 0 1 0 0 0", "MEDIUM 2 1 0 0 0 1 0"]));

    let token = service.token(Role::Moderator, "mia");
    let said = service.get(&format!("/api/v1/moderation/cases?{range}"), &token).json();
    let fields = ["case_id", "state", "risk_level", "clock", "decided_at"];
    let line = |case: &serde_json::Value| {
        fields.map(|field| case[field].as_str().unwrap_or("-").to_owned()).join(" ")
    };
    let listed: BTreeSet<String> = said["items"].as_array().expect("cases").iter().map(line).collect();
    let expected = [
        "k-open REPORTED MEDIUM without_due -",
        "k-slow DECIDED HIGH late 2026-06-04T12:11:00.000000Z",
        "k-tie DECIDED CRITICAL late 2026-06-04T11:10:00.000000Z",
        "k-without DECIDED MEDIUM without_due 2026-06-04T10:10:00.000000Z",
    ];
    assert_eq!(listed, lines(&expected));
    let page = service.get_with("/case/k-slow", &token, &[("accept", "text/html")]).body;
    assert!(page.contains("decided late") && !page.contains("decided in time"), "{page}");
}

/// Scenario: a task says that it was submitted on 2 June and is appended on 4 June; another lies within five minutes.
/// Guarantees: lists of tasks have each when it counts, so the first on 4 June and not two days before, as the figures do.
#[test]
fn tasks_are_listed_when_they_count() {
    let database = platform();
    for (number, task, at, appended) in [
        (1, "t-late", "2026-06-02 10:00:00", "2026-06-04 10:00:00"),
        (2, "t-near", "2026-06-04 11:00:00", "2026-06-04 11:05:00"),
    ] {
        database.query(&format!("INSERT INTO task_events (event_id, occurred_at, appended_at, source, policy_tag, actor_role, task_id, user_id, kind, queue, state_version, audience, topic, offset) VALUES
            ('00000000-0000-7000-8000-00000000080{number}', '{at}', '{appended}', 's', 'BILLING', 'SERVICE', '{task}', 'ann', 'SUBMITTED', 'NORMAL', 1, 'CUSTOMER', 'task-events', {number})"));
    }
    let service = Service::start(&database, &[]);
    let listed = |day: &str| {
        let range = format!("from=2026-06-{day}T00:00:00Z&to=2026-06-{day}T23:59:59Z");
        let said = service.get(&format!("/api/v1/tasks?{range}"), &service.token(Role::Buyer, "ann")).json();
        let line =
            |task: &serde_json::Value| format!("{} {}", task["task_id"], task["opened_at"]).replace('"', "");
        said["items"].as_array().unwrap_or_else(|| panic!("{said}")).iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(listed("02"), [] as [&str; 0]);
    assert_eq!(listed("04"), ["t-near 2026-06-04T11:00:00.000000Z", "t-late 2026-06-04T10:00:00.000000Z"]);
}

/// Scenario: completeness of 1 June was judged in its day, and that of 30 May once more three days later; accuracy ended in an error; a
/// window of repurchase reaches to the end of the year; Kafka was looked at on 5 June.
/// Guarantees: now is the newest window and not what was said last, and a window counts up to the moment at which it was judged; the page
/// draws every job, those that never ran too, each with its window, and names what could not be checked and what is old.
#[test]
fn now_is_the_newest_window() {
    let database = platform();
    database.query("INSERT INTO job_results (job, window_from, window_to, known_at, result_id, restates, verdict, sentence, numerator, denominator, report) VALUES
        ('completeness', '2026-05-30 00:00:00', '2026-05-31 00:00:00', '2026-06-04 02:00:00', '00000000-0000-4000-8000-000000000511', '00000000-0000-0000-0000-000000000000', 'FAIL', '1 of 3', 1, 3, '{}'),
        ('repurchase', '2026-06-01 00:00:00', '2026-12-31 00:00:00', '2026-06-04 01:00:00', '00000000-0000-4000-8000-000000000512', '00000000-0000-0000-0000-000000000000', 'PENDING', 'open', 0, 0, '{}'),
        ('repurchase', '2026-06-04 23:00:00', '2026-06-05 00:00:00', '2026-06-05 01:00:00', '00000000-0000-4000-8000-000000000513', '00000000-0000-0000-0000-000000000000', 'INSUFFICIENT', 'few', 1, 2, '{}'),
        ('accuracy', '2026-06-04 22:00:00', '2026-06-04 23:00:00', '2026-06-05 01:00:00', '00000000-0000-4000-8000-000000000514', '00000000-0000-0000-0000-000000000000', 'ERROR', 'Could not be checked.', 0, 0, '{}')");
    database.query(
        "INSERT INTO partition_heads (topic, topic_id, partition, low, high, taken, seen_at, ended) VALUES
        ('task-events', '00000000-0000-4000-8000-000000000001', 0, 0, 9, 9, '2026-06-05 02:00:00', false)",
    );
    let service = Service::start(&database, &[]);
    let token = service.token(Role::Moderator, "mia");
    let range = "from=2026-06-01T00:00:00Z&to=2026-06-06T00:00:00Z";
    let seen = rows(&service, &token, "verdicts", range, &["job", "verdict", "from_us", "to_us"]);
    // microseconds by `date -u -d … +%s`
    let expected = [
        "accuracy ERROR 1780610400000000 1780614000000000",
        "completeness PASS 1780272000000000 1780358400000000",
        "repurchase INSUFFICIENT 1780614000000000 1780617600000000",
    ];
    assert_eq!(seen, lines(&expected));
    let page = service.get_with(&format!("/compliance?{range}"), &token, &[("accept", "text/html")]).body;
    let of = |job: &str| {
        let row = page
            .split_once(&format!("id=\"job-{job}\""))
            .map(|(_, rest)| rest.split("</tr>").next().unwrap_or_default());
        row.unwrap_or_else(|| panic!("no row of {job}: {page}")).to_owned()
    };
    for job in ["offsets", "stability", "realtime", "balances", "sla"] {
        assert!(
            of(job).contains("never ran") && of(job).contains(&format!("tally audit {job}")),
            "{}",
            of(job)
        );
    }
    let completeness = of("completeness");
    for part in ["PASS", "2026-06-01 00:00:00", "2026-06-02 00:00:00"] {
        assert!(completeness.contains(part), "{part}: {completeness}");
    }
    assert!(page.contains("Could not be checked: Estimate accuracy<"), "{page}");
    assert!(page.contains("though there is newer data: Completeness<"), "{page}");
}
