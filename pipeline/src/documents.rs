//! The documents of `docs` that are made, wholly or in part, from the code. `openapi.rs` has those of the gateway's calls.

use crate::gateway::openapi::gateway_document;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tally_schemas::policy_tags;

/// Between these lines of a document stands what is made.
const MADE: [&str; 2] = ["<!-- made from the code: -->\n", "<!-- end -->"];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The calls of the gateway, with the scope that each asks for and the roles that may have it.
fn scopes() -> String {
    let document = serde_json::to_value(gateway_document()).expect("a document is JSON");
    let mut text = "| call | scope | creator | buyer | moderator | admin | service |\n\
                    |---|---|---|---|---|---|---|\n"
        .to_owned();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            // any one of them is enough, and each of them is one scope
            let ways = operation["security"].as_array().expect("ways in").iter();
            let scopes = ways.flat_map(|way| way["access_token"].as_array().into_iter().flatten());
            let scopes: Vec<String> =
                scopes.filter_map(serde_json::Value::as_str).map(|scope| format!("`{scope}`")).collect();
            assert!(!scopes.is_empty(), "{path} asks for no scope");
            let (method, scopes) = (method.to_uppercase(), scopes.join(" or "));
            let _ = writeln!(
                text,
                "| `{method} {path}` | {scopes} | – | – | – | with the scope | with the scope |"
            );
        }
    }
    text
}

/// The dictionary of policy tags, in the order of their numbers.
fn tags() -> String {
    let mut text = "| number | tag | meaning | 含义 | decision due after | default risk |\n\
                    |---|---|---|---|---|---|\n"
        .to_owned();
    for (number, tag) in (1..).zip(policy_tags()) {
        let minutes = tag.review_sla_minutes;
        let due = if minutes % 60 == 0 { format!("{} h", minutes / 60) } else { format!("{minutes} min") };
        let (symbol, en, zh, risk) = (&tag.symbol, &tag.en, &tag.zh, &tag.default_risk);
        let _ = writeln!(text, "| {number} | `{symbol}` | {en} | {zh} | {due} | {risk} |");
    }
    text
}

/// Scenario: a scope, a call or a policy tag changes and a document is forgotten.
/// Guarantees: what stands in the documents is what the code says.
#[test]
fn what_is_made_stands_as_the_code_says() {
    for (name, made) in [("permissions.md", scopes()), ("audit.md", tags())] {
        let path = docs().join(name);
        let stands = std::fs::read_to_string(&path).expect("a document can be read");
        let (head, rest) = stands.split_once(MADE[0]).expect("a document says where it is made");
        let (_, tail) = rest.split_once(MADE[1]).expect("and where that ends");
        let right = format!("{head}{}{made}{}{tail}", MADE[0], MADE[1]);
        if std::env::var_os("TALLY_WRITE_DOCS").is_some() {
            std::fs::write(&path, &right).expect("a document can be written");
        } else {
            assert!(
                stands == right,
                "{name} is not what the code says: run this test with TALLY_WRITE_DOCS=1"
            );
        }
    }
}

/// Scenario: a document grows, or what it links to is moved.
/// Guarantees: documents stay short, and every link within the repository leads to a file.
#[test]
fn documents_are_short_and_their_links_lead_somewhere() {
    const LINES_MAX: usize = 150;
    for entry in std::fs::read_dir(docs()).expect("the folder can be listed") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a document can be read");
        assert!(text.lines().count() <= LINES_MAX, "{} is too long", path.display());
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            let leads = target.is_empty() || target.starts_with("http") || docs().join(target).exists();
            assert!(leads, "{}: {target} is not there", path.display());
        }
    }
}
