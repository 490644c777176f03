//! The gateway and the platform behind it.

mod mock;
