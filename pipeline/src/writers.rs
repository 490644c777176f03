//! What is known of the schemas that write to one contract: the contracts themselves, and what a registry says.

use crate::registry::{Lookup, Registry, RegistryError};
use crate::slab::Slab;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_schemas::{Topic, Writer, WriterId, Writers, local_writers, split};

/// How long an id that the registry does not have is taken as unknown before it is asked again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// The schemas that a slab's records name.
pub(crate) fn named_in(slab: &Slab) -> BTreeSet<WriterId> {
    let ids: HashSet<_> = slab.values().flatten().filter_map(|v| split(v).ok()).map(|(id, _)| id).collect();
    ids.into_iter().collect()
}

/// The writers of one contract.
#[derive(Debug)]
pub(crate) struct Book {
    topic: Topic,
    registry: Option<Arc<Registry>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    known: Arc<Writers>,
    unknown: HashMap<u32, Instant>,
}

impl Book {
    pub(crate) fn new(topic: Topic, registry: Option<Arc<Registry>>) -> Book {
        let mut known = Writers::default();
        for (writer, contract) in local_writers(topic).zip(tally_schemas::versions(topic)) {
            known.insert(WriterId::SingleObject(contract.fingerprint), writer.map(Arc::new));
        }
        for other in tally_schemas::contracts().iter().filter(|c| c.topic != topic) {
            let id = WriterId::SingleObject(other.fingerprint);
            known.insert(id, Writer::new(topic, id, &other.json).map(Arc::new)); // names the topic it belongs to
        }
        let state = Mutex::new(State { known: Arc::new(known), unknown: HashMap::new() });
        Book { topic, registry, state }
    }

    /// A snapshot in which every one of these ids has been asked for.
    ///
    /// # Errors
    /// A registry that does not answer: nothing is known of the data, so nothing is judged.
    pub(crate) async fn resolve(&self, ids: BTreeSet<WriterId>) -> Result<Arc<Writers>, RegistryError> {
        for id in ids {
            let WriterId::Confluent(number) = id else { continue };
            let Some(registry) = &self.registry else { continue };
            if self.is_settled(id, number) {
                continue;
            }
            let lookup = registry.schema(number).await?;
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match lookup {
                Lookup::Found(json) => {
                    let mut known = Writers::clone(&state.known);
                    known.insert(id, Writer::new(self.topic, id, &json).map(Arc::new));
                    state.known = Arc::new(known);
                }
                Lookup::NotFound => drop(state.unknown.insert(number, Instant::now())),
            }
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner).known.clone())
    }

    fn is_settled(&self, id: WriterId, number: u32) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.known.contains(id) || state.unknown.get(&number).is_some_and(|at| at.elapsed() < UNKNOWN_FOR)
    }
}
