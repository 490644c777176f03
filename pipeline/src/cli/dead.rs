//! `tally dead`: what was refused, why, and once more.

use std::process::ExitCode;

mod filter;
pub(super) mod letters;
mod list;
mod replay;
mod show;

/// Dead letters: list them, look into one, publish them again.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum DeadCommand {
    List(list::ListArgs),
    Show(show::ShowArgs),
    Replay(Box<replay::ReplayArgs>),
}

/// Runs `tally dead`.
pub(crate) async fn run(command: DeadCommand) -> anyhow::Result<ExitCode> {
    match command {
        DeadCommand::List(args) => list::run(args).await,
        DeadCommand::Show(args) => show::run(args).await,
        DeadCommand::Replay(args) => replay::run(*args).await,
    }
}

/// Where a letter lies: `TOPIC/PARTITION/OFFSET`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct At {
    topic: String,
    partition: i32,
    offset: i64,
}

/// Reads `TOPIC/PARTITION/OFFSET`.
fn at(text: &str) -> Result<At, String> {
    let mut parts = text.rsplitn(3, '/');
    let mut number = || parts.next()?.parse::<i64>().ok().filter(|n| *n >= 0);
    let (offset, partition) = (number(), number().and_then(|n| i32::try_from(n).ok()));
    match (parts.next(), partition, offset) {
        (Some(topic), Some(partition), Some(offset)) if !topic.is_empty() => {
            Ok(At { topic: topic.to_owned(), partition, offset })
        }
        _ => Err("expected TOPIC/PARTITION/OFFSET, such as task-events/0/17".to_owned()),
    }
}

/// The bytes of what ClickHouse gave in hex.
fn bytes(hex: Option<&str>) -> anyhow::Result<Option<Vec<u8>>> {
    Ok(hex.map(hex::decode).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::{At, at};

    /// Scenario: coordinates as people write them.
    /// Guarantees: a topic's name may hold dots; anything else than two numbers at the end is refused.
    #[test]
    fn coordinates() {
        let expected = At { topic: "eu.task-events".to_owned(), partition: 2, offset: 17 };
        assert_eq!(at("eu.task-events/2/17"), Ok(expected));
        for wrong in ["task-events/2", "/2/17", "task-events/-1/17", "task-events/2/x", ""] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }
}
