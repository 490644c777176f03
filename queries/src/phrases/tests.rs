//! The book of single records has whatever can be said of one.

use super::{Book, RECORDS, Search, hole, record_in_chinese};
use crate::{Earlier, Letter, PassedOver};
use std::collections::BTreeSet;
use std::path::Path;

/// Where sentences of single records are made, in the folder of all crates; of each what stands behind a mark.
const MAKERS: [(&str, &str); 9] = [
    ("schemas/src/framing.rs", "pub fn split"),
    ("schemas/src/decode.rs", "impl Writers"),
    ("schemas/src/validate.rs", "fn occurred_at"),
    ("schemas/src/walk.rs", "impl Plan"),
    ("schemas/src/writer.rs", "impl Writer"),
    ("schemas/src/explain.rs", "pub fn explain"),
    ("schemas/src/reason.rs", "impl Fault"),
    ("queries/src/seal/inclusion.rs", "async fn unevenness"),
    ("queries/src/dead.rs", "pub fn replay_state"),
];
/// Literals there that are no sentence of their own: a part of one, whose whole is among the examples below; and names of questions.
const PARTS: [&str; 9] = [
    "{found}; expected C3 01 (single-object) or 00 (Confluent)",
    "the {what} of {lane}/{offset} is not there",
    "the {what} at {lane}/{} is not what was sealed",
    "; its topic is {}",
    "no contract for {}",
    "counting sealed rows",
    "dead letters",
    "dead letters by reason",
    "duplicates of a dead letter",
];

/// The literals of Rust code that read as prose, with a 7 in each hole.
fn sentences(code: &str) -> Vec<(String, String)> {
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with("//") && !line.contains("include_str!"));
    let code: String = lines.map(|line| line.split(" // ").next().unwrap_or_default()).collect();
    let literals = code.split('"').skip(1).step_by(2);
    let is_prose = |text: &&str| text.contains(' ') && text.bytes().any(|byte| byte.is_ascii_lowercase());
    let filled = |text: &str| {
        let parts = text.split('{');
        parts
            .map(|part| part.split_once('}').map_or(part.to_owned(), |(_, rest)| format!("7{rest}")))
            .collect()
    };
    literals.filter(is_prose).map(|text| (text.to_owned(), filled(text))).collect()
}

/// Scenario: the code that says why a record is refused, where its bytes stop to be readable, what became of its replays, and how the
/// log stands to it.
/// Guarantees: each of its sentences is in the book, so none that is added or changed stays English without anybody's notice.
#[test]
fn the_book_has_what_the_code_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut missing, mut found) = (Vec::new(), 0);
    for (file, mark) in MAKERS {
        let code = std::fs::read_to_string(root.join(file)).expect("a source of this repository");
        let (_, code) = code.split_once(mark).unwrap_or_else(|| panic!("{file} has no {mark}"));
        for (literal, sample) in sentences(code) {
            found += 1;
            if !PARTS.contains(&&*literal) && !RECORDS.has(&sample) {
                missing.push(format!("{file}: {literal}"));
            }
        }
    }
    assert!(missing.is_empty(), "not in the book: {missing:#?}");
    assert!(found > 50, "the code was not read: {found}");
}

