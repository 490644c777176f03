//! `tally serve` over stores written by hand: who is let in, who sees what, and what holds under misuse.

mod attacked_pages;
mod attacks;
mod bounds;
mod contract;
mod demo;
mod evidence;
mod figures;
mod forms;
pub(super) mod injection;
mod lists;
mod ownership;
mod panels;
mod platform;
mod prompts;
mod proofs;
mod replays;
mod revocation;
mod tokens;
mod values;
