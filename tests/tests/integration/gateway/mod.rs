//! The gateway and the platform behind it.

mod acts;
mod bench;
mod calls;
mod client;
mod flows;
mod killed;
mod mock;
