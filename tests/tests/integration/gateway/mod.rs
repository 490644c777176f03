//! The gateway and the platform behind it.

mod bench;
mod calls;
mod flows;
mod killed;
mod mock;
