//! `tally config`: every value, where it comes from, and what it does.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::serve::{Service, Tokens};
use clap::{ArgMatches, Args, Command};
use std::process::ExitCode;
use tally_pipeline::config::{Sections, redacted};

/// Print the configuration in force as a file, each value with its help and its source, secrets left out.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    sections: Sections,
    #[command(flatten)]
    tokens: Tokens,
    #[command(flatten)]
    service: Service,
}

pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let Some((_, matches)) = matches.subcommand() else { anyhow::bail!("no subcommand") };
    let command = ConfigArgs::augment_args(Command::new("config"));
    let mut section = String::new();
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let Some((heading, key)) = id.split_once('.') else { continue };
        if heading != section {
            println!("{}[{heading}]", if section.is_empty() { "" } else { "\n" });
            heading.clone_into(&mut section);
        }
        println!("# {}", arg.get_help().map(ToString::to_string).unwrap_or_default());
        let env = arg.get_env().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        let source = match matches.value_source(id) {
            Some(clap::parser::ValueSource::CommandLine) => "flag",
            Some(clap::parser::ValueSource::EnvVariable) => "environment",
            Some(_) => "file or default",
            None => "not set",
        };
        println!("# flag --{}, environment {env}; from: {source}", arg.get_long().unwrap_or_default());
        let values = matches.get_raw(id).into_iter().flatten();
        let values: Vec<String> = values.map(|v| redacted(id, &v.to_string_lossy())).collect();
        match values.as_slice() {
            [] => println!("# {key} ="),
            [one] if key != "properties" => println!("{key} = {}", literal(one)),
            many => println!("{key} = {{ {} }}", many.iter().map(|v| pair(v)).collect::<Vec<_>>().join(", ")),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn literal(value: &str) -> String {
    if value.parse::<i64>().is_ok() { value.to_owned() } else { toml::Value::from(value).to_string() }
}

fn pair(property: &str) -> String {
    let (key, value) = property.split_once('=').unwrap_or((property, ""));
    format!("{} = {}", toml::Value::from(key), toml::Value::from(value))
}
