//! The realtime feed over real Kafka, as its clients meet it.

mod bounds;
mod delivery;
mod ends;
mod keys;
mod ledger;
mod resume;
mod routes;

use serde_json::Value;
use tally_schemas::Topic;
use tally_tests::examples;

/// `number` steps of one buyer's tasks, each with an id of its own that says `from` which number on.
fn progress(user: &str, from: usize, number: usize) -> Vec<Value> {
    let first = examples::valid(Topic::Task).into_iter().find(|event| event["kind"] == "PROGRESSED");
    let first = first.expect("an example of progress");
    let one = |number: usize| {
        let mut event = first.clone();
        event["event_id"] = examples::id(number).into();
        event["user_id"] = user.into();
        event["task_id"] = format!("task-{user}-{}", number % 5).into();
        event["state_version"] = (number + 1).into();
        event
    };
    (from..from + number).map(one).collect()
}

fn ids(from: usize, number: usize) -> Vec<String> {
    (from..from + number).map(examples::id).collect()
}
