//! `tally dead replay`.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::filter::Filter;
use super::letters::once_more;
use super::{At, at, bytes};
use crate::cli::seal::now_micros;
use crate::cli::store;
use futures::stream::StreamExt;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;
use tally_pipeline::config::{ClickHouse, EventBound, Kafka, SchemaRegistry};
use tally_pipeline::dead::{Again, Outcome, Rejudge, Republish};
use tally_queries::{
    Letter, PassedOver, Replay, ReplayState, Wanted, dead_letters, earlier_replays, is_stored, record_replays,
};
use tally_sinks::Store;
use uuid::Uuid;

/// Records that wait for their acknowledgement at once.
const IN_FLIGHT_MAX: usize = 64;

/// Judge dead letters by what is known today, and with --execute publish those that would now be accepted.
///
/// A letter that was replayed is passed over: it was accepted, its latest attempt is a letter of its own, or somebody asked for it, here or
/// on a page. --again publishes it all the same, but none that was asked for in the last three minutes and may be on its way. Nothing can count twice: an event's identity is its id.
///
/// Exit code 0: done. 1: something stays dead or was refused. 3: could not.
#[derive(clap::Args, Debug)]
#[group(id = "which", required = true, multiple = true, args = ["topic", "at"])]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    #[command(flatten)]
    kafka: Kafka,
    #[command(flatten)]
    registry: SchemaRegistry,
    #[command(flatten)]
    event: EventBound,
    #[command(flatten)]
    filter: Filter,
    /// The letter at TOPIC/PARTITION/OFFSET; may be repeated.
    #[arg(long, value_parser = at, conflicts_with = "topic")]
    at: Vec<At>,
    /// At most so many, the newest. 1 to 10000.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "N")]
    limit: u64,
    /// Publish them; without it nothing is sent.
    #[arg(long)]
    execute: bool,
    /// Publish also what would die again.
    #[arg(long)]
    all: bool,
    /// Also those that were replayed already.
    #[arg(long)]
    again: bool,
    /// Who publishes them, for those who read the list of replays.
    #[arg(long, env = "USER", default_value = "command line", value_name = "NAME")]
    by: String,
    /// Publish at most this many a second.
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
}

#[derive(Default)]
struct Totals {
    accepted: usize,
    duplicate: usize,
    dead: usize,
    passed_over: usize,
}

