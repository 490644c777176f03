//! The gateway and the platform behind it.

mod bench;
mod calls;
mod killed;
mod mock;
