//! The gateway and the platform behind it.

mod bench;
mod calls;
mod client;
mod flows;
mod killed;
mod mock;
