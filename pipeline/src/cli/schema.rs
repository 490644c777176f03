//! `tally schema`: the contracts, and whether they can stand side by side.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use anyhow::{Context, bail};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tally_pipeline::config::{Kafka, SchemaRegistry};
use tally_pipeline::registry::Registry;
use tally_schemas::{Contract, Topic, check, check_alone, contracts};

/// The contracts: list them, hold versions against each other, register them.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum SchemaCommand {
    /// List every version of every contract: topic, version, fingerprint, number of fields, record.
    List {
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Hold versions against each other for full-transitive compatibility; exit 1 if they cannot stand side by side.
    ///
    /// Without a file, every version of every contract is held against all earlier ones of its topic. With a file,
    /// it is held as the next version of the topic against all there are.
    Check(CheckArgs),
    /// Register every version at a Confluent-compatible registry, oldest first, under `<prefix><topic>-value`.
    ///
    /// Sets each subject to FULL_TRANSITIVE. Safe to run again: the same schema keeps its id. A version that appends symbols to an enum
    /// is registered under BACKWARD_TRANSITIVE; where earlier versions are registered already, `--readers-know` has to say that every
    /// `tally ingest` is of this version: an older one makes dead letters of the new version's events.
    Register(Box<RegisterArgs>),
}

/// What to hold against what.
#[derive(clap::Args, Debug)]
pub(crate) struct CheckArgs {
    /// An `.avsc` file: a candidate for the next version of the topic.
    #[arg(requires = "topic")]
    file: Option<PathBuf>,
    /// The topic whose contract the file is to become; without a file, check this topic only.
    #[arg(long, value_parser = topic)]
    topic: Option<Topic>,
    /// A folder of contracts named `<topic>.v<N>.avsc`, in place of those that this program was built with.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Where to register what.
#[derive(clap::Args, Debug)]
pub(crate) struct RegisterArgs {
    #[command(flatten)]
    registry: SchemaRegistry,
    #[command(flatten)]
    kafka: Kafka,
    /// Register this topic's contract only.
    #[arg(long, value_parser = topic)]
    topic: Option<Topic>,
    /// Every reader knows the symbols that a version appends to enums.
    #[arg(long)]
    readers_know: bool,
}

/// Runs `tally schema`: 0 done or compatible, 1 incompatible. Errors mean that it could not be done.
pub(crate) async fn run(command: SchemaCommand) -> anyhow::Result<ExitCode> {
    match command {
        SchemaCommand::List { json } => list(json),
        SchemaCommand::Check(args) => run_check(&args),
        SchemaCommand::Register(args) => register(*args).await,
    }
}

/// Reads a topic by its contract's name.
pub(super) fn topic(name: &str) -> Result<Topic, String> {
    Topic::from_name(name).ok_or_else(|| {
        let names: Vec<&str> = Topic::ALL.iter().map(|topic| topic.name()).collect();
        format!("no such contract; there are {}", names.join(", "))
    })
}

fn field_count(contract: &Contract) -> usize {
    let json: serde_json::Value = serde_json::from_str(&contract.json).unwrap_or_default();
    json.get("fields").and_then(|fields| fields.as_array()).map_or(0, Vec::len)
}

fn list(json: bool) -> anyhow::Result<ExitCode> {
    if json {
        let rows: Vec<serde_json::Value> = contracts()
            .iter()
            .map(|contract| {
                serde_json::json!({
                    "topic": contract.topic.name(),
                    "version": contract.version,
                    "fingerprint": format!("{:016x}", contract.fingerprint),
                    "fields": field_count(contract),
                    "record": contract.record_name(),
                })
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{:<18} {:>7}  {:<16} {:>6}  RECORD", "TOPIC", "VERSION", "FINGERPRINT", "FIELDS");
        for contract in contracts() {
            let Contract { topic, version, fingerprint, .. } = contract;
            let (fields, record) = (field_count(contract), contract.record_name());
            println!("{:<18} {version:>7}  {fingerprint:016x} {fields:>6}  {record}", topic.name());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let from_folder = args.dir.as_deref().map(read_folder).transpose()?;
    let known: Vec<&Contract> = match &from_folder {
        Some(read) => read.iter().collect(),
        None => contracts().iter().collect(),
    };
    let mut refused = 0;
    if let (Some(file), Some(topic)) = (&args.file, args.topic) {
        let earlier: Vec<&Contract> = known.into_iter().filter(|contract| contract.topic == topic).collect();
        let version = earlier.last().map_or(1, |last| last.version + 1);
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        match Contract::parse(topic, version, &text) {
            Ok(candidate) => refused += hold("the candidate", &candidate, &earlier),
            Err(e) => {
                println!("{}: {e}", file.display());
                refused += 1;
            }
        }
    } else {
        for topic in Topic::ALL.into_iter().filter(|topic| args.topic.is_none_or(|only| only == *topic)) {
            let versions: Vec<&Contract> = known.iter().copied().filter(|c| c.topic == topic).collect();
            for (at, contract) in versions.iter().enumerate() {
                let name = format!("version {}", contract.version);
                refused += hold(&name, contract, versions.get(..at).unwrap_or_default());
            }
        }
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Prints what stands against a version, line by line, and counts it.
fn hold(name: &str, contract: &Contract, earlier: &[&Contract]) -> usize {
    let topic = contract.topic;
    let alone = check_alone(&contract.schema);
    let mut refused = alone.len();
    for incompatibility in alone {
        println!("{topic} {name}: {incompatibility}");
    }
    for old in earlier {
        let comparison = check(&old.schema, &contract.schema);
        refused += comparison.incompatibilities.len();
        for incompatibility in comparison.incompatibilities {
            println!("{topic} {name} against version {}: {incompatibility}", old.version);
        }
        for notice in comparison.notices {
            println!("{topic} {name} against version {}: notice: {notice}", old.version);
        }
    }
    if refused == 0 {
        let against = match earlier.len() {
            0 => "sound, and the first".to_owned(),
            1 => "compatible with version 1".to_owned(),
            count => format!("compatible with all {count} earlier versions"),
        };
        println!("{topic} {name}: {against}");
    }
    refused
}

/// The contracts of a folder, by topic and version.
fn read_folder(dir: &Path) -> anyhow::Result<Vec<Contract>> {
    let mut contracts = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry?.path();
        let Some(stem) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".avsc")) else {
            continue;
        };
        let named = stem.split_once(".v").and_then(|(topic, version)| {
            Some((Topic::from_name(topic)?, version.parse::<u32>().ok().filter(|version| *version > 0)?))
        });
        let Some((topic, version)) = named else {
            bail!("{}: expected a name such as task-events.v1.avsc", path.display());
        };
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let contract = Contract::parse(topic, version, &text).with_context(|| path.display().to_string())?;
        contracts.push(contract);
    }
    if contracts.is_empty() {
        bail!("{} holds no contract", dir.display());
    }
    contracts.sort_by_key(|contract| (contract.topic, contract.version));
    for topic in Topic::ALL {
        for (expected, contract) in (1..).zip(contracts.iter().filter(|contract| contract.topic == topic)) {
            if contract.version != expected {
                bail!("{topic} version {expected} is missing in {}", dir.display());
            }
        }
    }
    Ok(contracts)
}

async fn register(args: RegisterArgs) -> anyhow::Result<ExitCode> {
    let Some(registry) = args.registry.client()? else { bail!("which registry? give --registry URL") };
    for topic in Topic::ALL.into_iter().filter(|topic| args.topic.is_none_or(|only| only == *topic)) {
        let subject = subject(&args.kafka.topic_prefix, topic);
        let mut was_there = false;
        for contract in tally_schemas::versions(topic) {
            let id = match registry.id_of(&subject, &contract.json).await? {
                Some(id) => {
                    was_there = true;
                    id
                }
                None if !appends_symbols(contract) => registry.register(&subject, &contract.json).await?,
                None if was_there && !args.readers_know => bail!(
                    "{subject} version {} appends symbols to an enum: roll out every `tally ingest` first, then give --readers-know",
                    contract.version
                ),
                None => registry.register_with_symbols(&subject, &contract.json).await?,
            };
            println!("{subject} version {} id {id}", contract.version);
            std::io::stdout().flush()?;
            if contract.version == 1 {
                registry.require_full_transitive(&subject).await?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether readers of an earlier version may meet a symbol in this one that they do not know.
fn appends_symbols(contract: &Contract) -> bool {
    tally_schemas::versions(contract.topic)
        .take_while(|earlier| earlier.version < contract.version)
        .any(|earlier| !check(&earlier.schema, &contract.schema).notices.is_empty())
}

/// The id that a registry has for a contract.
pub(super) async fn registered_id(
    registry: &Registry,
    topic_prefix: &str,
    contract: &Contract,
) -> anyhow::Result<u32> {
    let subject = subject(topic_prefix, contract.topic);
    match registry.id_of(&subject, &contract.json).await? {
        Some(id) => Ok(id),
        None => bail!("{subject} has no version {}; run `tally schema register` first", contract.version),
    }
}

/// The subject under which a topic's contract is registered.
fn subject(topic_prefix: &str, topic: Topic) -> String {
    format!("{topic_prefix}{topic}-value")
}

#[cfg(test)]
mod tests;
