//! Answering which topic it is, many questions with one request.

use super::group::Group;
use super::{ANSWER, Client, IdentityError, identity};
use rdkafka::consumer::{BaseConsumer, Consumer};
use std::collections::HashMap;
use std::sync::Weak;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// A topic, and who wants to know.
pub(super) type IdentityRequest = (String, oneshot::Sender<Result<Uuid, IdentityError>>);

/// Answers all questions that are waiting with one request; those that come meanwhile wait for the next.
pub(super) async fn answer_identities(
    client: Weak<Client>,
    mut requests: mpsc::UnboundedReceiver<IdentityRequest>,
) {
    let mut waiting = Vec::new();
    let mut broker = None; // the controller; where it does not answer, the broker that did
    while requests.recv_many(&mut waiting, 1024).await > 0 {
        let Some(client) = client.upgrade() else { return };
        let consumer = client.consumer();
        let mut topics: Vec<String> = waiting.iter().map(|(topic, _)| topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        let ask = move || describe_by_any(&consumer, &topics, broker);
        let asked = tokio::task::spawn_blocking(ask).await;
        let failed = |e: tokio::task::JoinError| (None, Err(IdentityError::Unanswered(e.to_string())));
        let (answered_by, answer) = asked.unwrap_or_else(failed);
        broker = answered_by;
        for (topic, reply) in waiting.drain(..) {
            let missing = || IdentityError::Unanswered(format!("nothing was said of {topic}"));
            let id = match &answer {
                Ok(ids) => ids.get(&topic).cloned().unwrap_or_else(|| Err(missing())),
                Err(error) => Err(error.clone()),
            };
            if let Ok(id) = &id {
                client.met(&topic, *id);
            }
            let _ = reply.send(id); // whoever asked may have gone
        }
    }
}

type Identities = Result<HashMap<String, Result<Uuid, IdentityError>>, IdentityError>;

/// Asks the broker that answered last, then the others: every broker knows the topics' ids.
fn describe_by_any(
    consumer: &BaseConsumer<Group>,
    topics: &[String],
    last: Option<i32>,
) -> (Option<i32>, Identities) {
    let client = consumer.client().native_ptr();
    let first = identity::describe(client, topics, last);
    if !matches!(first, Err(IdentityError::Unanswered(_))) {
        return (last, first);
    }
    let Ok(metadata) = consumer.fetch_metadata(topics.first().map(String::as_str), ANSWER) else {
        return (None, first);
    };
    for broker in metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id) {
        let answer = identity::describe(client, topics, Some(broker));
        if answer.is_ok() {
            return (Some(broker), answer);
        }
    }
    (None, first)
}
