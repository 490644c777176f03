//! Harms that are done before Kafka: what services and networks do to events.

use super::class::Class;
use super::history::{Event, moves_money};
use super::plan::{Draw, Plan, Record, Sign, When};
use anyhow::Context;
use serde_json::{Value as Json, json};
use tally_pipeline::simulator::{ForeignSchema, foreign_schemas};
use tally_schemas::{Encoder, Topic, frame_confluent, frame_single_object, latest};

/// Of each harm so many.
const EACH: usize = 3;
/// An event's own time may lie this far from its append time, to the microsecond: 5 minutes (METRICS, common rules).
const SKEW_US: i64 = 5 * 60 * 1_000_000;
/// A duplicate comes so soon that it is not skewed, too.
const AGAIN_MS_MAX: u64 = 290_000;
/// Skewed events lie up to so much farther: 40 minutes.
const SKEWED_FURTHER_US: u64 = 40 * 60 * 1_000_000;

/// Draws every harm of the classes asked for that is done before Kafka.
pub(super) fn draw(plan: &mut Plan, draw: &mut Draw<'_>, classes: &[Class]) -> anyhow::Result<()> {
    for class in classes {
        match class {
            Class::Loss => {
                never_published(plan, draw)?;
                letters(plan, draw)?;
            }
            Class::Duplicate => duplicates(plan, draw)?,
            Class::Late => late(plan, draw)?,
            Class::Skewed => skewed(plan, draw)?,
            Class::Conflicting => conflicting(plan, draw)?,
            Class::Untagged => untagged(plan, draw)?,
            Class::Altered => letters(plan, draw)?,
        }
    }
    Ok(())
}

fn never_published(plan: &mut Plan, draw: &mut Draw<'_>) -> anyhow::Result<()> {
    let history = draw.history;
    for _ in 0..EACH {
        let what = "an event within a task's life is never published";
        let inner = |at: usize| matches!(history.neighbours(at), (1.., 1..));
        let place = draw.event(what, |at, event| event.topic == Topic::Task && inner(at))?;
        plan.records[place].when = When::Never;
        let task = history.events[place].key.clone();
        plan.inject(Class::Loss, what, task.clone(), vec![Sign::Task("broken_chain", task)]);

        let what = "a task's first event is never published";
        let first = |at: usize| matches!(history.neighbours(at), (0, 1..));
        let place = draw.event(what, |at, event| event.topic == Topic::Task && first(at))?;
        plan.records[place].when = When::Never;
        let task = history.events[place].key.clone();
        plan.inject(Class::Loss, what, task.clone(), vec![Sign::Task("broken_chain", task)]);

        let what = "no event of a task is published, others speak of it";
        let known = |at, event: &Event| {
            event.topic == Topic::Task && first(at) && history.elsewhere.contains(&event.key)
        };
        let place = draw.event(what, known)?;
        let task = history.events[place].key.clone();
        for own in &history.tasks[&task] {
            plan.records[*own].when = When::Never;
        }
        plan.inject(Class::Loss, what, task.clone(), vec![Sign::Task("orphan_audit", task)]);
    }
    Ok(())
}

/// Records that no contract can read, in topics where they belong to no task.
fn letters(plan: &mut Plan, draw: &mut Draw<'_>) -> anyhow::Result<()> {
    for topic in [Topic::Credit, Topic::License, Topic::Moderation] {
        for _ in 0..EACH {
            let near = usize::try_from(draw.below(draw.history.events.len() as u64))?;
            let mut value = draw.below(u64::MAX).to_be_bytes().to_vec();
            value[0] = 0x7F; // the mark of no framing
            let key = format!("unreadable-{:016x}", draw.below(u64::MAX));
            let at_ms = draw.history.events[near].at_us / 1_000;
            let record = Record { topic, key, value, at_ms, when: When::InTurn(0) };
            let place = plan.add(draw, near, record);
            plan.letters.push(place);
        }
    }
    Ok(())
}

