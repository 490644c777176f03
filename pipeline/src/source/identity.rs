//! Which topic is it? A topic that was deleted and created again has the same name, the same partitions, offsets
//! that start at 0 again, and another identity: Kafka's topic id.
#![expect(unsafe_code, reason = "rdkafka has no safe wrapper for rd_kafka_DescribeTopics")]

use rdkafka::bindings as rd;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::ptr;
use thiserror::Error;
use uuid::Uuid;

/// Why a topic's identity is not known.
#[derive(Clone, Debug, Error)]
pub enum IdentityError {
    /// Kafka has no such topic, or the credentials may not see it.
    #[error("topic {topic}: {said}; create it, or grant DESCRIBE on it")]
    Topic {
        /// Its name.
        topic: String,
        /// What Kafka said.
        said: String,
        /// It said that there is none, and not that it may not be seen.
        unknown: bool,
    },
    /// The broker is too old to give topics an identity.
    #[error("topic {0} has no id: Tally needs brokers that give topics ids (Kafka 2.8 or later)")]
    NoId(String),
    /// The brokers did not answer.
    #[error("Kafka did not describe its topics: {0}")]
    Unanswered(String),
}

/// How long a broker may take.
const ANSWER_MS_MAX: i32 = 1_500;

/// Asks a broker, or without one the controller, for the ids of topics. Blocks for up to 1.5 s.
///
/// # Errors
/// [`IdentityError::Unanswered`] for the whole call; the others in their topic's place.
pub(super) fn describe(
    client: *mut rd::rd_kafka_t,
    topics: &[String],
    broker: Option<i32>,
) -> Result<HashMap<String, Result<Uuid, IdentityError>>, IdentityError> {
    let names: Vec<CString> = topics.iter().filter_map(|topic| CString::new(topic.as_str()).ok()).collect();
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: the client is live; the collection copies the names; queue, options, collection and event are given back once,
    // and nothing borrowed from the event is used after.
    unsafe {
        let queue = rd::rd_kafka_queue_new(client);
        let collection = rd::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let options =
            rd::rd_kafka_AdminOptions_new(client, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        if let Some(broker) = broker {
            rd::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
        }
        rd::rd_kafka_DescribeTopics(client, collection, options, queue);
        rd::rd_kafka_AdminOptions_destroy(options);
        rd::rd_kafka_TopicCollection_destroy(collection);
        let event = rd::rd_kafka_queue_poll(queue, ANSWER_MS_MAX);
        let answer = if event.is_null() {
            Err(IdentityError::Unanswered("no answer within 1.5 s".to_owned()))
        } else {
            answer(event)
        };
        if !event.is_null() {
            rd::rd_kafka_event_destroy(event);
        }
        rd::rd_kafka_queue_destroy(queue);
        answer
    }
}

/// # Safety
/// `event` is a live DescribeTopics result.
unsafe fn answer(
    event: *mut rd::rd_kafka_event_t,
) -> Result<HashMap<String, Result<Uuid, IdentityError>>, IdentityError> {
    let mut ids = HashMap::new();
    // SAFETY: every pointer below is borrowed from the live event, and strings are C strings.
    unsafe {
        if rd::rd_kafka_event_error(event) != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            let said = CStr::from_ptr(rd::rd_kafka_event_error_string(event)).to_string_lossy().into_owned();
            return Err(IdentityError::Unanswered(said));
        }
        let result = rd::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let topics = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        for place in 0..count {
            let topic = *topics.add(place);
            let name =
                CStr::from_ptr(rd::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
            let error = rd::rd_kafka_TopicDescription_error(topic);
            let id = if rd::rd_kafka_error_code(error) == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            {
                let id = rd::rd_kafka_TopicDescription_topic_id(topic);
                let high = rd::rd_kafka_Uuid_most_significant_bits(id).cast_unsigned();
                let low = rd::rd_kafka_Uuid_least_significant_bits(id).cast_unsigned();
                let id = Uuid::from_u64_pair(high, low);
                if id.is_nil() { Err(IdentityError::NoId(name.clone())) } else { Ok(id) }
            } else {
                let said = CStr::from_ptr(rd::rd_kafka_error_string(error)).to_string_lossy().into_owned();
                let unknown = rd::rd_kafka_error_code(error)
                    == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
                Err(IdentityError::Topic { topic: name.clone(), said, unknown })
            };
            ids.insert(name, id);
        }
    }
    Ok(ids)
}
