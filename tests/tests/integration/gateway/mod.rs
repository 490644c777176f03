//! The gateway and the platform behind it.

mod acts;
mod bench;
mod calls;
mod client;
mod driven;
mod flows;
mod killed;
mod mock;
mod texts;
