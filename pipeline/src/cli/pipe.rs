//! Whoever reads our output may stop reading: `tally … | head -1` ends quietly, as other programs do.

use std::any::Any;
use std::panic::{catch_unwind, resume_unwind, set_hook, take_hook};
use std::process::ExitCode;

/// What a shell shows for a process that SIGPIPE ended. It is no verdict: 0 would be one.
const READER_GONE: u8 = 128 + 13;

/// Runs the command; a print into a pipe that nobody reads unwinds it, destructors and all, and is no word on standard
/// error. The signal itself stays ignored: to a server it would mean death by any client that hangs up.
pub(super) fn ending_quietly(command: fn() -> anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    let told = take_hook();
    set_hook(Box::new(move |panic| {
        if !is_broken_pipe(panic.payload()) {
            told(panic);
        }
    }));
    match catch_unwind(command) {
        Ok(ended) => ended,
        Err(panic) if is_broken_pipe(panic.as_ref()) => Ok(ExitCode::from(READER_GONE)),
        Err(panic) => resume_unwind(panic),
    }
}

/// Whether `print!` panicked because its reader is gone.
fn is_broken_pipe(payload: &(dyn Any + Send)) -> bool {
    let text = payload.downcast_ref::<String>();
    text.is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe"))
}
