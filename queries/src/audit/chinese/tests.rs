//! The book has whatever the audit can say.

use super::super::auditor::decide;
use super::super::figures::Counters;
use super::super::job::{Case, Job, Judgement};
use super::super::jobs::{JobName, all, job};
use super::super::result::{Verdict, Window, WindowState};
use super::super::settings::Settings;
use super::book::PHRASES;
use super::{BOOK, TRIED_MAX, in_chinese};
use crate::catalog::Snapshot;
use crate::phrases::{Search, is_whole};
use std::collections::{BTreeMap, BTreeSet};

/// Times that each judge speaks.
const DRAWS: usize = 800;
/// Numbers that decide something: none, few, many.
const NUMBERS: [i64; 8] = [0, 0, 0, 1, 2, 60, 1_000, 40_000];
/// Groups of which some job counts.
const GROUPS: [&str; 8] = [
    "",
    "NORMAL",
    "ACCELERATED",
    "MOVED",
    "CREDITS_ESTIMATE",
    "CREDITS_CHARGE",
    "CREDITS_REFUND",
    "LICENSES_CHECK",
];

fn search() -> Search {
    Search::of(&BOOK)
}

/// Numbers that look drawn and are the same in each run.
struct Draw(u64);

impl Draw {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % below
    }
}

/// The names that a job's figures have.
fn counted(job: &Job) -> BTreeSet<&'static str> {
    let words = job.figures.sql.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let named = words.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case("as")).map(|pair| pair[1]);
    named.chain(["beyond_waiting"]).collect() // the auditor counts it itself, by the snapshot
}

fn speak(name: JobName, draw: &mut Draw) -> Judgement {
    let job = job(name);
    let mut counters = BTreeMap::new();
    // nothing happened; all is well but for what is open; little is wrong; anything may be
    let mood = draw.next(4);
    let off: BTreeSet<&str> = counted(job).into_iter().filter(|_| draw.next(2) == 0).collect();
    for group in GROUPS {
        for name in counted(job) {
            let is_base =
                ["tasks", "attempts", "base", "wallets", "population"].iter().any(|of| name.ends_with(of));
            let number = NUMBERS[draw.next(if mood < 3 { 6 } else { NUMBERS.len() })];
            let number = match mood {
                0 => 0,
                1 if job.broken.contains(&name) || off.contains(name) && !is_base => 0,
                1 if is_base => NUMBERS[NUMBERS.len() - 1],
                2 if job.broken.contains(&name) && draw.next(4) > 0 => 0,
                _ if is_base => number.max(NUMBERS[draw.next(NUMBERS.len())]),
                _ => number,
            };
            let key = if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") };
            counters.insert(key, number);
        }
    }
    whole(name, draw, &mut counters);
    let watermark_us = [0, i64::MAX][draw.next(2)];
    let first_event_us = [0, i64::MAX / 2][draw.next(2)];
    let snapshot = Snapshot { watermark_us, first_event_us, ..Snapshot::default() };
    let window = Window { from_us: 0, to_us: i64::MAX / 2, state: WindowState::Closed, watermark_us };
    let (counters, settings) = (Counters(counters), Settings::default());
    (job.judge)(&Case { counters: &counters, settings: &settings, snapshot: &snapshot, window })
}

/// A part is no more than its whole, whatever was drawn; and now and then it is all of it.
fn whole(name: JobName, draw: &mut Draw, counters: &mut BTreeMap<String, i64>) {
    let parts: &[(&str, &str)] = match name {
        JobName::Completeness => &[("complete", "population"), ("buckets_differing", "buckets")],
        JobName::Balances => &[("balanced", "wallets")],
        JobName::Repurchase => &[
            ("launch_repurchased", "launch_base"),
            ("baseline_repurchased", "baseline_base"),
            ("followed_again", "followed"),
        ],
        JobName::Sla => &[("in_time", "cases"), ("still_open", "cases")],
        JobName::Accuracy => &[("hits", "tasks")],
        JobName::Stability => &[("errors", "attempts"), ("rate_limited", "errors")],
        JobName::Offsets | JobName::Realtime => &[],
    };
    for group in GROUPS {
        let key = |name: &str| if group.is_empty() { name.to_owned() } else { format!("{group}/{name}") };
        for (part, of) in parts {
            let most = counters.get(&key(of)).copied().unwrap_or(0);
            let some = counters.get(&key(part)).copied().unwrap_or(0).min(most);
            let is_all = !job(name).broken.contains(part) && draw.next(3) == 0;
            counters.insert(key(part), if is_all { most } else { some });
        }
        // a task is incomplete by some rule
        if name == JobName::Completeness && counters[&key("complete")] < counters[&key("population")] {
            let missing = counters.get(&key("missing_audit")).copied().unwrap_or(0).max(1);
            counters.insert(key("missing_audit"), missing);
        }
        if name == JobName::Sla {
            let (cases, open) = (counters[&key("cases")], counters[&key("still_open")]);
            let in_time = counters[&key("in_time")].min(cases - open);
            counters.insert(key("in_time"), in_time);
        }
    }
}

