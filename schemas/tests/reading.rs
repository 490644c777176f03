//! partial
#[path = "reading/hostile.rs"]
mod hostile;
#[path = "reading/registry.rs"]
mod registry;
#[path = "reading/seeds.rs"]
mod seeds;
#[path = "reading/world.rs"]
mod world;
