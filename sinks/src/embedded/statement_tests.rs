#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn insert(text: &str) -> (String, Option<String>, String) {
    match split(text.as_bytes()) {
        Statement::Insert(insert) => {
            (String::from_utf8(insert.head).unwrap(), insert.format, text[insert.data..].to_owned())
        }
        other => panic!("{text}: {other:?}"),
    }
}

fn parts(text: &str) -> (String, String, String) {
    let (head, format, data) = insert(text);
    (head.trim().to_owned(), format.unwrap_or_default(), data)
}

fn owned(head: &str, format: &str, data: &str) -> (String, String, String) {
    (head.into(), format.into(), data.into())
}

#[test]
fn data_begins_after_the_format_and_one_line_end() {
    assert_eq!(parts("INSERT INTO t FORMAT TSV\n1\n2"), owned("INSERT INTO t", "TSV", "1\n2"));
    assert_eq!(
        parts("insert into d.t (a, `b)`) format RowBinary \r\n\n\x01"),
        owned("insert into d.t (a, `b)`)", "RowBinary", "\n\x01")
    );
    assert_eq!(
        parts("INSERT INTO t FORMAT JSONEachRow {\"a\":1}"),
        owned("INSERT INTO t", "JSONEachRow", "{\"a\":1}")
    );
    assert_eq!(parts("INSERT INTO t FORMAT CSV; rest"), owned("INSERT INTO t", "CSV", ""));
    assert_eq!(parts("INSERT INTO t FORMAT Native"), owned("INSERT INTO t", "Native", ""));
}

#[test]
fn settings_stay_with_the_statement() {
    assert_eq!(
        parts("INSERT INTO t SETTINGS insert_deduplication_token='FORMAT x' FORMAT TSV\nd"),
        owned("INSERT INTO t SETTINGS insert_deduplication_token='FORMAT x'", "TSV", "d")
    );
    assert_eq!(
        parts("INSERT INTO t FORMAT TSV SETTINGS a=1, b = 'x'\nd"),
        owned("INSERT INTO t  SETTINGS a=1, b = 'x'", "TSV", "d")
    );
}

#[test]
fn names_that_look_like_keywords_are_names() {
    assert_eq!(parts("INSERT INTO format FORMAT TSV\n1"), owned("INSERT INTO format", "TSV", "1"));
    assert_eq!(parts("INSERT INTO d.values VALUES (1)"), owned("INSERT INTO d.values", "Values", " (1)"));
    assert_eq!(parts("INSERT INTO table.t VALUES (1)"), owned("INSERT INTO table.t", "Values", " (1)"));
    assert_eq!(
        parts("INSERT INTO TABLE format FORMAT TSV\n1"),
        owned("INSERT INTO TABLE format", "TSV", "1")
    );
    assert_eq!(parts("INSERT t (format) VALUES (1)"), owned("INSERT t (format)", "Values", " (1)"));
    assert_eq!(
        parts("INSERT INTO FUNCTION null('x Int8') FORMAT TSV\n1"),
        owned("INSERT INTO FUNCTION null('x Int8')", "TSV", "1")
    );
    assert_eq!(parts("INSERT INTO TABLE FUNCTION f(1) VALUES (1)").1, "Values");
    assert_eq!(parts("/* FORMAT x */ INSERT -- VALUES\n INTO `a\\`b` FORMAT TSV\n1").1, "TSV");
}

#[test]
fn statements_without_data_are_run_as_they_are() {
    for text in [
        "INSERT INTO t SELECT 1",
        "INSERT INTO t (a) SELECT 1 FORMAT TSV",
        "INSERT INTO t (SELECT 1)",
        "INSERT INTO t WITH 1 AS x SELECT x",
    ] {
        assert!(matches!(split(text.as_bytes()), Statement::Query { .. }), "{text}");
    }
    assert_eq!(split(b"SELECT 1 FORMAT JSON SETTINGS x=1"), Statement::Query { format: Some("JSON".into()) });
    assert_eq!(split(b"SELECT (SELECT 1 FORMAT x), 'FORMAT JSON'"), Statement::Query { format: None });
    assert_eq!(split(b"SELECT format, x FROM t WHERE format = 1"), Statement::Query { format: None });
    assert_eq!(split(b"SELECT format x FROM t FORMAT CSV;"), Statement::Query { format: Some("CSV".into()) });
    assert_eq!(
        split(b"SELECT 1 SETTINGS a = 'x' FORMAT TSV"),
        Statement::Query { format: Some("TSV".into()) }
    );
    assert_eq!(insert("INSERT INTO t"), ("INSERT INTO t".into(), None, String::new()));
    assert_eq!(insert("INSERT INTO t;"), ("INSERT INTO t".into(), None, String::new()));
}

#[test]
fn the_server_files_and_life_are_out_of_reach() {
    assert_eq!(split(b"SELECT 1 INTO/**/OUTFILE 'x'"), Statement::Forbidden(Forbidden::IntoOutfile));
    assert_eq!(
        split(b"INSERT INTO t FROM INFILE 'x' FORMAT TSV"),
        Statement::Forbidden(Forbidden::FromInfile)
    );
    assert_eq!(split(b"system  shutdown"), Statement::Forbidden(Forbidden::Shutdown));
}

proptest! {
    #[test]
    fn any_bytes_split_without_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Statement::Insert(insert) = split(&text) {
            prop_assert!(insert.data <= text.len());
        }
    }

    #[test]
    fn words_in_any_order_split_without_panic(words in proptest::collection::vec(
        prop::sample::select(vec!["INSERT", "INTO", "t", "FORMAT", "VALUES", "SETTINGS", "a=1", ",", "(", ")", "'", "`", "$$", "$x$", "/*", "*/", "--", "\n", ".", ";", "SELECT", "FROM", "INFILE", "\\"]), 0..40)) {
        let text = words.join(" ");
        if let Statement::Insert(insert) = split(text.as_bytes()) {
            prop_assert!(insert.data <= text.len());
        }
    }

    #[test]
    fn the_data_is_what_was_appended(data in proptest::collection::vec(any::<u8>(), 0..200), column in "[a-z`\\\\'(]{0,8}") {
        let quoted = column.replace('\\', "\\\\").replace('`', "\\`");
        let mut text = format!("INSERT INTO t (`x{quoted}`) FORMAT RowBinary\n").into_bytes();
        let start = text.len();
        text.extend_from_slice(&data);
        let Statement::Insert(insert) = split(&text) else { panic!("not an insert") };
        // What begins with the word SETTINGS belongs to the statement, by the engine's own rule.
        prop_assert_eq!(insert.data, start);
    }
}
