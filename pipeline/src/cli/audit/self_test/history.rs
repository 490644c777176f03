//! The clean history: what a simulated platform publishes where nothing goes wrong, and every event as its fields.

use anyhow::{Context, bail};
use apache_avro::reader::datum::GenericDatumReader;
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashSet};
use tally_pipeline::simulator::{Config, Emission, Expect, Simulator};
use tally_schemas::{Topic, WriterId, split, versions};
use uuid::Uuid;

/// Of started tasks so many in a thousand are reported to moderation: more than by default, so that there is choice.
const REPORT_PERMILLE: u32 = 200;

/// One event.
pub(super) struct Event {
    pub(super) topic: Topic,
    /// The Kafka key.
    pub(super) key: String,
    /// The framed bytes.
    pub(super) value: Vec<u8>,
    /// `occurred_at`, microseconds since 1970 UTC.
    pub(super) at_us: i64,
    pub(super) id: Uuid,
    /// Its fields, read by `apache-avro` alone.
    pub(super) fields: Json,
}

impl Event {
    /// A text or a symbol; empty where it is absent.
    pub(super) fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or("")
    }

    /// A number; 0 where it is absent.
    pub(super) fn number(&self, field: &str) -> i64 {
        self.fields[field].as_i64().unwrap_or(0)
    }
}

/// Events in the order of their publication.
pub(super) struct History {
    pub(super) events: Vec<Event>,
    /// Places of each task's own events, in order.
    pub(super) tasks: BTreeMap<String, Vec<usize>>,
    /// Places of each wallet's credit events, in order.
    pub(super) wallets: BTreeMap<String, Vec<usize>>,
    /// Tasks that other topics' events speak of.
    pub(super) elsewhere: HashSet<String>,
}

impl History {
    /// About so many events of a platform that works; all that began comes to its end.
    pub(super) fn of(seed: u64, count: usize) -> anyhow::Result<History> {
        let config = Config { seed, report_permille: REPORT_PERMILLE, ..Config::bench() };
        let mut simulator = Simulator::new(config);
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(event(simulator.next())?);
        }
        while let Some(emission) = simulator.next_closing() {
            events.push(event(emission)?);
        }
        let (mut tasks, mut wallets) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for (place, event) in events.iter().enumerate() {
            match event.topic {
                Topic::Task => tasks.entry(event.key.clone()).or_default().push(place),
                Topic::Credit => wallets.entry(event.key.clone()).or_default().push(place),
                Topic::License | Topic::Moderation => {}
            }
        }
        let others = events.iter().filter(|event| event.topic != Topic::Task);
        let elsewhere = others.map(|event| event.text("task_id").to_owned()).collect();
        Ok(History { events, tasks, wallets, elsewhere })
    }

    /// How many events of its task come before and after this one.
    pub(super) fn neighbours(&self, place: usize) -> (usize, usize) {
        let own = self.tasks.get(&self.events[place].key).map_or(&[][..], Vec::as_slice);
        let before = own.iter().filter(|other| **other < place).count();
        (before, own.len().saturating_sub(before + 1))
    }

    /// Whether a later event of its wallet states a balance.
    pub(super) fn is_stated_later(&self, place: usize) -> bool {
        let own = self.wallets.get(&self.events[place].key).map_or(&[][..], Vec::as_slice);
        own.iter().any(|later| *later > place && states_balance(&self.events[*later]))
    }

    /// Whether it is the last event of its wallet that states a balance.
    pub(super) fn states_last(&self, place: usize) -> bool {
        states_balance(&self.events[place]) && !self.is_stated_later(place)
    }
}

/// Whether an event says what is on its wallet.
pub(super) fn states_balance(event: &Event) -> bool {
    event.fields["balance_after_micros"].is_i64()
}

/// Whether an event moves credits.
pub(super) fn moves_money(event: &Event) -> bool {
    let kinds = ["PURCHASED", "REFUNDED", "CHARGED", "SUPPLEMENT_CHARGED"];
    event.topic == Topic::Credit && kinds.contains(&event.text("kind")) && event.number("amount_micros") > 0
}

fn event(emission: Emission) -> anyhow::Result<Event> {
    let Emission { topic, key, value, occurred_at, event_id, expect, .. } = emission;
    anyhow::ensure!(expect == Expect::Accept, "the simulated platform made an event that is not clean");
    let (writer, mut body) = split(&value).map_err(|fault| anyhow::anyhow!("{}", fault.sentence))?;
    let WriterId::SingleObject(fingerprint) = writer else { bail!("an event without a fingerprint") };
    let contract = versions(topic).find(|version| version.fingerprint == fingerprint);
    let contract = contract.context("an event under no contract")?;
    let read = GenericDatumReader::builder(&contract.schema).build()?.read_value(&mut body)?;
    let fields = Json::try_from(read)?;
    Ok(Event { topic, key, value, at_us: occurred_at, id: event_id, fields })
}
