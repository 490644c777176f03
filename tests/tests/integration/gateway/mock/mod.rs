//! `tally mock-platform` against the contract: what the tests of the gateway stand on must hold by itself.

mod faults;
mod keys;
mod model;
mod money;
mod steps;

use serde_json::{Value, json};
use tally_schemas::policy_tags;

/// Whom a request is about: a wallet and a task.
fn about(wallet: &str, task: &str) -> Value {
    json!({"wallet_id": wallet, "policy_tag": policy_tags()[0].symbol, "task_id": task})
}

/// A charge of that purpose.
fn charge(wallet: &str, task: &str, purpose: &str, amount_micros: i64) -> Value {
    json!({"about": about(wallet, task), "purpose": purpose, "amount_micros": amount_micros})
}

/// A refund of a `CHARGE` or a `HOLD`.
fn refund(wallet: &str, task: &str, of: &str, amount_micros: i64) -> Value {
    json!({"about": about(wallet, task), "of": of, "amount_micros": amount_micros, "reason": "GOODWILL"})
}