fn duplicates(plan: &mut Plan, draw: &mut Draw<'_>) -> anyhow::Result<()> {
    for topic in Topic::ALL {
        for _ in 0..EACH {
            let what = "the same event is published again";
            let place = draw.event(what, |_, event| event.topic == topic)?;
            let again = 1 + i64::try_from(draw.below(AGAIN_MS_MAX))?;
            let first = plan.records[place].clone();
            let copy = Record { at_ms: first.at_ms + again, ..first };
            let copy = plan.add(draw, place, copy);
            plan.duplicates.push(copy);
        }
    }
    let each = i64::try_from(EACH)?;
    plan.count(Class::Duplicate, ("offsets", "duplicates"), each * 4, true);
    plan.count(Class::Duplicate, ("completeness", "duplicate_audit"), each, false);
    Ok(())
}

fn late(plan: &mut Plan, draw: &mut Draw<'_>) -> anyhow::Result<()> {
    let history = draw.history;
    for _ in 0..2 * EACH {
        let what = "an event arrives after the first result of its window";
        let inner = |at: usize| matches!(history.neighbours(at), (1.., 1..));
        let fits = |at: usize, event: &Event| event.text("kind") == "PROGRESSED" && inner(at);
        let place = draw.event(what, fits)?;
        plan.records[place].when = When::Late;
        plan.late_tasks.push(history.events[place].key.clone());
    }
    Ok(())
}

fn skewed(plan: &mut Plan, draw: &mut Draw<'_>) -> anyhow::Result<()> {
    let topics = [Topic::Task, Topic::License];
    for (topic, ahead) in topics.into_iter().flat_map(|topic| [(topic, true), (topic, false)]) {
        for nth in 0..=EACH {
            // the last one lies within the bound, as near to it as a record's milliseconds allow: it must not be counted
            let within = nth == EACH;
            let place = draw
                .event("an event is skewed", |_, event| event.topic == topic && event.at_us % 1_000 != 0)?;
            let further = if nth == 0 || within { 0 } else { i64::try_from(draw.below(SKEWED_FURTHER_US))? };
            let event_us = draw.history.events[place].at_us;
            let step_ms = i64::from(!within);
            let at_ms = match ahead {
                true => (event_us + SKEW_US + further).div_euclid(1_000) + step_ms,
                false => (event_us - SKEW_US - further).div_euclid(1_000) + 1 - step_ms,
            };
            plan.records[place].at_ms = at_ms;
        }
    }
    plan.count(Class::Skewed, ("offsets", "skewed"), i64::try_from(4 * EACH)?, true);
    Ok(())
}

fn conflicting(plan: &mut Plan, draw: &mut Draw<'_>) -> anyhow::Result<()> {
    for nth in 0..4 * EACH {
        let (what, place, field) = match nth % 4 {
            0 => {
                let what = "a task's event comes again with another progress";
                let fits = |_, event: &Event| event.text("kind") == "PROGRESSED";
                (what, draw.event(what, fits)?, "progress_permille")
            }
            1 => {
                let what = "a licence's event comes again with another actor";
                (what, draw.event(what, |_, event| event.topic == Topic::License)?, "actor_id")
            }
            2 => {
                let what = "an estimate comes again with another amount";
                let fits = |_, event: &Event| event.text("kind") == "ESTIMATED";
                (what, draw.event(what, fits)?, "amount_micros")
            }
            _ => {
                let what = "money moves again under the same event id with another amount";
                let history = draw.history;
                let fits = |at, event: &Event| moves_money(event) && history.is_stated_later(at);
                (what, draw.event(what, fits)?, "amount_micros")
            }
        };
        let event = &draw.history.events[place];
        let mut fields = event.fields.clone();
        fields[field] = match &fields[field] {
            Json::String(text) => json!(format!("{text}-other")),
            number => json!(number.as_i64().map(|n| if n > 1 { n - 1 } else { n + 1 })),
        };
        let contract = latest(event.topic);
        let value = frame_single_object(contract, &Encoder::new(contract)?.encode(&fields)?);
        let at_ms = event.at_us / 1_000 + 1;
        let (topic, key) = (event.topic, event.key.clone());
        let other =
            plan.add(draw, place, Record { topic, key: key.clone(), value, at_ms, when: When::Never });
        let mut signs = vec![Sign::At("conflicts", vec![place, other])];
        match nth % 4 {
            0 => signs.push(Sign::Task("broken_chain", key)), // two events claim one state
            3 => signs.push(Sign::Wallet(key)),
            _ => {}
        }
        plan.inject(Class::Conflicting, what, event.id.to_string(), signs);
    }
    plan.count(Class::Conflicting, ("offsets", "conflicts"), i64::try_from(4 * EACH)?, false);
    Ok(())
}

