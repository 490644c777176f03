//! Results made by hand: every verdict, and ids that attack whoever shows them.

use super::{OffendersFormat, Report, Terminal, write_offenders};
use crate::audit::result::{
    CrossCheck, Difference, Input, InputBound, JobResult, Measure, Offender, Restatement, Target, Verdict,
    Versions, Window, WindowState,
};
use crate::audit::statistics::wilson;
use std::collections::BTreeMap;
use std::path::Path;
use uuid::Uuid;

const DAY: i64 = 86_400_000_000;
const START: i64 = 1_772_409_600_000_000; // 2026-03-02T00:00:00Z
/// A script, quotes, an override of the writing direction, an ANSI escape in two forms, a formula, an end of line.
const HOSTILE: &str = "=<script>alert(\"1\")</script>'&\u{202e}evil\u{1b}[31m\u{9b}2J\nPASS, too";
const PLAIN: Terminal = Terminal { columns: 100, colour: false };

fn share(name: &str, group: &str, pair: (i64, i64), target: Target, verdict: Verdict) -> Measure {
    Measure {
        name: name.to_owned(),
        group: group.to_owned(),
        numerator: pair.0,
        denominator: pair.1,
        unit: "tasks".to_owned(),
        bounds: wilson(pair.0, pair.1),
        bounds_by: "Wilson 95 %".to_owned(),
        target: Some(target),
        verdict: Some(verdict),
        needed: None,
    }
}

fn result(
    job: &str,
    verdict: Verdict,
    pair: (i64, i64),
    measures: Vec<Measure>,
    sentence: &str,
) -> JobResult {
    JobResult {
        result_id: Uuid::from_u128(7 + u128::from(pair.0.unsigned_abs())),
        job: job.to_owned(),
        verdict,
        sentence: sentence.to_owned(),
        window: Window {
            from_us: START,
            to_us: START + 7 * DAY,
            state: WindowState::Closed,
            watermark_us: START + 8 * DAY,
        },
        known_at_us: START + 8 * DAY + 1_500_000,
        numerator: pair.0,
        denominator: pair.1,
        measures,
        counters: BTreeMap::from([("tasks".to_owned(), pair.1), ("conflicting_tag".to_owned(), 0)]),
        offenders: Vec::new(),
        offenders_total: 0,
        input: Input {
            source: "clickhouse".to_owned(),
            bounds: vec![InputBound {
                topic: "task-events".to_owned(),
                topic_id: Uuid::from_u128(9),
                partition: 3,
                next: 1_234_567,
            }],
            rows_read: 48_000_123,
        },
        sql_sha256: BTreeMap::from([("figures.sql".to_owned(), "ab".repeat(32))]),
        settings: BTreeMap::from([("accuracy_permille".to_owned(), 950)]),
        cross_check: CrossCheck {
            by: "clickhouse 26.7".to_owned(),
            agrees: true,
            compared: 2,
            differences: Vec::new(),
        },
        versions: Versions {
            tally: "0.1.0".to_owned(),
            datafusion: "55.2.0".to_owned(),
            clickhouse: "26.7.3".to_owned(),
        },
        duration_ms: 1_834,
        restates: None,
    }
}

