//! The balance as people read it.
#![expect(clippy::print_stdout, reason = "what this module prints is a command's result")]

use tally_queries::Balance;

/// Prints one line a topic, its dead letters by reason, and where offsets are missing.
pub(crate) fn print(balances: &[Balance]) {
    println!(
        "{:<26} {:>10} {:>10} {:>8} {:>10} {:>8} {:>7} {:>6}",
        "topic", "published", "accepted", "dead", "duplicates", "missing", "extra", "both"
    );
    for b in balances {
        println!(
            "{:<26} {:>10} {:>10} {:>8} {:>10} {:>8} {:>7} {:>6}",
            b.topic, b.published, b.accepted, b.dead, b.duplicates, b.missing, b.extra, b.both
        );
    }
    for b in balances {
        if !b.reasons.is_empty() {
            let reasons: Vec<String> = b.reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
            println!("{} dead letters: {}", b.topic, reasons.join(", "));
        }
        for hole in b.holes.iter().take(20) {
            println!(
                "{} MISSING partition {} offsets {} to {}",
                b.topic,
                hole.partition,
                hole.first,
                hole.next - 1
            );
        }
    }
    let holds = balances.iter().all(Balance::holds);
    println!("balance: {}", if holds { "holds" } else { "DOES NOT HOLD" });
}
