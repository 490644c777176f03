//! `tally dead show`.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::letters::explained;
use super::{At, at, bytes};
use crate::cli::store;
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::ExitCode;
use tally_pipeline::config::{ClickHouse, SchemaRegistry};
use tally_queries::{Letter, Wanted, dead_letters};
use tally_schemas::{Explained, Reason};

/// Bytes of the value that are dumped.
const DUMP_BYTES_MAX: usize = 256;

/// Show one dead letter whole: why, what can be read of it, its bytes, its lineage. Shows the payload.
#[derive(clap::Args, Debug)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    #[command(flatten)]
    registry: SchemaRegistry,
    /// Where it lies: TOPIC/PARTITION/OFFSET.
    #[arg(value_parser = at)]
    at: At,
    /// Which topic of that name, where it was deleted and created again.
    #[arg(long, default_value = "", hide_default_value = true, value_name = "UUID")]
    topic_id: String,
    /// Write the value's bytes into this file.
    #[arg(long, value_name = "FILE")]
    raw: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) async fn run(args: ShowArgs) -> anyhow::Result<ExitCode> {
    let opened = store::open(&args.clickhouse).await?;
    let wanted = Wanted {
        topic: args.at.topic.clone(),
        topic_id: args.topic_id.clone(),
        at: Some((args.at.partition, args.at.offset)),
        limit: 10,
        payload: true,
        ..Wanted::default()
    };
    let letters = dead_letters(opened.store.client(), &wanted).await?;
    opened.close().await?;
    let letter = match letters.as_slice() {
        [] => bail!("no dead letter there"),
        [letter] => letter,
        several => {
            let ids: Vec<&str> = several.iter().map(|letter| letter.topic_id.as_str()).collect();
            bail!("several topics of that name had one there: give --topic-id, one of {}", ids.join(", "))
        }
    };
    let value = bytes(letter.value_hex.as_deref())?;
    if let Some(path) = &args.raw {
        std::fs::write(path, value.as_deref().unwrap_or_default())
            .with_context(|| path.display().to_string())?;
    }
    let explained = explained(&args.registry, value.as_deref()).await;
    let remedy = Reason::from_name(&letter.reason).map_or("", Reason::remedy);
    if args.json {
        let explained = explained.as_ref().map_err(ToString::to_string);
        let (read, unread) = (explained.as_ref().ok(), explained.as_ref().err());
        let whole = serde_json::json!({"letter": letter, "remedy": remedy, "event": read, "unread": unread});
        println!("{whole}");
        return Ok(ExitCode::SUCCESS);
    }
    print(letter, remedy, &explained, value.as_deref());
    Ok(ExitCode::SUCCESS)
}

fn print(letter: &Letter, remedy: &str, explained: &anyhow::Result<Explained>, value: Option<&[u8]>) {
    println!("{} of topic {}, appended {}", letter.at(), letter.topic_id, letter.appended_at);
    println!("reason    {}: {}", letter.reason, letter.sentence);
    if !letter.path.is_empty() {
        println!("field     {}", letter.path);
    }
    println!("remedy    {remedy}");
    println!("schema    {}", if letter.schema.is_empty() { "none" } else { &letter.schema });
    println!(
        "lineage   first {}, attempt {}, {}",
        letter.first,
        letter.replay_attempt,
        letter.replay_state()
    );
    println!("sha256    {}", letter.sha256);
    let text = |hex: Option<&str>| match bytes(hex) {
        Ok(Some(bytes)) => bytes.escape_ascii().to_string(),
        _ => "null".to_owned(),
    };
    println!("key       {}", text(letter.key_hex.as_deref()));
    for (name, value) in &letter.headers {
        println!("header    {name}: {}", text(value.as_deref()));
    }
    match explained {
        Err(why) => println!("event     cannot be read: {why:#}"),
        Ok(explained) => {
            println!("event");
            for (field, value) in &explained.fields {
                println!("    {field} = {value}");
            }
            if let Some(stopped) = &explained.stopped_at {
                println!(
                    "    {} <-- stopped here, byte {}: {}",
                    stopped.path, stopped.byte_offset, stopped.problem
                );
            }
            if explained.trailing_bytes > 0 {
                println!("    {} bytes not read", explained.trailing_bytes);
            }
        }
    }
    let Some(value) = value else { return println!("value     null") };
    println!("value     {} bytes", value.len());
    value.get(..DUMP_BYTES_MAX).unwrap_or(value).chunks(16).enumerate().for_each(|(row, chunk)| {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown =
            |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
        println!(
            "    {:04x}  {:<47}  {}",
            row * 16,
            hex.join(" "),
            chunk.iter().map(shown).collect::<String>()
        );
    });
}