/// One result of each verdict.
fn seven() -> Report {
    use Verdict::{Error, Fail, Insufficient, NotEvaluated, Pass, Pending, Warn};
    let (above, below) = (Target::AtLeast(950), Target::Below(20));
    let offsets =
        [("task-events", (1_234_567, 1_234_567), Pass), ("credit-events", (998_400, 998_412), Pending)].map(
            |(topic, pair, verdict)| Measure {
                bounds: None,
                bounds_by: String::new(),
                ..share("offsets with a disposition", topic, pair, Target::AtLeast(1000), verdict)
            },
        );
    let accuracy = vec![
        share("share within tolerance", "NORMAL", (96_120, 100_000), above, Pass),
        share("share within tolerance", "ACCELERATED", (4_749, 5_000), above, Fail),
        share("share within tolerance", "MOVED", (190, 200), above, Warn),
    ];
    let stability =
        [("/credits/estimate", (27, 2_000), Pass), ("/credits/charge", (1_999, 100_000), Insufficient)]
            .map(|(endpoint, pair, verdict)| share("failed attempts", endpoint, pair, below, verdict));
    let mut fail = result(
        "accuracy",
        Fail,
        (4_749, 5_000),
        accuracy,
        "94.98 % of the accelerated tasks were settled within ±5 % of their estimate; the target is 95 %.",
    );
    fail.offenders = vec![
        Offender {
            id: HOSTILE.to_owned(),
            why: "miss".to_owned(),
            detail: format!("settled elsewhere: {HOSTILE}"),
        },
        Offender {
            id: "task-0017".to_owned(),
            why: "miss".to_owned(),
            detail: "estimated 1,000, settled 1,200".to_owned(),
        },
    ];
    fail.offenders_total = 4_131;
    fail.restates = Some(Restatement {
        result_id: Uuid::from_u128(6),
        known_at_us: START + 7 * DAY,
        verdict: Pass,
        differences: vec![Difference { figure: "hits".to_owned(), before: 4_760, after: 4_749 }],
    });
    let mut error = result("balances", Error, (900, 901), Vec::new(), "Two ways of adding up disagree.");
    error.cross_check.agrees = false;
    error.cross_check.differences =
        vec![Difference { figure: "wallets".to_owned(), before: 901, after: 900 }];
    let results = vec![
        result(
            "completeness",
            Pass,
            (105_200, 105_200),
            vec![],
            "Every one of 105,200 tasks is in the audit log, with its policy tag and its whole life.",
        ),
        fail,
        result(
            "realtime",
            Warn,
            (99_412, 100_000),
            vec![],
            "99.41 % of the messages arrived within 3 s, but 12 resumes were impossible.",
        ),
        result(
            "offsets",
            Pending,
            (2_232_967, 2_232_979),
            offsets.to_vec(),
            "12 offsets below the high watermarks are still to be taken; no other is missing.",
        ),
        result("sla", NotEvaluated, (0, 0), vec![], "No case was due in this window."),
        result(
            "stability",
            Insufficient,
            (2_026, 102_000),
            stability.to_vec(),
            "No interface failed too often, but for /credits/charge it is not proven.",
        ),
        error,
    ];
    let history = (1..=5)
        .map(|week: i64| {
            let mut old =
                result("accuracy", Pass, (4_749 + 3 * week * week - 20 * week + 60, 5_000), vec![], "");
            old.window.to_us -= week * 7 * DAY;
            old
        })
        .collect();
    Report { results, history, generated_at_us: START + 9 * DAY, command: "tally audit all".to_owned() }
}

/// Scenario: one result of each verdict, at 100 columns.
/// Guarantees: the text, to the letter; no line of a table is wider than the terminal; without colours no escape at all.
#[test]
fn in_a_terminal() {
    let text = seven().terminal(PLAIN);
    insta::assert_snapshot!(text);
    assert!(!text.contains('\u{1b}'));
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

/// Scenario: the same with colours.
/// Guarantees: once the colours are taken away it is the same text, so that they carry no meaning alone.
#[test]
fn colours_say_nothing_new() {
    let mut text = seven().terminal(Terminal { colour: true, ..PLAIN });
    assert_eq!(text.matches("\u{1b}[0m").count(), 7 + 7 + 1, "each job twice, and the whole");
    for code in ["\u{1b}[1;31m", "\u{1b}[1;32m", "\u{1b}[1;33m", "\u{1b}[0m"] {
        text = text.replace(code, "");
    }
    assert_eq!(text, seven().terminal(PLAIN));
}

/// Scenario: the JSON of one result of each verdict.
/// Guarantees: the form that is promised, to the letter; reading it yields the very same results, hostile ids included.
#[test]
fn as_json() {
    let report = seven();
    let json = report.json().unwrap();
    insta::assert_snapshot!(json);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut results: Vec<JobResult> = serde_json::from_value(value["results"].clone()).unwrap();
    let mut written = report.results.clone();
    // reading a float may miss its last bit: bounds are compared apart
    let bounds = |results: &mut Vec<JobResult>| -> Vec<(f64, f64)> {
        results.iter_mut().flat_map(|r| &mut r.measures).filter_map(|m| m.bounds.take()).collect()
    };
    let (read, meant) = (bounds(&mut results), bounds(&mut written));
    assert_eq!((&results, read.len(), read.len()), (&written, meant.len(), 5));
    assert!(read.iter().zip(&meant).all(|(a, b)| (a.0 - b.0).abs() < 1e-15 && (a.1 - b.1).abs() < 1e-15));
    assert_eq!(
        (&value["schema"], &value["verdict"], &value["exit_code"]),
        (&"tally.audit.v1".into(), &"ERROR".into(), &3.into())
    );
    assert!(!json.contains(['\u{1b}', '\u{9b}', '\u{202e}']));
}

/// Scenario: the page of one result of each verdict.
/// Guarantees: the page, to the letter (without its style, which has a hash of its own).
#[test]
fn as_a_page() {
    let html = seven().html();
    let (head, rest) = html.split_once("<style>").unwrap();
    let (_, body) = rest.split_once("</style>").unwrap();
    let hash = head.split("sha256-").nth(1).unwrap().split('\'').next().unwrap();
    insta::assert_snapshot!(format!("{}{body}", head.replace(hash, "…")));
}

/// Scenario: ids, details, groups and a command that hold scripts, quotes, escapes and marks of direction.
/// Guarantees: nothing of it acts: no tag beyond ours, no control character, no end of line; nothing is loaded or run.
#[test]
fn hostile_text_is_harmless() {
    let mut report = seven();
    report.command = HOSTILE.to_owned();
    for result in &mut report.results {
        result.job = HOSTILE.to_owned();
        result.sentence = HOSTILE.to_owned();
        result.counters.insert(HOSTILE.to_owned(), 1);
        result.sql_sha256.insert(HOSTILE.to_owned(), HOSTILE.to_owned());
        result.cross_check.by = HOSTILE.to_owned();
        for m in &mut result.measures {
            (m.group, m.name, m.unit, m.bounds_by) =
                (HOSTILE.to_owned(), HOSTILE.to_owned(), HOSTILE.to_owned(), HOSTILE.to_owned());
        }
    }
    let html = report.html();
    assert!(!html.contains("<script") && !html.contains("alert(\"") && html.contains("&lt;script&gt;"));
    for loads in ["src=", "http:", "https:", "@import", "url(h", "javascript:"] {
        assert!(!html.contains(loads), "{loads}");
    }
    for text in [html, report.terminal(PLAIN), report.json().unwrap()] {
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("PASS, too")), "an id has broken out of its line");
    }
}

