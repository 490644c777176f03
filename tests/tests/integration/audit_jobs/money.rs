//! METRICS 6 by hand: what wallets state, and what their movements add up to.

use super::ledger::{DAY, FIRST_DAY, HOUR, Ledger, MINUTE, Record, T0};
use serde_json::json;

/// Movements of a wallet, a minute apart: kind, amount, and the balance stated after it.
fn wallet(name: &str, from: i64, moves: &[(&str, i64, Option<i64>)]) -> Vec<Record> {
    let one = |(n, (kind, amount, stated)): (i64, &(&str, i64, Option<i64>))| {
        let fields = json!({"wallet_id": name, "amount_micros": amount, "balance_after_micros": stated});
        Record::credit(kind, from + n * MINUTE, fields)
    };
    (0..).zip(moves).map(one).collect()
}

/// Wallets whose last statement is right, wrong, old, or not there.
pub(super) fn stories(ledger: &mut Ledger) {
    let mut put = |records: Vec<Record>| ledger.put_all(records);
    // 100 - 30 - 10 + 5 = 65, as it says
    put(wallet(
        "all-kinds",
        T0,
        &[
            ("PURCHASED", 100, Some(100)),
            ("CHARGED", 30, Some(70)),
            ("SUPPLEMENT_CHARGED", 10, Some(60)),
            ("REFUNDED", 5, Some(65)),
        ],
    ));
    // 100 - 30 = 70: says 80, 10 too much. 50 - 20 = 30: says 23, 7 too little
    put(wallet("says-more", T0, &[("PURCHASED", 100, Some(100)), ("CHARGED", 30, Some(80))]));
    put(wallet("says-less", T0, &[("PURCHASED", 50, Some(50)), ("CHARGED", 20, Some(23))]));
    // what comes after the last statement is not held against it
    put(wallet("moves-on", T0, &[("PURCHASED", 100, Some(100)), ("CHARGED", 30, None)]));
    // estimates, holds, declined supplements and failed calls move nothing
    put(wallet(
        "still",
        T0,
        &[
            ("PURCHASED", 100, Some(100)),
            ("ESTIMATED", 40, None),
            ("HELD", 40, None),
            ("SUPPLEMENT_DECLINED", 9, None),
            ("ATTEMPTED", 40, Some(100)),
        ],
    ));
    put(wallet("silent", T0, &[("PURCHASED", 100, None)]));
    // the wrong statement was the day before; and what is wrong the next day is not of this window
    put(wallet("yesterday", T0 - HOUR, &[("PURCHASED", 100, Some(1)), ("CHARGED", 1, None)]));
    put(wallet("tomorrow", T0 + DAY - MINUTE, &[("PURCHASED", 100, Some(100)), ("CHARGED", 1, Some(1))]));
    // a retried charge moves once: 100 - 30 = 70
    let mut retried = wallet("retried", T0, &[("PURCHASED", 100, Some(100)), ("CHARGED", 30, Some(70))]);
    retried[1] = retried[1].clone().event(4, 0);
    retried.push(retried[1].clone());
    put(retried);
}

/// Scenario: wallets whose last statement is right, wrong, old, or not there.
/// Guarantees: each difference is named, and nothing else; sums as by hand below.
#[test]
fn each_wallet_adds_up_or_is_named() {
    let mut ledger = Ledger::new();
    stories(&mut ledger);
    ledger.ended();
    let said = ledger.audit("balances", &FIRST_DAY);
    // stating in the window: all-kinds, says-more, says-less, moves-on, still, tomorrow (its first), retried
    said.says("FAIL", 1)
        .counts(&[("wallets", 7), ("balanced", 5), ("differing", 2), ("difference_micros", 17)])
        .names(&[("says-less", "differing"), ("says-more", "differing")]);
    // the next day "tomorrow" states 1 of 99
    let next = ["--from", "2026-03-03", "--to", "2026-03-04"];
    let said = ledger.audit("balances", &next);
    said.says("FAIL", 1).counts(&[("wallets", 1), ("differing", 1), ("difference_micros", 98)]);
    ledger.audit("balances", &["--from", "2026-03-04", "--to", "2026-03-05"]).says("NOT_EVALUATED", 2);
}

/// Scenario: a wallet with ten thousand purchases of the largest amount that a contract allows: 10^19 micros, more than 64 bits hold;
/// a second store has nine thousand, which they do.
/// Guarantees: the first is an ERROR and no figure, the second is added up to the micro.
#[test]
fn a_sum_beyond_64_bits_is_no_figure() {
    let most = 1_000_000_000_000_000_i64; // MICROS_MAX of the rules
    let store = |purchases: i64| {
        let mut ledger = Ledger::new();
        for number in 0..purchases {
            let fields = json!({"wallet_id": "rich", "amount_micros": most});
            ledger.put(Record::credit("PURCHASED", T0 + MINUTE + number, fields));
        }
        let stated = json!({"wallet_id": "rich", "amount_micros": 0, "balance_after_micros": 7});
        ledger.put(Record::credit("CHARGED", T0 + HOUR, stated));
        ledger.ended();
        ledger.audit("balances", &FIRST_DAY)
    };
    let beyond = store(10_000);
    assert_eq!((beyond.code, &beyond.result()["verdict"]), (Some(3), &json!("ERROR")), "{}", beyond.stderr);
    let within = store(9_000);
    within.says("FAIL", 1);
    assert_eq!(within.counters()["difference_micros"], 9_000 * most - 7);
}