/// Runs it.
pub(super) async fn run(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let opened = store::open(&args.clickhouse).await?;
    let letters = letters(&args, &opened.store).await?;
    let (again, totals) = judge(&args, &opened.store, &letters).await?;
    let Totals { accepted, duplicate, dead, passed_over } = totals;
    println!(
        "{accepted} would be accepted, {duplicate} duplicates, {dead} still dead, {passed_over} passed over"
    );
    let mut refused = 0;
    if args.execute {
        crate::cli::admitted(&args.kafka).await?;
        refused = publish(&args, &opened.store, &again).await?;
    } else {
        println!("nothing was sent; --execute publishes");
    }
    opened.close().await?;
    Ok(if dead + refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The letters that are wanted, oldest first, so that they keep their order.
async fn letters(args: &ReplayArgs, store: &Store) -> anyhow::Result<Vec<Letter>> {
    let wanted = Wanted { payload: true, ..args.filter.clone().wanted(args.limit) };
    let mut letters = Vec::new();
    if args.at.is_empty() {
        letters = dead_letters(store.client(), &wanted).await?;
        letters.reverse(); // they come newest first, and are published in their order
    }
    let mut places = args.at.clone();
    places.sort_by(|a, b| (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset)));
    for At { topic, partition, offset } in &places {
        let one = Wanted { topic: topic.clone(), at: Some((*partition, *offset)), ..wanted.clone() };
        let found = dead_letters(store.client(), &one).await?;
        anyhow::ensure!(!found.is_empty(), "no dead letter at {topic}/{partition}/{offset}");
        letters.extend(found);
    }
    Ok(letters)
}

/// Says of each letter what would become of it, and gives those to publish.
async fn judge(
    args: &ReplayArgs,
    store: &Store,
    letters: &[Letter],
) -> anyhow::Result<(Vec<(Letter, Again)>, Totals)> {
    let mut rejudge = Rejudge::new(&args.kafka, &args.registry, args.event.value_bytes_max as usize)?;
    let (mut again, mut totals) = (Vec::new(), Totals::default());
    for letter in letters {
        let earlier = earlier_replays(store.client(), letter).await?;
        match PassedOver::of(letter, &earlier, now_micros()?) {
            None => {}
            Some(PassedOver::Replayed(_) | PassedOver::Unknown(_)) if args.again => {}
            Some(over) => {
                println!("{}: passed over: {}", letter.at(), over.why());
                totals.passed_over += 1;
                continue;
            }
        }
        let value = bytes(letter.value_hex.as_deref())?;
        let would = match rejudge.judge(&letter.topic, value.as_deref()).await? {
            Outcome::Dead(fault) => {
                println!("{}: still dead: {}: {}", letter.at(), fault.reason, fault.sentence);
                totals.dead += 1;
                false
            }
            Outcome::Event { event_id, digest } => {
                if is_stored(store.client(), &event_id.to_string(), &digest).await? {
                    println!("{}: a duplicate of event {event_id}, which is stored", letter.at());
                    totals.duplicate += 1;
                } else {
                    println!("{}: accepted, as event {event_id}", letter.at());
                    totals.accepted += 1;
                }
                true
            }
        };
        if would || args.all {
            again.push((letter.clone(), once_more(letter)?));
        }
    }
    Ok((again, totals))
}

/// Publishes, says where each went, and writes down who asked, before and after: of few at once, so that a crash leaves few unknown.
/// Gives how many Kafka did not take, or did not say that it did.
async fn publish(args: &ReplayArgs, store: &Store, again: &[(Letter, Again)]) -> anyhow::Result<usize> {
    let republish = Republish::new(&args.kafka)?;
    let at_once = args.rate.map_or(IN_FLIGHT_MAX, |rate| IN_FLIGHT_MAX.min(rate.get() as usize));
    let mut refused = 0;
    for few in again.chunks(at_once) {
        refused += publish_few(args, store, &republish, few).await?;
    }
    println!("replay {}: {} published, {refused} not taken", republish.id, again.len() - refused);
    Ok(refused)
}

async fn publish_few(
    args: &ReplayArgs,
    store: &Store,
    republish: &Republish,
    few: &[(Letter, Again)],
) -> anyhow::Result<usize> {
    let asked = |(letter, one): &'_ (Letter, Again)| (letter.clone(), one.attempt, ReplayState::Requested);
    let mut rows: Vec<(Letter, u32, ReplayState)> = few.iter().map(asked).collect();
    let who = (args.by.as_str(), now_micros()?);
    record(store, republish.id, who, &rows).await?;
    let gap = args.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get());
    let in_flight = if args.rate.is_some() { 1 } else { IN_FLIGHT_MAX };
    let mut refused = 0;
    let each = futures::stream::iter(few).map(|(_, one)| async move {
        tokio::time::sleep(gap).await;
        (one, republish.send(one).await)
    });
    let mut outcomes = std::pin::pin!(each.buffered(in_flight).enumerate());
    while let Some((n, (one, outcome))) = outcomes.next().await {
        match outcome {
            Ok((partition, offset)) => {
                println!(
                    "{}: published to {}/{partition}/{offset}, attempt {}",
                    one.first, one.topic, one.attempt
                );
                rows[n].2 = ReplayState::Published(partition, offset);
            }
            // its row stays as it is, and becomes an unknown one
            Err(error) if error.is_unacknowledged() => {
                println!("{}: unknown, Kafka may have it: {error}", one.first);
                refused += 1;
            }
            Err(error) => {
                println!("{}: not published: {error}", one.first);
                refused += 1;
                rows[n].2 = ReplayState::NotTaken;
            }
        }
    }
    record(store, republish.id, who, &rows).await?;
    Ok(refused)
}

/// Writes down who published which letters, or is about to.
async fn record(
    store: &Store,
    replay_id: Uuid,
    (requested_by, requested_us): (&str, i64),
    rows: &[(Letter, u32, ReplayState)],
) -> anyhow::Result<()> {
    let rows: Vec<Replay<'_>> = rows
        .iter()
        .map(|(letter, attempt, state)| Replay {
            replay_id,
            letter,
            attempt: *attempt,
            requested_by,
            requested_us,
            state: *state,
        })
        .collect();
    Ok(record_replays(store.client(), &rows).await?)
}
