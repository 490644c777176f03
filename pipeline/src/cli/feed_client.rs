//! A client of the realtime feed as a program has it: connections over either transport, frames, signatures. Shared by the
//! bench, which measures with it, and by the demo, which subscribes.

mod frame;
mod line;
mod signatures;

pub(super) use frame::{Frame, id_of};
pub(super) use line::{End, Line, Opening, Transport};
pub(super) use signatures::Signatures;