/// Scenario: the policy's hash, computed anew over what stands in the page.
/// Guarantees: the browser accepts the style; there is one style and no script.
#[test]
fn the_policy_fits_the_page() {
    use base64::Engine;
    use sha2::Digest;
    let html = seven().html();
    let style = html.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(style));
    assert!(html.contains(&format!("style-src 'sha256-{hash}'")) && html.contains("default-src 'none'"));
    assert_eq!((html.matches("<style").count(), html.matches(" style=").count()), (1, 0));
    assert_eq!(html.matches("<table>").count(), html.matches("<caption>").count());
}

/// Scenario: a report without results.
/// Guarantees: it is an ERROR and says so, in every form; nothing that was not asked is a yes.
#[test]
fn nothing_is_no_yes() {
    let report = Report { results: Vec::new(), ..seven() };
    assert_eq!((report.verdict(), report.exit_code()), (Verdict::Error, 3));
    assert!(report.terminal(PLAIN).contains("ERROR") && report.html().contains("No job answered."));
}

/// Scenario: offenders with quotes, ends of lines and a formula as CSV and as JSON lines.
/// Guarantees: one record each: fields quoted as RFC 4180 wants, formulas disarmed, nothing that steers a terminal; JSON lines
/// carry the very bytes.
#[test]
fn offenders_in_files() {
    let offender = Offender { id: HOSTILE.to_owned(), why: "miss".to_owned(), detail: "a, b".to_owned() };
    let write = |format| {
        let mut out = Vec::new();
        let offenders = [("accuracy".to_owned(), offender.clone())];
        assert_eq!(write_offenders(&mut out, format, offenders).unwrap(), 1);
        String::from_utf8(out).unwrap()
    };
    let id = "\"'=<script>alert(\"\"1\"\")</script>'&\\u{202e}evil\\u{1b}[31m\\u{9b}2J\\u{a}PASS, too\"";
    assert_eq!(write(OffendersFormat::Csv), format!("job,id,why,detail\r\naccuracy,{id},miss,\"a, b\"\r\n"));
    let lines = write(OffendersFormat::JsonLines);
    let value: serde_json::Value = serde_json::from_str(lines.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!(
        (lines.lines().count(), &value["job"], &value["id"]),
        (1, &"accuracy".into(), &HOSTILE.into())
    );
    assert_eq!(OffendersFormat::of(Path::new("a/b.CSV")).unwrap(), OffendersFormat::Csv);
    assert_eq!(OffendersFormat::of(Path::new("b.jsonl")).unwrap(), OffendersFormat::JsonLines);
    assert!(
        OffendersFormat::of(Path::new("b.txt")).is_err() && OffendersFormat::of(Path::new("csv")).is_err()
    );
}
