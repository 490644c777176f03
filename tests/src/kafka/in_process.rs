//! librdkafka's mock broker: no Java, no files; no topic ids, deletion or configuration.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rdkafka::mocking::MockCluster;

/// A broker inside this process. It ends with its value.
#[derive(Debug)]
pub(super) struct InProcess {
    bootstrap: String,
    orders: Sender<Order>,
}

#[derive(Debug)]
struct Order {
    topic: String,
    partitions: i32,
    done: Sender<Result<(), String>>,
}

impl InProcess {
    pub(super) fn start() -> InProcess {
        let (orders, inbox) = mpsc::channel();
        let (ready, address) = mpsc::channel();
        // The handle is bound to a thread, while tests share theirs: so it lives in its own.
        thread::Builder::new()
            .name("in-process broker".to_owned())
            .spawn(move || serve(&inbox, &ready))
            .expect("a thread can be started");
        let bootstrap = address.recv().expect("the in-process broker starts (librdkafka's mock cluster)");
        InProcess { bootstrap, orders }
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub(super) fn create_topic(&self, topic: &str, partitions: i32) {
        let (done, outcome) = mpsc::channel();
        let order = Order { topic: topic.to_owned(), partitions, done };
        self.orders.send(order).expect("the in-process broker lives as long as its value");
        let outcome = outcome.recv().expect("the in-process broker answers each order");
        outcome.unwrap_or_else(|error| panic!("the in-process broker did not create {topic}: {error}"));
    }
}

/// Until the last order's sender is gone.
fn serve(inbox: &Receiver<Order>, ready: &Sender<String>) {
    let cluster = MockCluster::new(1).expect("librdkafka's mock cluster starts");
    _ = ready.send(cluster.bootstrap_servers());
    for Order { topic, partitions, done } in inbox {
        let outcome = cluster.create_topic(&topic, partitions, 1);
        _ = done.send(outcome.map_err(|error| error.to_string()));
    }
}