/// Scenario: what readers of contracts, bytes, replays and the log said of records, and words that the book does not have.
/// Guarantees: numbers, names and places stay as they are, in the right places; what is unknown is left alone, whole.
#[test]
fn what_is_said_of_a_record_is_said_in_chinese() {
    let framed = |value: &[u8]| tally_schemas::split(value).expect_err("no frame").sentence;
    let earlier = |state: &str, requested_at| Earlier {
        replay_id: "01".to_owned(),
        requested_at,
        requested_by: "olga".to_owned(),
        state: state.to_owned(),
        ..Earlier::default()
    };
    let over = |state: &str| {
        PassedOver::of(&Letter::default(), &[earlier(state, 0)], 1_000_000_000).expect("a reason").why()
    };
    let on_its_way = PassedOver::of(&Letter::default(), &[earlier("REQUESTED", 0)], 1).expect("a reason");
    for (en, zh) in [
        (framed(b""), "值为空；应为 C3 01（单对象编码）或 00（Confluent 格式）"),
        (framed(b"{}"), "值以字节 7B 开头；应为 C3 01（单对象编码）或 00（Confluent 格式）"),
        (framed(b"\x00\x01"), "2 字节；以 00 开头的封装头应有 5 字节"),
        (
            "more than 24 h after the Kafka timestamp; expected microseconds since 1970-01-01 UTC".to_owned(),
            "比 Kafka 时间戳晚 24 小时以上；应为自 1970-01-01 UTC 起的微秒数",
        ),
        (
            "schema registry:7 is not a record, expected tally.TaskEvent".to_owned(),
            "模式 registry:7 是 非记录类型，应为 tally.TaskEvent",
        ),
        (
            "schema registry:7 is tally.CreditEvent, expected tally.TaskEvent; its topic is credit-events"
                .to_owned(),
            "模式 registry:7 是 tally.CreditEvent，应为 tally.TaskEvent；其主题为 credit-events",
        ),
        ("enum index -4; the schema has 16".to_owned(), "枚举序号为 -4；模式共有 16 项"),
        ("symbol WEAPONS is not in the contract".to_owned(), "契约中没有符号 WEAPONS"),
        ("absent; GRANTED must carry it".to_owned(), "缺失；GRANTED 事件必须填写"),
        (
            "outside -1000000000000000 to 1000000000000000".to_owned(),
            "不在 -1000000000000000 至 1000000000000000 之间",
        ),
        ("9 bytes claimed, 2 left".to_owned(), "声明 9 字节，只剩 2 字节"),
        ("ClickHouse refused the row: Code: 469.".to_owned(), "ClickHouse 拒绝了该行：Code: 469."),
        ("leaf 17, ab12".to_owned(), "叶子 17，ab12"),
        ("its fact is there 2 times; leaf 17, ab12".to_owned(), "其事实存在 2 份；叶子 17，ab12"),
        ("the dead letter of task-events/0/7 is not there".to_owned(), "task-events/0/7 的死信不存在"),
        (
            "the receipt at task-events/0/7 is not what was sealed".to_owned(),
            "task-events/0/7 的回执与封印时不同",
        ),
        ("sample of 10".to_owned(), "抽样 10 条"),
        (on_its_way.why(), "olga 刚刚以标识 01 请求重放：可能正在途中"),
        (over("REQUESTED"), "olga 曾以标识 01 请求重放，结果没有记录"),
        (over("PUBLISHED"), "olga 曾以标识 01 请求重放"),
        (Letter::default().replay_state(), "从未重放"),
    ] {
        assert_eq!(record_in_chinese(&en), zh, "{en}");
    }
    let no_schema = tally_schemas::parse_schema("registry:7", "{").expect_err("no schema").to_string();
    assert!(record_in_chinese(&no_schema).starts_with("registry:7 不是 Avro 模式："), "{no_schema}");
    for unknown in ["", "of a later version", "x bytes claimed, 2 left", "{", "}{"] {
        assert_eq!(record_in_chinese(unknown), unknown);
    }
}

/// Scenario: a schema names its symbols and itself so that a sentence can be read in each of very many ways.
/// Guarantees: that is given up after so many steps, and said as it was recorded.
#[test]
fn hostile_names_are_given_up() {
    let name = " is 7, expected a; its topic is b".repeat(25);
    for text in [
        format!("schema {name}"),
        format!("asked for by {}", " under a".repeat(100)),
        format!("the registry{}", " of a; the schema has".repeat(40)),
    ] {
        let mut search = Search::of(&RECORDS);
        assert!(search.said(&text, 0).is_none_or(|said| !said.is_empty()));
        assert!(search.tried <= 2 * RECORDS.tried_max, "it goes on: {}", search.tried);
    }
}

/// Scenario: the book itself.
/// Guarantees: both languages have the same holes, Chinese is Chinese, and no phrase is hidden by one that stands before it.
#[test]
fn the_book_is_whole() {
    is_whole(&RECORDS, &["{#index}"]);
}

/// Holds a book together; phrases with one of the holes `other` need no word of Chinese.
pub(crate) fn is_whole(book: &Book, other: &[&str]) {
    fn names(mut text: &str) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        while let Some((_, name, _, after)) = hole(text) {
            names.insert(name);
            text = after;
        }
        names
    }
    for (en, zh) in book.phrases() {
        assert_eq!(names(en), names(zh), "{en}");
        let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        assert!(other.iter().any(|hole| en.contains(hole)) || zh.chars().any(is_chinese), "{zh}");
        // with a number in each hole, and nothing where nothing may stand
        if en.contains("!}") || en.contains("=}") {
            continue;
        }
        let parts = en.split('{').map(|part| match part.split_once('}') {
            Some((hole, rest)) if hole.ends_with('?') => rest.to_owned(),
            Some((_, rest)) => format!("7{rest}"),
            None => part.to_owned(),
        });
        let sample: String = parts.collect();
        let first = book.phrases().find(|(en, _)| Search::of(book).matches(en, &sample, 0, &mut Vec::new()));
        assert_eq!(first.map(|(en, _)| en), Some(en), "{sample}");
    }
}
