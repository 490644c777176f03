//! What is known of the schemas that write to one contract: the contracts themselves, and what a registry says.

use crate::registry::{Lookup, Registry, RegistryError};
use crate::slab::Slab;
use futures::future::try_join_all;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_schemas::{Topic, Writer, WriterId, Writers, local_writers};

/// How long an id that the registry does not have is taken as unknown before it is asked again.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// Questions to the registry that may be open at once.
const LOOKUPS_AT_ONCE_MAX: usize = 16;
/// Unknown ids that are remembered before those whose time is over are forgotten.
const UNKNOWN_IDS_MAX: usize = 10_000;

/// The schemas that a slab's records name.
pub(crate) fn named_in(slab: &Slab) -> BTreeSet<WriterId> {
    let (mut ids, mut last) = (BTreeSet::new(), None);
    for id in slab.writers().flatten() {
        if last.replace(id) != Some(id) {
            ids.insert(id); // few writers, in long runs
        }
    }
    ids
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
        let Some(registry) = &self.registry else { return Ok(self.known()) };
        let open = |id| match id {
            WriterId::Confluent(number) if !self.is_settled(id, number) => Some((id, number)),
            _ => None,
        };
        let open: Vec<(WriterId, u32)> = ids.into_iter().filter_map(open).collect();
        for some in open.chunks(LOOKUPS_AT_ONCE_MAX) {
            let asked: Vec<_> = some.iter().map(|(id, number)| ask(registry.clone(), *id, *number)).collect();
            self.learn(try_join_all(asked).await?);
        }
        Ok(self.known())
    }

    fn learn(&self, answers: Vec<(WriterId, u32, Lookup)>) {
        for (id, number, lookup) in answers {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match lookup {
                Lookup::Found(json) => {
                    let mut known = Writers::clone(&state.known);
                    known.insert(id, Writer::new(self.topic, id, &json).map(Arc::new));
                    state.known = Arc::new(known);
                }
                Lookup::NotFound => {
                    if state.unknown.len() >= UNKNOWN_IDS_MAX {
                        state.unknown.retain(|_, at| at.elapsed() < UNKNOWN_FOR);
                    }
                    state.unknown.insert(number, Instant::now());
                }
            }
        }
    }

    fn known(&self) -> Arc<Writers> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).known.clone()
    }

    fn is_settled(&self, id: WriterId, number: u32) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.known.contains(id) || state.unknown.get(&number).is_some_and(|at| at.elapsed() < UNKNOWN_FOR)
    }
}

async fn ask(
    registry: Arc<Registry>,
    id: WriterId,
    number: u32,
) -> Result<(WriterId, u32, Lookup), RegistryError> {
    Ok((id, number, registry.schema(number).await?))
}
