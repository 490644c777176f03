//! The gateway and the platform behind it.

mod calls;
mod killed;
mod mock;
