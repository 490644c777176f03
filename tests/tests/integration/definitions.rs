//! What tables and views are: whoever replaces a view changes every figure and no row.

use std::process::{Command, Stdio};
use std::time::Duration;

use tally_tests::{ClickHouse, Tally, TempFolder};

const SOON: Duration = Duration::from_secs(120);

/// Scenario: a view is replaced by one that adds to each amount; it is put right; then two symbols of a table change places.
/// Guarantees: no job and no export believes either, and says which it is; `tally migrate` makes the view anew and names the
/// table, which it cannot.
#[test]
fn a_replaced_view_gives_no_figures() {
    let database = ClickHouse::shared().database();
    let at = ["--clickhouse", database.url(), "--database", database.name()];
    let run = |command: &[&str], code| Tally::spawn(&[command, &at].concat(), &[]).expect_code(code, SOON);
    let folder = TempFolder::new("export");
    let out = folder.path().join("out").to_str().expect("paths are text").to_owned();
    run(&["migrate"], 0);
    run(&["audit", "balances"], 2); // nothing is there
    database.query(
        "CREATE OR REPLACE VIEW credit_events_final AS \
         SELECT * REPLACE (amount_micros + 1 AS amount_micros) FROM credit_events FINAL",
    );
    let said = run(&["audit", "balances"], 3).stdout;
    assert!(said.contains("ERROR") && said.contains("credit_events_final"), "{said}");
    let said = run(&["audit", "export", "--out", &out], 3).stderr;
    assert!(said.contains("credit_events_final"), "{said}");
    let said = run(&["migrate"], 0).stdout;
    assert!(said.contains("put right: the view credit_events_final"), "{said}");
    assert!(run(&["migrate"], 0).stdout.contains("nothing to do"));
    run(&["audit", "balances"], 2);

    database.query("ALTER TABLE credit_events MODIFY COLUMN queue Int8");
    database.query("ALTER TABLE credit_events MODIFY COLUMN queue Enum8(''=0, 'ACCELERATED'=1, 'NORMAL'=2)");
    let said = run(&["migrate"], 1).stdout;
    assert!(said.contains("credit_events") && said.contains("queue"), "{said}");
    run(&["audit", "balances"], 3);
}

/// Scenario: whoever reads what a command prints is gone before it prints.
/// Guarantees: it ends without a word, with what a shell knows as a broken pipe; not with 0.
#[test]
fn a_reader_that_is_gone_ends_a_command_quietly() {
    let mut command = Command::new(Tally::binary());
    command.args(["schema", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("tally starts");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(141), ""));
}
