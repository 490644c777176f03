//! The binary `tally`: parses and calls.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