/// Which phrase a text is.
fn phrase(text: &str) -> Option<&'static str> {
    PHRASES.iter().map(|(en, _)| *en).find(|en| search().matches(en, text, 0, &mut Vec::new()))
}

/// Scenario: every job's judge speaks thousands of times, over figures that were drawn; each sentence stands also behind an open window;
/// two opinions differ, or one says nothing.
/// Guarantees: the book has each sentence and each name, unit and group of a figure; and each sentence of the book was said, so none
/// of them is of a judge that has changed its words.
#[test]
fn the_book_has_what_judges_say() {
    let mut draw = Draw(1);
    let (mut unknown, mut spoken) = (BTreeSet::new(), BTreeSet::new());
    let mut heard = BTreeSet::new();
    let mut hear = |text: &str| {
        // the same but for its numbers: once is enough
        let shape = text.replace(|c: char| c.is_ascii_digit(), "");
        match heard.insert(shape).then(|| search().said(text, 0)) {
            None => {}
            Some(None) => _ = unknown.insert(text.to_owned()),
            Some(Some(_)) => _ = phrase(text).map(|en| spoken.insert(en)),
        }
    };
    let open = Window { from_us: 0, to_us: 1, state: WindowState::Open, watermark_us: 1_500_000 };
    let symbols = |text: &str| {
        text.is_empty() || text.starts_with('/') || text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    for name in all() {
        for _ in 0..DRAWS {
            let judged = speak(name, &mut draw);
            hear(&judged.sentence);
            for measure in &judged.measures {
                hear(&measure.name);
                hear(&measure.unit);
                if !symbols(&measure.group) {
                    hear(&measure.group);
                }
            }
            if judged.verdict != Verdict::Error && job(name).windowed {
                hear(&decide(judged, job(name), open, true, 1, 0).sentence);
            }
        }
        let judged = || speak(name, &mut Draw(7));
        hear(&decide(judged(), job(name), open, false, 0, 0).sentence);
        hear(&decide(judged(), job(name), open, false, 9, 2).sentence);
    }
    assert!(unknown.is_empty(), "not in the book: {unknown:#?}");
    let is_sentence = |en: &&str| {
        en.starts_with(|c: char| c.is_ascii_uppercase() || c == '{')
            && (en.ends_with('.') || en.ends_with(".{more?}"))
    };
    let errors = |en: &&str| en.starts_with("Could not be checked");
    let silent: Vec<&str> = PHRASES
        .iter()
        .map(|(en, _)| *en)
        .filter(is_sentence)
        .filter(|en| !errors(en) && !spoken.contains(en))
        .collect();
    assert!(silent.is_empty(), "nobody says: {silent:#?}");
}

/// Scenario: the texts that name offenders, and the rules that jobs count.
/// Guarantees: each piece of prose in them is a piece of a phrase, and each rule has its word.
#[test]
fn the_book_has_what_offenders_are_told() {
    let mut missing = Vec::new();
    for name in all() {
        let job = job(name);
        let code: String =
            job.offenders.sql.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        // every second piece between quotes is a text
        for text in code.split('\'').skip(1).step_by(2) {
            let is_id = ["session ", " of ", " to "].contains(&text); // who it was: no words of the detail
            let is_prose = !is_id && text.contains(' ') && text.bytes().any(|byte| byte.is_ascii_lowercase());
            if is_prose && !PHRASES.iter().any(|(en, _)| en.contains(text)) {
                missing.push(format!("{}: '{text}'", job.offenders.name));
            }
        }
        let rules = job.broken.iter().copied().chain(whys(&code));
        missing.extend(
            rules
                .filter(|rule| search().said(&rule.replace('_', " "), 0).is_none())
                .map(|rule| format!("{}: {rule}", job.offenders.name)),
        );
    }
    assert!(missing.is_empty(), "not in the book: {missing:#?}");
}

/// The rules that a text of offenders names: what stands as a text before `AS why`, or in the second place of a later part.
fn whys(code: &str) -> Vec<&str> {
    let names =
        |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let stages = ["settled"]; // what is compared with, and named nowhere
    code.split('\'').skip(1).step_by(2).filter(names).filter(|text| !stages.contains(text)).collect()
}

/// Scenario: what was recorded of several jobs, an error, and words that the book does not have.
/// Guarantees: numbers, names and moments stay as they are, in the right places; what is unknown is left alone, whole.
#[test]
fn recorded_sentences_are_said_in_chinese() {
    for (en, zh) in [
        (
            "1 of 1000 tasks are incomplete: 1 missing audit, 2 broken chain.",
            "1000 个任务中有 1 个不完整：缺少回执 1、状态链断裂 2。",
        ),
        (
            "The window is open: events may yet come, everything before 2026-03-01T00:00:00Z is here. So far: No attempt reached an interface in this window.",
            "时段尚未关闭：仍可能有事件到来，2026-03-01T00:00:00Z 之前的均已到齐。目前：该时段内没有接口调用。",
        ),
        (
            "no event, 0 receipts, 1 dead letters (out_of_range)",
            "没有事件，0 张回执，1 封死信（out_of_range）",
        ),
        (
            "3 events with state versions 1 to 4, 3 receipts, 1 dead letters (body), 1 events have a receipt and no fact, policy tags MINORS and SELF_HARM",
            "3 个事件，状态版本 1 至 4，3 张回执，1 封死信（body），1 个事件有回执而无事实行，政策标签 MINORS 与 SELF_HARM",
        ),
        (
            "5 of 90 wallets came back in the week from 2026-02-01T00:00:00Z, 9 of 400 in the four weeks before; at least, but within the reach of chance, 108 % of the baseline. Refunds of that week may still come. At these rates 700 more wallets would tell.",
            "自 2026-02-01T00:00:00Z 起的一周内 90 个钱包中有 5 个复购，此前四周 400 个中有 9 个；不低于（但在偶然波动范围内）基准的 108 %。该周仍可能发生退款。按当前复购率，再有 700 个钱包即可判定。",
        ),
        ("Could not be checked: the store went away. Really.", "无法检查：the store went away. Really。"),
        ("missing audit", "缺少回执"),
        ("GAMBLING HIGH: decided 61 s after it was due", "GAMBLING HIGH：到期后 61 秒才裁定"),
    ] {
        assert_eq!(in_chinese(en), zh);
    }
    for unknown in
        ["", "Something else entirely.", "1 of x tasks are incomplete: 1 missing audit.", "{", "}{"]
    {
        assert_eq!(in_chinese(unknown), unknown);
    }
}

/// Scenario: the book itself.
/// Guarantees: both languages have the same holes, Chinese is Chinese, and no phrase is hidden by one that stands before it.
#[test]
fn the_book_is_whole() {
    is_whole(&BOOK, &["{class}", "{case}", "{#count}", "{reason}"]);
}

/// Scenario: a publisher writes a policy tag that can be read as a phrase in each of very many ways.
/// Guarantees: that is given up after so many steps, and said as it was recorded; a sentence of the audit needs far fewer.
#[test]
fn hostile_names_are_given_up() {
    let tag = format!("b{}x", " (a)".repeat(62));
    let detail = format!("task t-1: 2 events, policy tags LOW and {tag}");
    let mut tried = Vec::new();
    for text in [format!(", policy tags LOW and {tag}"), detail, tag] {
        let mut search = search();
        assert!(search.said(&text, 0).is_none_or(|said| !said.is_empty()));
        tried.push(search.tried);
    }
    assert!(tried.iter().any(|tried| *tried > TRIED_MAX), "none of them is hostile: {tried:?}");
    assert!(tried.iter().all(|tried| *tried <= 2 * TRIED_MAX), "it goes on: {tried:?}");
}
