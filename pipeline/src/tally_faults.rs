//! The binary `tally` with crash points, for tests: see `fault.rs` of this crate and of `sinks`.

#[path = "cli/mod.rs"]
mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