fn untagged(plan: &mut Plan, draw: &mut Draw<'_>) -> anyhow::Result<()> {
    for nth in 0..2 * EACH {
        let unknown = nth % 2 == 1;
        let what = match unknown {
            true => "a task's event has a policy tag that nobody knows",
            false => "a task's event has no policy tag",
        };
        let history = draw.history;
        let one_of_several = |at: usize| history.neighbours(at) != (0, 0);
        let place = draw.event(what, |at, event| event.topic == Topic::Task && one_of_several(at))?;
        let event = &draw.history.events[place];
        plan.records[place].value = without_tag(event, unknown)?;
        let task = event.key.clone();
        plan.inject(Class::Untagged, what, task.clone(), vec![Sign::Task("missing_tag", task)]);
    }
    plan.count(Class::Untagged, ("completeness", "missing_tag"), i64::try_from(2 * EACH)?, false);
    Ok(())
}

/// The event under the schema of a service that left the contract behind: its tag is absent, or one that is new.
fn without_tag(event: &Event, unknown: bool) -> anyhow::Result<Vec<u8>> {
    let (schema, json) = foreign(event.topic, unknown)?;
    let mut fields = event.fields.clone();
    let symbols = json["fields"].as_array().and_then(|fields| {
        fields.iter().find(|field| field["name"] == "policy_tag")?["type"]["symbols"].as_array()
    });
    fields["policy_tag"] = symbols.and_then(|symbols| symbols.last()).cloned().unwrap_or(Json::Null);
    // fields that the event's version of the contract did not have yet take their default
    for field in json["fields"].as_array().into_iter().flatten() {
        let name = field["name"].as_str().unwrap_or_default();
        if fields.get(name).is_none() {
            fields[name] = field["default"].clone();
        }
    }
    let parsed = apache_avro::Schema::parse_str(&schema.json)?;
    let value = apache_avro::types::Value::try_from(fields)?.resolve(&parsed)?;
    let body = apache_avro::writer::datum::GenericDatumWriter::builder(&parsed).build()?;
    Ok(frame_confluent(schema.id, &body.write_value_to_vec(value)?))
}

/// The foreign schema of a topic whose tag may be null, or whose dictionary has a symbol more.
fn foreign(topic: Topic, unknown: bool) -> anyhow::Result<(ForeignSchema, Json)> {
    let name = latest(topic).record_name();
    let read = |schema: ForeignSchema| Some((serde_json::from_str::<Json>(&schema.json).ok()?, schema));
    let fits = |json: &Json| {
        let fields = json["fields"].as_array().into_iter().flatten();
        let mut tag =
            fields.filter(|field| field["name"] == "policy_tag").map(|field| field["type"].is_array());
        let own = format!("{}.{}", json["namespace"].as_str()?, json["name"].as_str()?);
        Some(own == name && tag.next_back()? != unknown)
    };
    let mut all = foreign_schemas().into_iter().filter_map(read);
    let found = all.find(|(json, _)| fits(json) == Some(true));
    let (json, schema) = found.context("no foreign schema for this topic")?;
    Ok((schema, json))
}
