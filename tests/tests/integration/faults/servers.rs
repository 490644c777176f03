//! Where a run takes place: servers that may be harmed, or must not.

use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use tally_tests::{Kafka, Met, ProxiedKafka, Proxy, Registry, skip_without};

/// The servers that runs share. Each run has a ClickHouse of its own.
pub(super) struct Servers {
    kafka: Option<Kafka>,
    registry: Option<Mutex<Registry>>,
    /// Its address, the same after a restart.
    registry_url: Option<String>,
    /// Networks before Kafka, and the places of those that no run has now.
    networks: Vec<Proxy>,
    free: Mutex<Vec<usize>>,
    /// Held for reading by who must not be disturbed, for writing by who takes a server down.
    quiet: RwLock<()>,
}

/// A network before Kafka that one run alone has, and may harm. Dropped, it is whole again and the next run's.
pub(super) struct Network<'a> {
    pub(super) proxy: &'a Proxy,
    place: usize,
    free: &'a Mutex<Vec<usize>>,
    met_before: Met,
    came_before: usize,
}

impl Network<'_> {
    /// What met a fault since the run has it.
    pub(super) fn met(&self) -> Met {
        let since = |(kind, met)| (kind, met - self.met_before.get(kind).copied().unwrap_or(0));
        self.proxy.met().into_iter().map(since).filter(|(_, met)| *met > 0).collect()
    }

    /// Connections that came since.
    pub(super) fn came(&self) -> usize {
        self.proxy.accepted() - self.came_before
    }
}

impl Drop for Network<'_> {
    fn drop(&mut self) {
        self.proxy.trouble(0, 0);
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.place);
    }
}

impl Servers {
    /// The servers of all tests: nobody may harm them.
    pub(super) fn shared() -> Servers {
        Servers::with(None, None, Vec::new())
    }

    /// A Kafka of its own with a network for each of so many runs at once, and a registry where one can be started.
    pub(super) fn of_its_own(runs: usize) -> Servers {
        let registry = (!skip_without(Registry::installed())).then(Registry::start);
        let ProxiedKafka { kafka, networks } = ProxiedKafka::start(runs);
        Servers::with(Some(kafka), registry, networks)
    }

    fn with(kafka: Option<Kafka>, registry: Option<Registry>, networks: Vec<Proxy>) -> Servers {
        let free = Mutex::new((0..networks.len()).collect());
        let registry_url = registry.as_ref().map(Registry::url);
        Servers {
            kafka,
            registry: registry.map(Mutex::new),
            registry_url,
            networks,
            free,
            quiet: RwLock::new(()),
        }
    }

    pub(super) fn kafka(&self) -> &Kafka {
        self.kafka.as_ref().unwrap_or_else(|| Kafka::shared())
    }

    /// A network before Kafka for one run, where there is one.
    pub(super) fn network(&self) -> Option<Network<'_>> {
        let place = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        let proxy = &self.networks[place];
        let (met_before, came_before) = (proxy.met(), proxy.accepted());
        Some(Network { proxy, place, free: &self.free, met_before, came_before })
    }

    /// Address of the registry, where there is one.
    pub(super) fn registry(&self) -> Option<&str> {
        self.registry_url.as_deref()
    }

    /// The id of a schema in the registry, where there is one.
    pub(super) fn register(&self, subject: &str, schema: &str) -> Option<u32> {
        let registry = self.registry.as_ref()?;
        Some(registry.lock().unwrap_or_else(PoisonError::into_inner).register(subject, schema))
    }

    /// While it is held no server goes away.
    pub(super) fn quiet(&self) -> RwLockReadGuard<'_, ()> {
        self.quiet.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills Kafka and starts it again, once nobody must not be disturbed; not where it is not ours. Who would not be disturbed next
    /// waits for it: of many runs at once one is always in such a part.
    pub(super) fn restart_kafka(&self) -> bool {
        let Some(kafka) = &self.kafka else { return false };
        let _nobody = self.quiet.write().unwrap_or_else(PoisonError::into_inner);
        kafka.kill();
        kafka.restart();
        true
    }

    /// Kills the registry and starts it again, likewise.
    pub(super) fn restart_registry(&self) -> bool {
        let Some(registry) = &self.registry else { return false };
        let _nobody = self.quiet.write().unwrap_or_else(PoisonError::into_inner);
        let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.kill();
        registry.restart();
        true
    }
}
