//! Where a run takes place: servers that may be harmed, or must not.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, TryLockError};

use tally_tests::{Distant, Kafka, Proxy, Registry, skip_without};

/// The servers that runs share. Each run has a ClickHouse of its own.
pub(super) struct Harbour {
    kafka: Option<Distant>,
    registry: Option<Registry>,
    /// Held for reading by who must not be disturbed, for writing by who takes a server down.
    quiet: RwLock<()>,
}

impl Harbour {
    /// The servers of all tests: nobody may harm them.
    pub(super) fn shared() -> Harbour {
        Harbour { kafka: None, registry: None, quiet: RwLock::new(()) }
    }

    /// A Kafka of its own with a network before it, and a registry where one can be started.
    pub(super) fn of_its_own() -> Harbour {
        let registry = (!skip_without(Registry::installed())).then(Registry::start);
        Harbour { kafka: Some(Distant::start()), registry, quiet: RwLock::new(()) }
    }

    pub(super) fn kafka(&self) -> &Kafka {
        self.kafka.as_ref().map_or_else(|| Kafka::shared(), |own| &own.kafka)
    }

    /// The network before Kafka, which may be harmed, if there is one.
    pub(super) fn network(&self) -> Option<&Proxy> {
        self.kafka.as_ref().map(|own| &own.network)
    }

    pub(super) fn registry(&self) -> Option<&Registry> {
        self.registry.as_ref()
    }

    /// While it is held no server goes away.
    pub(super) fn quiet(&self) -> RwLockReadGuard<'_, ()> {
        self.quiet.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills Kafka and starts it again, unless somebody must not be disturbed or it is not ours.
    pub(super) fn restart_kafka(&self) -> bool {
        let Some(Distant { kafka, .. }) = &self.kafka else { return false };
        let _nobody = match self.quiet.try_write() {
            Ok(nobody) => nobody,
            Err(TryLockError::Poisoned(nobody)) => nobody.into_inner(), // a run before this one failed
            Err(TryLockError::WouldBlock) => return false,
        };
        kafka.kill();
        kafka.restart();
        true
    }
}
