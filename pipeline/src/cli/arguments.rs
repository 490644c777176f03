//! Flags, environment and configuration file, brought together; all mistakes are told at once.

use super::FAILED;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, Error, Id};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tally_pipeline::config::{read_file, redacted};

/// Values that are told before the command gives up.
const MISTAKES_MAX: usize = 100;

/// Puts the file's values in the place of the defaults: clap then lets environment and flags stand above them.
pub(super) fn with_file(command: Command) -> anyhow::Result<Command> {
    let flag = std::env::args_os().skip_while(|a| a != "--config").nth(1).map(PathBuf::from);
    let named = flag.or_else(|| std::env::var_os("TALLY_CONFIG").map(PathBuf::from));
    let path = named.clone().unwrap_or_else(|| PathBuf::from("tally.toml"));
    if named.is_none() && !path.exists() {
        return Ok(command);
    }
    let text = std::fs::read_to_string(&path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    let mut known = Vec::new();
    keys(&command, &mut known);
    known.sort_unstable();
    known.dedup();
    let values =
        read_file(&text, &known).map_err(|all| anyhow::anyhow!("{}: {}", path.display(), all.join("; ")))?;
    mind_readers(&path, &values);
    Ok(apply(command, &values))
}

/// Says that everybody may read a file in which a secret stands. Nothing is logged before the configuration is known.
fn mind_readers(path: &Path, values: &BTreeMap<String, Vec<String>>) {
    use std::io::Write;
    let mode = std::fs::metadata(path).map_or(0, |about| about.mode() & 0o7777);
    let is_hidden = |key: &String, value: &String| !value.is_empty() && redacted(key, value) != *value;
    let secret = values.iter().any(|(key, all)| all.iter().any(|value| is_hidden(key, value)));
    if secret && mode & 0o004 != 0 {
        let path = path.display();
        let told =
            format!("tally: {path} holds a secret and everybody may read it (mode {mode:04o}): chmod 600 it");
        let _ = writeln!(std::io::stderr(), "{told}, or give the secret in the environment"); // there is nobody else to tell
    }
}

fn keys(command: &Command, known: &mut Vec<String>) {
    known.extend(command.get_arguments().map(|a| a.get_id().to_string()).filter(|id| id.contains('.')));
    command.get_subcommands().for_each(|sub| keys(sub, known));
}

fn apply(command: Command, values: &BTreeMap<String, Vec<String>>) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = command.mut_args(|arg| match values.get(arg.get_id().as_str()) {
        Some(values) => arg.default_values(values),
        None => arg,
    });
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, |sub| apply(sub, values)))
}

/// Parses. A value that is refused is set aside and the rest parsed again, so that no mistake hides another.
pub(super) fn matches(mut command: Command, arguments: Vec<OsString>) -> Result<ArgMatches, Vec<Error>> {
    let mut mistakes = Vec::new();
    loop {
        let error = match command.clone().try_get_matches_from(&arguments) {
            Ok(matches) if mistakes.is_empty() => return Ok(matches),
            Ok(_) => return Err(mistakes),
            Err(error) => error,
        };
        let refused = match (error.kind(), error.get(ContextKind::InvalidArg)) {
            (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(ContextValue::String(argument))) => {
                named(command.clone(), argument)
            }
            _ => None,
        };
        mistakes.push(error);
        match refused {
            Some(id) if mistakes.len() < MISTAKES_MAX => command = take_as_it_is(command, &id),
            _ => return Err(mistakes),
        }
    }
}

/// The argument that is shown like this; only a built command shows its arguments.
fn named(mut command: Command, shown: &str) -> Option<Id> {
    command.build();
    let mut open = vec![&command];
    while let Some(one) = open.pop() {
        if let Some(found) = one.get_arguments().find(|argument| argument.to_string() == shown) {
            return Some(found.get_id().clone());
        }
        open.extend(one.get_subcommands());
    }
    None
}

/// The same command, with any value for this argument.
fn take_as_it_is(command: Command, id: &Id) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = command.mut_args(|argument| match argument.get_id() == id {
        true => argument.value_parser(clap::builder::ValueParser::os_string()),
        false => argument,
    });
    names
        .into_iter()
        .fold(command, |command, name| command.mut_subcommand(name, |sub| take_as_it_is(sub, id)))
}

/// Prints help, or what is wrong; a command that could not be understood could not be done.
pub(super) fn tell(mistakes: &[Error]) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for mistake in mistakes {
        mistake.print()?;
        if mistake.use_stderr() {
            code = ExitCode::from(FAILED);
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::matches;
    use clap::{Arg, Command, value_parser};

    /// Scenario: two flags of a subcommand with values that are none, one that is fine, and one that does not exist.
    /// Guarantees: each mistake is told, once, and what is right is not.
    #[test]
    fn no_mistake_hides_another() {
        let number = |name: &'static str| Arg::new(name).long(name).value_parser(value_parser!(u16));
        let numbers = Command::new("sub").args([number("one"), number("two"), number("three")]);
        let command = Command::new("tally").subcommand(numbers);
        let told = |words: &str| -> Vec<String> {
            let words = words.split(' ').map(Into::into).collect();
            let mistakes = matches(command.clone(), words).expect_err("mistakes");
            mistakes
                .iter()
                .map(|mistake| mistake.to_string().lines().next().unwrap_or_default().to_owned())
                .collect()
        };
        let wrong = told("tally sub --one x --two 7 --three 70000");
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("'x' for '--one"), "{wrong:?}");
        assert!(wrong[1].contains("'70000' for '--three"), "{wrong:?}");
        let unknown = told("tally sub --one x --four 4");
        assert!(unknown.iter().any(|mistake| mistake.contains("--four")), "{unknown:?}");
        let fine = "tally sub --one 1".split(' ').map(Into::into).collect();
        assert!(matches(command, fine).is_ok());
    }
}
