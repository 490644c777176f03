//! `tally token`: keys for access tokens, tokens of one's own, and revoking.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::seal::{self, duration, now_micros};
use super::store;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tally_dashboards::identity::{LIFETIME_S_MAX, Minter, Role, TokenRequest, generate_key};
use tally_pipeline::config::ClickHouse;
use tally_queries::private::read_private;
use tally_queries::revocations::{Revocation, RevocationKind, revoke};

/// File of the private key that a demo makes in its folder.
const DEMO_KEY: &str = "token.key";
/// Claim iss of a demo's tokens.
const DEMO_ISSUER: &str = "tally-demo";
/// Claim aud where nothing else is said.
const AUDIENCE: &str = "tally";

/// Access tokens: make keys, sign tokens with a key in a file, revoke tokens and subjects.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum TokenCommand {
    Keygen(KeygenArgs),
    Mint(MintArgs),
    Revoke(RevokeArgs),
}

/// Make a pair of Ed25519 keys: FILE for whoever signs tokens alone, FILE.pub for `tally serve --token-key`.
#[derive(clap::Args, Debug)]
pub(crate) struct KeygenArgs {
    /// Where the private key goes; must not exist.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Sign an access token with a key in a file, and print it.
#[derive(clap::Args, Debug)]
pub(crate) struct MintArgs {
    /// File of the private key.
    #[arg(long, value_name = "FILE", required_unless_present = "data", conflicts_with = "data")]
    key: Option<PathBuf>,
    /// Folder of a `tally demo`: its key and issuer.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Claim iss; that of the demo with --data.
    #[arg(long, value_name = "NAME|URL", required_unless_present = "data")]
    issuer: Option<String>,
    /// Claim aud.
    #[arg(long, default_value = AUDIENCE, value_name = "NAME")]
    audience: String,
    /// creator, buyer, moderator, admin or service.
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// Claim sub: a buyer's user_id, a creator's creator_id, a moderator's actor_id, any name else.
    #[arg(long, value_name = "ID")]
    subject: String,
    /// What it may be used for at the gateway, such as credits:charge; may be given more than once.
    #[arg(long, value_name = "NAME")]
    scope: Vec<String>,
    /// How long it lives; 15 minutes at most.
    #[arg(long, value_parser = duration, default_value = "15m", value_name = "DURATION")]
    lifetime: Duration,
}

/// Revoke a token or every token of a subject, effective on every replica within 2 s; or lift that.
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["token", "subject"])))]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    /// Id of one token (jti), as `tally token mint` says it; never the token itself.
    #[arg(long, value_name = "ID")]
    token: Option<String>,
    /// A subject (sub): all its tokens, those issued later too.
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Why, for those who read the list.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// End an earlier revocation.
    #[arg(long)]
    lift: bool,
    /// Who does it, for the list.
    #[arg(long, env = "USER", default_value = "operator", value_name = "NAME")]
    by: String,
}

/// Runs it.
pub(crate) async fn run(command: TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Keygen(args) => keygen(&args.out),
        TokenCommand::Mint(args) => mint(&args),
        TokenCommand::Revoke(args) => revoke_one(args).await,
    }
}

fn keygen(out: &Path) -> anyhow::Result<ExitCode> {
    println!("{}", write_pair(out)?);
    Ok(ExitCode::SUCCESS)
}

/// Writes both files; returns the public key.
fn write_pair(out: &Path) -> anyhow::Result<String> {
    let (private, public) = generate_key();
    let mut beside = out.as_os_str().to_owned();
    beside.push(".pub");
    seal::write_pair((out, &private), (Path::new(&beside), &public))?;
    Ok(public)
}

fn mint(args: &MintArgs) -> anyhow::Result<ExitCode> {
    let key = match (&args.key, &args.data) {
        (Some(key), _) => key.clone(),
        (None, Some(data)) => data.join(DEMO_KEY),
        (None, None) => bail!("with which key? give --key FILE or --data DIR"),
    };
    let issuer = args.issuer.as_deref().unwrap_or(DEMO_ISSUER);
    if args.subject.is_empty() {
        bail!("a token needs a subject");
    }
    let lifetime_s = i64::try_from(args.lifetime.as_secs()).unwrap_or(i64::MAX);
    if lifetime_s > LIFETIME_S_MAX {
        bail!("a token lives {LIFETIME_S_MAX} s at most");
    }
    let minter = minter(&key, issuer, &args.audience)?;
    let request = TokenRequest {
        subject: args.subject.clone(),
        role: args.role,
        scope: args.scope.join(" "),
        lifetime_s,
    };
    let (token, token_id) = minter.mint(&request, now_micros()? / 1_000_000)?;
    tracing::info!(token_id, role = %args.role, lifetime_s, "token signed");
    println!("{token}");
    Ok(ExitCode::SUCCESS)
}

fn minter(key: &Path, issuer: &str, audience: &str) -> anyhow::Result<Minter> {
    let private = read_private(key)?;
    Minter::new(private.trim(), issuer, audience).with_context(|| key.display().to_string())
}

/// The demo's own key in its folder, made where there is none.
pub(super) fn demo_minter(data: &Path) -> anyhow::Result<Minter> {
    let key = data.join(DEMO_KEY);
    if !key.exists() {
        write_pair(&key)?;
    }
    minter(&key, DEMO_ISSUER, AUDIENCE)
}

/// Issuer and audience of a demo's tokens.
pub(super) fn demo_names() -> (String, String) {
    (DEMO_ISSUER.to_owned(), AUDIENCE.to_owned())
}

async fn revoke_one(args: RevokeArgs) -> anyhow::Result<ExitCode> {
    let (kind, value) = match (args.token, args.subject) {
        (Some(token), _) => (RevocationKind::Token, token),
        (None, Some(subject)) => (RevocationKind::Subject, subject),
        (None, None) => bail!("what? give --token ID or --subject ID"),
    };
    let value = value.trim().to_owned();
    // a token that ends up in the list would be one more place where it can be stolen from
    if value.is_empty() || value.matches('.').count() == 2 && value.starts_with("ey") {
        bail!("give the id of the token (claim jti) or a subject, not the token itself");
    }
    let opened = store::open_migrated(&args.clickhouse).await?;
    let revocation = Revocation {
        kind,
        value,
        lifted: args.lift,
        reason: args.reason,
        revoked_by: args.by,
        revoked_us: now_micros()?,
    };
    revoke(opened.store.client(), &revocation).await?;
    println!("{}: effective within 2 s", if args.lift { "lifted" } else { "revoked" });
    opened.close().await?;
    Ok(ExitCode::SUCCESS)
}
