//! What reads bytes from outside, held against everything that could stand in them. Expected values come from
//! apache-avro and from the contracts' JSON, never from the code under test.

#[path = "reading/arrow.rs"]
mod arrow;
#[path = "reading/batches.rs"]
mod batches;
#[path = "reading/claims.rs"]
mod claims;
#[path = "reading/digests.rs"]
mod digests;
#[path = "reading/hostile.rs"]
mod hostile;
#[path = "reading/properties.rs"]
mod properties;
#[path = "reading/registry.rs"]
mod registry;
#[path = "reading/rules.rs"]
mod rules;
#[path = "reading/schemas.rs"]
mod schemas;
#[path = "reading/seeds.rs"]
mod seeds;
#[path = "reading/shape.rs"]
mod shape;
#[path = "reading/world.rs"]
mod world;
